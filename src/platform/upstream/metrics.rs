//! What is measured of every upstream. Each attempt counts as a request.

use tokio::time::Instant;

use crate::platform::telemetry::metrics::{
    HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Metrics,
};

/// The metrics of all upstreams of a process; cheap to clone.
#[derive(Clone)]
pub struct UpstreamMetrics {
    requests: IntCounterVec,
    durations: HistogramVec,
    retries: IntCounterVec,
    breakers: IntGaugeVec,
    in_flight: IntGaugeVec,
}

impl UpstreamMetrics {
    /// Registers them; to be done once for a process's `metrics`.
    #[must_use]
    pub fn register(metrics: &Metrics) -> Self {
        Self {
            requests: metrics.counters(
                "upstream_requests_total",
                "Attempts to call an upstream, by outcome",
                &["upstream", "method", "outcome"],
            ),
            durations: metrics.latencies(
                "upstream_request_duration_seconds",
                "Time of one attempt that was sent, answer body included",
                &["upstream", "method"],
            ),
            retries: metrics.counters(
                "upstream_retries_total",
                "Attempts that repeat an earlier one",
                &["upstream", "method"],
            ),
            breakers: metrics.gauges(
                "upstream_breaker_state",
                "0 closed, 1 half open, 2 open",
                &["upstream"],
            ),
            in_flight: metrics.gauges(
                "upstream_in_flight",
                "Attempts that wait for an answer",
                &["upstream"],
            ),
        }
    }

    pub(super) fn breaker(&self, upstream: &str) -> IntGauge {
        let _ = self.in_flight.with_label_values(&[upstream]);
        self.breakers.with_label_values(&[upstream])
    }

    pub(super) fn retried(&self, upstream: &str, method: &str) {
        self.retries.with_label_values(&[upstream, method]).inc();
    }

    /// Counts an attempt that was not sent.
    pub(super) fn held_back(&self, upstream: &str, method: &str, outcome: &str) {
        self.requests.with_label_values(&[upstream, method, outcome]).inc();
    }

    /// Measures an attempt from now until the returned value is dropped.
    pub(super) fn sent(&self, upstream: &'static str, method: &'static str) -> Sent<'_> {
        let in_flight = self.in_flight.with_label_values(&[upstream]);
        in_flight.inc();
        Sent {
            metrics: self,
            upstream,
            method,
            in_flight,
            started: Instant::now(),
            outcome: "deadline",
        }
    }
}

/// An attempt under way. One that is dropped before it has an outcome was given up by its caller
/// and counts as `deadline`.
pub(super) struct Sent<'a> {
    metrics: &'a UpstreamMetrics,
    upstream: &'static str,
    method: &'static str,
    in_flight: IntGauge,
    started: Instant,
    /// The `outcome` label.
    pub(super) outcome: &'static str,
}

impl Drop for Sent<'_> {
    fn drop(&mut self) {
        let Self { metrics, upstream, method, outcome, .. } = *self;
        self.in_flight.dec();
        metrics.requests.with_label_values(&[upstream, method, outcome]).inc();
        let seconds = self.started.elapsed().as_secs_f64();
        metrics.durations.with_label_values(&[upstream, method]).observe(seconds);
    }
}
