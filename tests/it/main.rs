//! Integration tests: the real server over HTTP, against a real PostgreSQL and the sandbox's
//! stand-ins. `make test` runs them; folders bear the names of the domains and routes they try.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    clippy::future_not_send,
    clippy::format_collect,
    clippy::format_push_string,
    clippy::needless_pass_by_value,
    clippy::similar_names,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    reason = "this is how tests fail; their tools are simple rather than quick"
)]

mod cabinets;
mod chaos;
mod deptrans_driver_status_integration;
mod fleet_communications;
mod fleet_customers;
mod fleet_orders_manager;
mod hostile_tenant;
mod platform;
mod scooter_accumulator;
mod support;
mod tasks;
mod upstream;
