//! deptrans-driver-status-integration: the domain's routes and behaviours, as others see them.

mod bindings;
mod check;
mod directory;
mod feeds;
mod intake;
mod krt;
mod outages;
pub mod rig;
mod sending;
mod supply;

const DOMAIN: &str = "deptrans-driver-status-integration";
