//! `[fleet_orders_manager]`.

use std::time::Duration;

use serde::Deserialize;

use crate::platform::config::{Faults, Section};
use crate::platform::phone::Region;

/// What an operator may set.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrdersSettings {
    /// Where phone numbers without a country code are from (ISO 3166-1 alpha-2); empty: such
    /// numbers are refused.
    pub default_region: Region,
    /// What `int-api` is told as the application that an order comes from.
    pub source: String,
    /// How long what `fleet-parks` said of a park is used without asking again.
    pub park_ttl_ms: u64,
    /// How long it is used at most while `fleet-parks` does not answer.
    pub park_stale_ms: u64,
    /// Most parks that are remembered.
    pub parks_kept: u64,
    /// Where customers are recorded after a commit.
    pub customers: CustomersMode,
    /// Most orders that wait to be recorded; more are lost and counted.
    pub customers_waiting: usize,
    /// How long recording is tried before it is given up.
    pub customers_give_up_ms: u64,
}

/// Where customers are recorded after a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CustomersMode {
    /// In this process where fleet-customers lives in it; over HTTP where
    /// `upstreams.fleet_customers.base_url` is given; else nowhere.
    Auto,
    /// Over HTTP.
    Http,
    /// Nowhere.
    Off,
}

impl OrdersSettings {
    pub(super) fn park_ttl(&self) -> Duration {
        Duration::from_millis(self.park_ttl_ms)
    }

    pub(super) fn park_stale(&self) -> Duration {
        Duration::from_millis(self.park_stale_ms)
    }

    pub(super) fn customers_give_up(&self) -> Duration {
        Duration::from_millis(self.customers_give_up_ms)
    }
}

/// Longest time that can be set, in milliseconds: a day.
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

impl Section for OrdersSettings {
    fn check(&self, faults: &mut Faults) {
        faults.require(
            (1..=64).contains(&self.source.len())
                && self.source.bytes().all(|b| b.is_ascii_graphic()),
            "source",
            "must be 1 to 64 printable ASCII characters without spaces",
        );
        for (key, value) in [
            ("park_ttl_ms", self.park_ttl_ms),
            ("park_stale_ms", self.park_stale_ms),
            ("customers_give_up_ms", self.customers_give_up_ms),
        ] {
            faults.require(
                (1..=DAY_MS).contains(&value),
                key,
                "must be between 1 and 86400000 (a day)",
            );
        }
        faults.require(
            self.park_ttl_ms <= self.park_stale_ms,
            "park_ttl_ms",
            "must not be longer than park_stale_ms",
        );
        faults.require(
            (1..=1_000_000).contains(&self.parks_kept),
            "parks_kept",
            "must be in 1..=1000000",
        );
        faults.require(
            (1..=100_000).contains(&self.customers_waiting),
            "customers_waiting",
            "must be in 1..=100000",
        );
    }
}
