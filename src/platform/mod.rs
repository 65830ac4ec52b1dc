//! The machinery that every domain stands on. It knows no domain.

pub mod config;
pub mod context;
pub mod error;
#[cfg(feature = "database")]
pub mod database;
pub mod http;
pub mod ids;
pub mod telemetry;
#[cfg(feature = "upstream")]
pub mod upstream;
