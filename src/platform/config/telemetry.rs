//! `[telemetry]`: logs and traces.

use serde::Deserialize;

use super::{Faults, Section};

/// What is logged, and where traces go.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TelemetrySettings {
    /// A filter in the form of tracing-subscriber's `EnvFilter`.
    pub log: String,
    /// The full address of an OTLP/HTTP trace collector; none: traces are off.
    pub otlp_endpoint: Option<String>,
    /// Share of traces recorded when the caller did not decide.
    pub trace_ratio: f64,
}

impl Section for TelemetrySettings {
    fn check(&self, faults: &mut Faults) {
        if let Err(error) = tracing_subscriber::EnvFilter::try_new(&self.log) {
            faults.add("log", error.to_string());
        }
        let http = |url: &String| url.starts_with("http://") || url.starts_with("https://");
        faults.require(
            self.otlp_endpoint.as_ref().is_none_or(http),
            "otlp_endpoint",
            "must begin with http:// or https://",
        );
        faults.require(
            (0.0..=1.0).contains(&self.trace_ratio),
            "trace_ratio",
            "must be between 0 and 1",
        );
    }
}
