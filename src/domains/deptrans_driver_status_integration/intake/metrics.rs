//! What comes in, and what becomes of it.

use super::event::{REASONS, Unreadable};
use crate::platform::telemetry::metrics::{IntCounterVec, Metrics, from_zero};

/// Where events come from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source {
    Kafka,
    Http,
}

const SOURCES: [Source; 2] = [Source::Kafka, Source::Http];
const EVENTS: [&str; 3] = ["accepted", "superseded", "unreadable"];

impl Source {
    fn label(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::Http => "http",
        }
    }
}

#[derive(Clone)]
pub(crate) struct IntakeMetrics {
    events: IntCounterVec,
    unreadable: IntCounterVec,
}

impl IntakeMetrics {
    pub fn register(metrics: &Metrics) -> Self {
        let events = metrics.counters(
            "deptrans_status_events_total",
            "Events of drivers' statuses by source (kafka, http) and outcome: accepted (the newest of \
             its driver), superseded (a newer one is known), unreadable",
            &["source", "outcome"],
        );
        let unreadable = metrics.counters(
            "deptrans_unreadable_events_total",
            "Events that could not be read, by source and reason",
            &["source", "reason"],
        );
        Self {
            events: from_zero(
                events,
                &SOURCES.map(|source| EVENTS.map(|event| [source.label(), event])).concat(),
            ),
            unreadable: from_zero(
                unreadable,
                &SOURCES.map(|source| REASONS.map(|reason| [source.label(), reason])).concat(),
            ),
        }
    }

    pub(super) fn recorded(&self, source: Source, accepted: usize, superseded: usize) {
        let count = |outcome: &str, count: usize| {
            self.events.with_label_values(&[source.label(), outcome]).inc_by(count as u64);
        };
        count("accepted", accepted);
        count("superseded", superseded);
    }

    pub(super) fn unreadable(&self, source: Source, why: &Unreadable) {
        self.events.with_label_values(&[source.label(), "unreadable"]).inc();
        self.unreadable.with_label_values(&[source.label(), why.reason]).inc();
    }
}
