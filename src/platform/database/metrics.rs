//! Metrics of the pool and the lanes.

use crate::platform::telemetry::metrics::{
    Histogram, HistogramVec, IntCounterVec, IntGauge, Metrics, from_zero,
};

pub(super) struct DatabaseMetrics {
    pub in_use: IntGauge,
    pub idle: IntGauge,
    pub waiting: IntGauge,
    pub acquire: Histogram,
    pub cancelled: IntCounterVec,
    pub batch_seconds: HistogramVec,
    pub batched: IntCounterVec,
    pub batches: IntCounterVec,
    pub lane_connections: IntCounterVec,
}

impl DatabaseMetrics {
    pub fn register(metrics: &Metrics) -> Self {
        Self {
            in_use: metrics.gauge("database_pool_in_use", "Pooled connections at work"),
            idle: metrics.gauge("database_pool_idle", "Pooled connections that wait for work"),
            waiting: metrics.gauge("database_pool_waiting", "Requests that wait for a connection"),
            acquire: metrics.latency("database_pool_acquire_seconds", "Wait for a connection"),
            cancelled: from_zero(
                metrics.counters(
                    "database_cancelled_total",
                    "Statements whose callers were gone, by what became of them",
                    &["outcome"],
                ),
                &[["ended"], ["left"]],
            ),
            batch_seconds: metrics.latencies(
                "database_batch_duration_seconds",
                "One batched statement, from sending to its rows",
                &["statement"],
            ),
            batched: metrics.counters(
                "database_batched_calls_total",
                "Calls that were answered out of a batched statement",
                &["statement"],
            ),
            batches: metrics.counters(
                "database_batches_total",
                "Batched statements by outcome; `split` ones were run call by call after a fault",
                &["statement", "outcome"],
            ),
            lane_connections: from_zero(
                metrics.counters(
                    "database_lane_connections_total",
                    "Attempts to open a worker's own connection",
                    &["outcome"],
                ),
                &[["ok"], ["failed"]],
            ),
        }
    }

    /// Counts one request that waits for a connection, until the guard is dropped.
    pub fn waiting_one(&self) -> Waiting<'_> {
        self.waiting.inc();
        Waiting(&self.waiting)
    }
}

pub(super) struct Waiting<'a>(&'a IntGauge);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}
