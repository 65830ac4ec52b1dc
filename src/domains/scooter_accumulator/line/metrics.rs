//! What is watched of cabinets: commands, events, bookings.

use std::time::Duration;

use super::commands::{CommandKind, CommandStatus};
use crate::platform::telemetry::metrics::{Histogram, HistogramVec, IntCounter, IntCounterVec, Metrics};

#[derive(Clone)]
pub struct CabinetMetrics {
    commands: IntCounterVec,
    sent: IntCounterVec,
    latency: HistogramVec,
    events: IntCounterVec,
    settled: IntCounterVec,
    pub applied: Histogram,
    pub polls: IntCounter,
    pub turned_offline: IntCounter,
}

impl CabinetMetrics {
    pub fn register(metrics: &Metrics) -> Self {
        Self {
            commands: metrics.counters(
                "scooter_commands_total",
                "Commands to cabinets by type and what became of them: timed_out (a late answer still \
                 counts), succeeded, failed, rejected, expired",
                &["type", "outcome"],
            ),
            sent: metrics.counters(
                "scooter_commands_sent_total",
                "Publications of commands by type and outcome: sent, not_sent, unknown",
                &["type", "outcome"],
            ),
            latency: metrics.latencies(
                "scooter_command_duration_seconds",
                "From a command's writing to its end, by type and outcome",
                &["type", "outcome"],
            ),
            events: metrics.counters(
                "scooter_events_total",
                "Events of cabinets by type and outcome: applied, duplicate, late (nothing of it was \
                 news), unknown_command, or why they were dropped",
                &["type", "outcome"],
            ),
            applied: metrics.latency(
                "scooter_event_duration_seconds",
                "Applying one event of a cabinet, further attempts included",
            ),
            settled: metrics.counters(
                "scooter_bookings_settled_total",
                "Executed bookings by what the cabinet made of them: completed, incomplete, not_opened, \
                 unknown (so far)",
                &["kind", "outcome"],
            ),
            polls: metrics.counter(
                "scooter_polls_total",
                "Cabinets that were asked for their state in turn",
            ),
            turned_offline: metrics.counter(
                "scooter_cabinets_fell_silent_total",
                "Cabinets that became offline because nothing was heard of them",
            ),
        }
    }

    pub fn sent(&self, kind: CommandKind, outcome: &str) {
        self.sent.with_label_values(&[kind.name(), outcome]).inc();
    }

    pub fn command(&self, kind: CommandKind, status: CommandStatus, age: Duration) {
        self.commands.with_label_values(&[kind.name(), status.name()]).inc();
        self.latency.with_label_values(&[kind.name(), status.name()]).observe(age.as_secs_f64());
    }

    pub fn event(&self, kind: &str, outcome: &str) {
        self.events.with_label_values(&[kind, outcome]).inc();
    }

    pub fn settled(&self, kind: &str, outcome: &str) {
        self.settled.with_label_values(&[kind, outcome]).inc();
    }
}
