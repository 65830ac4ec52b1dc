//! What is watched of bindings.

use super::service::{BOUND_ELSEWHERE, LICENSE_UNKNOWN, MISMATCH, PROFILE_UNKNOWN};
use crate::platform::error::{Error, Kind};
use crate::platform::telemetry::metrics::{IntCounterVec, Metrics, from_zero};

const OUTCOMES: [&str; 8] = [
    "bound",
    "unchanged",
    "removed",
    "taken",
    "mismatch",
    "unknown_license",
    "unavailable",
    "failed",
];

#[derive(Clone)]
pub struct BindingsMetrics {
    outcomes: IntCounterVec,
}

impl BindingsMetrics {
    pub fn register(metrics: &Metrics) -> Self {
        let outcomes = metrics.counters(
            "deptrans_bindings_total",
            "Ids that drivers gave, and removals, by outcome: bound, unchanged, removed, taken (bound \
             to another licence), mismatch (not of this licence), unknown_license, unavailable (a \
             dependency), failed",
            &["outcome"],
        );
        Self { outcomes: from_zero(outcomes, &OUTCOMES.map(|outcome| [outcome])) }
    }

    pub fn count(&self, outcome: &str) {
        self.outcomes.with_label_values(&[outcome]).inc();
    }

    /// Counts what did not come to an end.
    pub fn count_failure(&self, error: &Error) {
        self.count(outcome_of(error));
    }
}

fn outcome_of(error: &Error) -> &'static str {
    match (error.code(), error.kind()) {
        (BOUND_ELSEWHERE, _) => "taken",
        (MISMATCH, _) => "mismatch",
        (PROFILE_UNKNOWN | LICENSE_UNKNOWN, _) => "unknown_license",
        (_, Kind::Unavailable | Kind::DeadlineExceeded) => "unavailable",
        _ => "failed",
    }
}
