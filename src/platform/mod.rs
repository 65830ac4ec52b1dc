//! The machinery that every domain stands on. It knows no domain.

pub mod background;
pub mod conditions;
pub mod config;
pub mod context;
#[cfg(feature = "database")]
pub mod database;
pub mod domain;
pub mod error;
pub mod http;
pub mod ids;
#[cfg(feature = "mqtt")]
pub mod mqtt;
pub mod object;
pub mod patch;
#[cfg(feature = "phone")]
pub mod phone;
pub mod readiness;
#[cfg(feature = "seal")]
pub mod seal;
pub mod shutdown;
#[cfg(feature = "tasks")]
pub mod tasks;
pub mod telemetry;
#[cfg(feature = "upstream")]
pub mod upstream;
pub mod validation;
