//! Metrics of the server.

use crate::platform::telemetry::metrics::{
    HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Metrics,
};

/// Metrics of the server.
pub(super) struct HttpMetrics {
    pub requests: IntCounterVec,
    pub durations: HistogramVec,
    pub in_flight: IntGauge,
    pub domain_in_flight: IntGaugeVec,
    pub shed: IntCounter,
    pub panics: IntCounter,
    pub write_timeouts: IntCounter,
}

impl HttpMetrics {
    pub fn register(metrics: &Metrics) -> Self {
        Self {
            requests: metrics.counters(
                "http_requests_total",
                "Requests answered",
                &["domain", "route", "method", "status"],
            ),
            durations: metrics.latencies(
                "http_request_duration_seconds",
                "From the request's head to the answer's head",
                &["domain", "route", "method"],
            ),
            in_flight: metrics.gauge("http_requests_in_flight", "Requests being worked on"),
            domain_in_flight: metrics.gauges(
                "http_domain_requests_in_flight",
                "Requests of a domain being worked on",
                &["domain"],
            ),
            shed: metrics.counter("http_requests_shed_total", "Requests refused as overloaded"),
            panics: metrics.counter("http_handler_panics_total", "Handlers that panicked"),
            write_timeouts: metrics.counter(
                "http_write_timeouts_total",
                "Connections closed because their client did not take an answer in time",
            ),
        }
    }
}
