//! deptrans-driver-status-integration.
