//! What is watched of checks.

use super::model::Code;
use crate::platform::telemetry::metrics::{IntCounterVec, Metrics, from_zero};

#[derive(Clone)]
pub struct CheckMetrics {
    checked: IntCounterVec,
    /// Answers of driver-trackstory, and drivers whose region had to be guessed.
    regions: IntCounterVec,
}

impl CheckMetrics {
    pub fn register(metrics: &Metrics) -> Self {
        let regions = metrics.counters(
            "deptrans_check_regions_total",
            "Drivers that were checked by where their region is from: position, last_status, unknown \
             (of a driver in no region, too)",
            &["source"],
        );
        Self {
            checked: metrics.counters(
                "deptrans_checked_drivers_total",
                "Drivers that were checked by reason (none, no_id, no_active_shift, shift_ends_at) \
                 and whether it blocks",
                &["reason", "blocks"],
            ),
            regions: from_zero(regions, &[["position"], ["last_status"], ["unknown"]]),
        }
    }

    pub fn checked(&self, reason: Option<Code>, blocks: bool) {
        let reason = reason.map_or("none", Code::name);
        self.checked.with_label_values(&[reason, if blocks { "yes" } else { "no" }]).inc();
    }

    pub fn region(&self, source: &str) {
        self.regions.with_label_values(&[source]).inc();
    }
}
