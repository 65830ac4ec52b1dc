//! What the seed asks to be watched: reads and updates of passengers.

use crate::platform::telemetry::metrics::{IntCounter, IntCounterVec, IntGauge, Metrics};

#[derive(Clone)]
pub(super) struct CustomerMetrics {
    pub found_by_phone: IntCounter,
    pub not_found_by_phone: IntCounter,
    pub profiles: IntCounter,
    pub lists: IntCounter,
    pub retrieved: IntCounter,
    pub updates_by_order: IntCounter,
    pub updates_by_dispatcher: IntCounter,
    pub updates_by_takeout: IntCounter,
    pub erasures_requested: IntCounter,
    pub erasures_repeated: IntCounter,
    pub erasures_completed: IntCounter,
    pub oldest_erasure: IntGauge,
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
        let erasures = metrics.counters(
            "fleet_customers_erasures_total",
            "Erasures: requested, requested again under the same id, completed",
            &["outcome"],
        );
        let oldest_erasure = metrics.gauge(
            "fleet_customers_oldest_erasure_seconds",
            "How long the oldest unfinished erasure has waited; 0 when there is none",
        );
        Self {
            found_by_phone: reads.with_label_values(&["by_phone_found"]),
            not_found_by_phone: reads.with_label_values(&["by_phone_not_found"]),
            profiles: reads.with_label_values(&["profile"]),
            lists: reads.with_label_values(&["list"]),
            retrieved: reads.with_label_values(&["retrieve"]),
            updates_by_order: updates.with_label_values(&["order"]),
            updates_by_dispatcher: updates.with_label_values(&["dispatcher"]),
            updates_by_takeout: updates.with_label_values(&["takeout"]),
            erasures_requested: erasures.with_label_values(&["requested"]),
            erasures_repeated: erasures.with_label_values(&["repeated"]),
            erasures_completed: erasures.with_label_values(&["completed"]),
            oldest_erasure,
            degraded,
        }
    }
}
