//! deptrans-driver-status-integration: the domain's routes and behaviours, as others see them.

mod bindings;
mod check;
mod feeds;
mod intake;

const DOMAIN: &str = "deptrans-driver-status-integration";
