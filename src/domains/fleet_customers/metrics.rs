//! What the seed asks to be watched: reads and updates of passengers.

use crate::platform::telemetry::metrics::{IntCounter, IntCounterVec, Metrics};

#[derive(Clone)]
pub(super) struct CustomerMetrics {
    pub found_by_phone: IntCounter,
    pub not_found_by_phone: IntCounter,
    pub profiles: IntCounter,
    pub lists: IntCounter,
    pub retrieved: IntCounter,
    pub updates_by_order: IntCounter,
    pub updates_by_dispatcher: IntCounter,
    pub degraded: IntCounter,
}

impl CustomerMetrics {
    pub fn register(metrics: &Metrics) -> Self {
        let reads: IntCounterVec = metrics.counters(
            "fleet_customers_reads_total",
            "Reads of passengers by kind; a list or a batch counts once",
            &["kind"],
        );
        let updates = metrics.counters(
            "fleet_customers_updates_total",
            "Passengers written, by who made the change",
            &["source"],
        );
        let degraded = metrics.counter(
            "fleet_customers_degraded_total",
            "Answers without name and phone, because personal did not answer",
        );
        Self {
            found_by_phone: reads.with_label_values(&["by_phone_found"]),
            not_found_by_phone: reads.with_label_values(&["by_phone_not_found"]),
            profiles: reads.with_label_values(&["profile"]),
            lists: reads.with_label_values(&["list"]),
            retrieved: reads.with_label_values(&["retrieve"]),
            updates_by_order: updates.with_label_values(&["order"]),
            updates_by_dispatcher: updates.with_label_values(&["dispatcher"]),
            degraded,
        }
    }
}
