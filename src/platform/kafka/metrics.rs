//! What is measured of the consumer.

use crate::platform::telemetry::metrics::{
    Histogram, IntCounter, IntCounterVec, IntGauge, Metrics, from_zero,
};

/// Messages of a batch.
const SIZES: [f64; 8] = [1.0, 5.0, 25.0, 100.0, 250.0, 500.0, 1_000.0, 10_000.0];

#[derive(Clone)]
pub(super) struct KafkaMetrics {
    pub connected: IntGauge,
    pub lag: IntGauge,
    pub partitions: IntGauge,
    pub paused: IntGauge,
    pub messages: IntCounter,
    pub batch_messages: Histogram,
    pub batch_seconds: Histogram,
    batches: IntCounterVec,
    commits: IntCounterVec,
    rebalances: IntCounterVec,
    recreated: IntCounterVec,
    pub errors: IntCounter,
}

impl KafkaMetrics {
    pub fn register(metrics: &Metrics) -> Self {
        let batches = metrics.counters(
            "kafka_batches_total",
            "Attempts to handle a batch by outcome: handled, failed (tried again), panicked (tried \
             again), abandoned (left to whoever reads the partition next)",
            &["outcome"],
        );
        let commits = metrics.counters(
            "kafka_commits_total",
            "Commits of offsets that were sent: first (after a batch), again (the group did not learn \
             of it), last (before leaving)",
            &["kind"],
        );
        let rebalances = metrics.counters(
            "kafka_rebalances_total",
            "Changes of this process's partitions: assigned, revoked, lost",
            &["kind"],
        );
        let recreated = metrics.counters(
            "kafka_consumers_recreated_total",
            "Consumers that were made anew, by reason: fatal, poll_interval, stalled, panicked",
            &["reason"],
        );
        Self {
            connected: metrics.gauge("kafka_connected", "1 while some broker answers"),
            lag: metrics.gauge(
                "kafka_consumer_lag",
                "Messages in this process's partitions whose offsets are not committed yet",
            ),
            partitions: metrics.gauge("kafka_partitions", "Partitions that this process reads"),
            paused: metrics.gauge(
                "kafka_paused",
                "1 while nothing is fetched since what was fetched cannot be handled",
            ),
            messages: metrics.counter("kafka_messages_total", "Messages that were handled"),
            batch_messages: metrics.histogram(
                "kafka_batch_messages",
                "Messages of a batch",
                &SIZES,
            ),
            batch_seconds: metrics.latency(
                "kafka_batch_duration_seconds",
                "From handing a batch over until it is handled, failed attempts included",
            ),
            batches: from_zero(batches, &[["handled"], ["failed"], ["panicked"], ["abandoned"]]),
            commits: from_zero(commits, &[["first"], ["again"], ["last"]]),
            rebalances: from_zero(rebalances, &[["assigned"], ["revoked"], ["lost"]]),
            recreated: from_zero(
                recreated,
                &[["fatal"], ["poll_interval"], ["stalled"], ["panicked"]],
            ),
            errors: metrics.counter("kafka_errors_total", "Troubles that librdkafka told of"),
        }
    }

    pub fn batch(&self, outcome: &str) {
        self.batches.with_label_values(&[outcome]).inc();
    }

    pub fn commit(&self, kind: &str) {
        self.commits.with_label_values(&[kind]).inc();
    }

    pub fn rebalance(&self, kind: &str) {
        self.rebalances.with_label_values(&[kind]).inc();
    }

    pub fn recreated(&self, reason: &str) {
        self.recreated.with_label_values(&[reason]).inc();
    }
}
