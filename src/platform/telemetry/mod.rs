//! Logs, traces and metrics.

pub mod logs;
pub mod metrics;
pub mod otlp;
mod span_fields;
pub mod trace;
