//! Metrics of the task queue. Queues and kinds are constants of the code.

use crate::platform::telemetry::metrics::{
    HistogramVec, IntCounterVec, IntGaugeVec, Limits, Metrics,
};

pub(super) struct TaskMetrics {
    enqueued: IntCounterVec,
    pub attempts: IntCounterVec,
    pub run: HistogramVec,
    pub wait: HistogramVec,
    pub claim: HistogramVec,
    pub rescued: IntCounterVec,
    pub running: IntGaugeVec,
    running_limits: Limits,
    pub depth: IntGaugeVec,
    pub oldest: IntGaugeVec,
}

impl TaskMetrics {
    pub fn register(metrics: &Metrics) -> Self {
        Self {
            enqueued: metrics.counters(
                "tasks_enqueued_total",
                "Tasks enqueued, whether or not the transaction was committed",
                &["kind"],
            ),
            attempts: metrics.counters(
                "task_attempts_total",
                "Attempts by outcome: done, continued, snoozed, failed, dead, lost, handed_back",
                &["kind", "outcome"],
            ),
            run: metrics.latencies("task_run_duration_seconds", "One attempt", &["kind"]),
            wait: metrics.latencies(
                "task_wait_seconds",
                "From being ready to being claimed, by the database's clock",
                &["queue"],
            ),
            claim: metrics.latencies("task_claim_duration_seconds", "One claim", &["queue"]),
            rescued: metrics.counters(
                "tasks_rescued_total",
                "Tasks whose worker stopped without a word",
                &["queue"],
            ),
            running: metrics.gauges("tasks_running", "Tasks that this process runs", &["queue"]),
            running_limits: metrics.limits("tasks_running", &["queue"]),
            depth: metrics.gauges(
                "task_queue_depth",
                "Tasks that are ready, scheduled or dead; counted up to 50000",
                &["queue", "state"],
            ),
            oldest: metrics.gauges(
                "task_queue_oldest_ready_seconds",
                "How long the oldest ready task has waited",
                &["queue"],
            ),
        }
    }

    /// This process has a handler for that kind, and runs at most so many of the queue. What alerts ask
    /// about is there from then on, at 0.
    pub fn handles(&self, queue: &str, kind: &str, most: usize) {
        for outcome in ["done", "failed", "dead", "lost"] {
            let _ = self.attempts.with_label_values(&[kind, outcome]);
        }
        let _ = self.rescued.with_label_values(&[queue]);
        let _ = self.running.with_label_values(&[queue]);
        self.running_limits.set(&[queue], most);
    }

    pub fn enqueued(&self, kind: &str, count: i64) {
        self.enqueued.with_label_values(&[kind]).inc_by(count.unsigned_abs());
    }

    pub fn attempt(&self, kind: &str, outcome: &str) {
        self.attempts.with_label_values(&[kind, outcome]).inc();
    }
}
