//! A typed client per outside service. Each knows its contract; how to call is `platform::upstream`.

/// Their names under `upstreams` in the configuration, compiled or not.
pub const NAMES: &[&str] = &[
    "personal",
    "int_api",
    "fleet_parks",
    "fleet_customers",
    "parks",
    "feeds",
    "driver_profiles",
    "driver_categories",
    "driver_trackstory",
    "krt",
];

#[cfg(feature = "deptrans-driver-status-integration")]
pub mod driver_categories;
#[cfg(feature = "deptrans-driver-status-integration")]
pub mod driver_profiles;
#[cfg(feature = "deptrans-driver-status-integration")]
pub mod driver_trackstory;
#[cfg(feature = "fleet-communications")]
pub mod feeds;
#[cfg(feature = "fleet-orders-manager")]
pub mod fleet_customers;
#[cfg(feature = "fleet-orders-manager")]
pub mod fleet_parks;
#[cfg(feature = "fleet-orders-manager")]
pub mod int_api;
#[cfg(feature = "deptrans-driver-status-integration")]
pub mod krt;
#[cfg(feature = "fleet-communications")]
pub mod parks;
#[cfg(feature = "personal")]
pub mod personal;
#[cfg(feature = "deptrans-driver-status-integration")]
pub mod updates;
