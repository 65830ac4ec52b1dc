//! The one list of features and domains.

#[cfg(feature = "deptrans-driver-status-integration")]
pub mod deptrans_driver_status_integration;
#[cfg(feature = "fleet-communications")]
pub mod fleet_communications;
#[cfg(feature = "fleet-customers")]
pub mod fleet_customers;
#[cfg(feature = "fleet-orders-manager")]
pub mod fleet_orders_manager;
#[cfg(feature = "scooter-accumulator")]
pub mod scooter_accumulator;

/// The domains of this binary, by name, in the order in which they start.
pub const COMPILED: &[&str] = &[
    #[cfg(feature = "fleet-customers")]
    fleet_customers::NAME,
    #[cfg(feature = "fleet-orders-manager")]
    fleet_orders_manager::NAME,
    #[cfg(feature = "fleet-communications")]
    fleet_communications::NAME,
    #[cfg(feature = "deptrans-driver-status-integration")]
    deptrans_driver_status_integration::NAME,
    #[cfg(feature = "scooter-accumulator")]
    scooter_accumulator::NAME,
];

/// The sections of all domains, compiled or not.
pub const SECTIONS: &[&str] = &[
    "fleet_customers",
    "fleet_orders_manager",
    "fleet_communications",
    "deptrans_driver_status_integration",
    "scooter_accumulator",
];
