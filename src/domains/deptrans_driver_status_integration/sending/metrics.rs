//! What becomes of the statuses.

use super::way::Fate;
use crate::platform::telemetry::metrics::{
    Histogram, IntCounter, IntCounterVec, Metrics, from_zero,
};
use crate::upstreams::krt::Line;

/// From the event to the regulator, in seconds: from at once to a day.
const DELAY: [f64; 12] =
    [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 3_600.0, 21_600.0, 86_400.0];

/// What is watched for from the first one on.
const STATUSES: [[&str; 2]; 6] = [
    ["sent", "on_line"],
    ["sent", "off_line"],
    ["refused", "unknown_id"],
    ["refused", "invalid"],
    ["failed", "unknown_driver"],
    ["waits", "krt_unavailable"],
];

/// Registered once, with the domain.
#[derive(Clone)]
pub(in super::super) struct SendingMetrics {
    statuses: IntCounterVec,
    delay: Histogram,
    again: IntCounter,
    leases_lost: IntCounter,
}

impl SendingMetrics {
    pub fn register(metrics: &Metrics) -> Self {
        let statuses = metrics.counters(
            "deptrans_statuses_total",
            "Statuses that were looked at, by what became of them: sent (on_line, off_line), left_out \
             (no such region, category, id...), refused (by KRT, for good), failed (sent again later), \
             waits (for what is down or for its turn); and why",
            &["outcome", "reason"],
        );
        Self {
            statuses: from_zero(statuses, &STATUSES),
            delay: metrics.histogram(
                "deptrans_status_delay_seconds",
                "From a driver's change of status to the regulator's answer",
                &DELAY,
            ),
            again: metrics.counter(
                "deptrans_statuses_changed_while_sent_total",
                "Statuses of which a newer one came while they were sent; that one is sent next",
            ),
            leases_lost: metrics.counter(
                "deptrans_status_leases_lost_total",
                "Statuses that another instance took over before this one was done with them",
            ),
        }
    }

    /// A status was settled, `age` seconds after its event where it has one.
    pub(super) fn settled(&self, fate: &Fate, age: Option<f64>, is_due_again: bool) {
        let (outcome, reason) = match fate {
            Fate::Taken { line: Line::OnLine, .. } => ("sent", "on_line"),
            Fate::Taken { line: Line::OffLine, .. } => ("sent", "off_line"),
            Fate::LeftOut(reason) => ("left_out", *reason),
            Fate::Refused(reason) => ("refused", *reason),
            Fate::Later(reason) | Fate::Last(reason) => ("failed", *reason),
            Fate::Back(reason) => ("waits", *reason),
        };
        self.statuses.with_label_values(&[outcome, reason]).inc();
        if let (Fate::Taken { .. }, Some(age)) = (fate, age) {
            self.delay.observe(age.max(0.0));
        }
        if is_due_again {
            self.again.inc();
        }
    }

    /// So many were not settled.
    pub(super) fn leases_lost(&self, count: usize) {
        self.leases_lost.inc_by(count as u64);
    }
}
