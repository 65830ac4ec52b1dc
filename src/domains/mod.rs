//! The one list of features and domains.

use crate::platform::domain::Domain;
use crate::platform::telemetry::metrics::Metrics;

#[cfg(feature = "fleet-customers")]
pub mod fleet_customers;

/// Makes a domain; it registers its metrics and opens nothing.
type Make = fn(&Metrics) -> Box<dyn Domain>;

/// The domains of this binary, by name, in the order in which they start.
pub const COMPILED: &[(&str, Make)] = &[
    #[cfg(feature = "fleet-customers")]
    (fleet_customers::NAME, fleet_customers::domain),
];
