//! `[fleet_customers]`.

use serde::Deserialize;

use crate::platform::config::{Faults, Section};
use crate::platform::phone::Region;

/// What an operator may set.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomersSettings {
    /// Favourite locations that one customer may have.
    pub max_locations: i64,
    /// Recurring routes that one customer may have.
    pub max_routes: i64,
    /// Where phone numbers without a country code are from (ISO 3166-1 alpha-2); empty: such
    /// numbers are refused.
    pub default_region: Region,
    /// For how long an erased person's record is not recreated by events from before the erasure.
    pub tombstone_days: i32,
}

impl Section for CustomersSettings {
    fn check(&self, faults: &mut Faults) {
        for (key, value) in [("max_locations", self.max_locations), ("max_routes", self.max_routes)]
        {
            faults.require((1..=1000).contains(&value), key, "must be between 1 and 1000");
        }
        faults.require(
            (1..=3650).contains(&self.tombstone_days),
            "tombstone_days",
            "must be between 1 and 3650 (ten years)",
        );
    }
}
