//! `[fleet_customers]`.

use phonenumber::country;
use serde::Deserialize;

use crate::platform::config::{Faults, Section};

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
    pub default_region: String,
}

impl CustomersSettings {
    /// The region, if one is set.
    #[must_use]
    pub fn region(&self) -> Option<country::Id> {
        self.default_region.parse().ok()
    }
}

impl Section for CustomersSettings {
    fn check(&self, faults: &mut Faults) {
        for (key, value) in [("max_locations", self.max_locations), ("max_routes", self.max_routes)]
        {
            faults.require((1..=1000).contains(&value), key, "must be between 1 and 1000");
        }
        faults.require(
            self.default_region.is_empty() || self.region().is_some(),
            "default_region",
            "must be a country's two letters, such as RU, or empty",
        );
    }
}
