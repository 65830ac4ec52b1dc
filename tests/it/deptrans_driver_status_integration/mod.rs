//! deptrans-driver-status-integration.

mod feeds;

const DOMAIN: &str = "deptrans-driver-status-integration";
