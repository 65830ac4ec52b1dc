//! The one list of features and domains.

#[cfg(feature = "fleet-communications")]
pub mod fleet_communications;
#[cfg(feature = "fleet-customers")]
pub mod fleet_customers;

#[cfg(feature = "fleet-orders-manager")]
pub mod fleet_orders_manager;

/// The domains of this binary, by name, in the order in which they start.
pub const COMPILED: &[&str] = &[
    #[cfg(feature = "fleet-customers")]
    fleet_customers::NAME,
    #[cfg(feature = "fleet-orders-manager")]
    fleet_orders_manager::NAME,
    #[cfg(feature = "fleet-communications")]
    fleet_communications::NAME,
];

/// The sections of all domains, compiled or not.
pub const SECTIONS: &[&str] = &["fleet_customers", "fleet_orders_manager", "fleet_communications"];
