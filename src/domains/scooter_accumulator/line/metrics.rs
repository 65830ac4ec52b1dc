//! What is watched of the line to the cabinets: commands and events.

use std::time::Duration;

use crate::domains::scooter_accumulator::commands::{CommandKind, CommandStatus};
use crate::platform::telemetry::metrics::{
    Histogram, HistogramVec, IntCounter, IntCounterVec, Metrics, from_zero,
};

/// How commands end, and what becomes of those that are published.
const ENDS: [&str; 5] = ["timed_out", "succeeded", "failed", "rejected", "expired"];
const SENT: [&str; 3] = ["sent", "not_sent", "unknown"];

/// What is watched for from the first event on.
const EVENTS: [[&str; 2]; 20] = [
    ["command_result", "applied"],
    ["command_result", "failed"],
    ["command_result", "unknown_cabinet"],
    ["state", "applied"],
    ["state", "failed"],
    ["state", "unknown_cabinet"],
    ["cell_changed", "applied"],
    ["cell_changed", "failed"],
    ["cell_changed", "unknown_cabinet"],
    ["online", "applied"],
    ["online", "failed"],
    ["online", "unknown_cabinet"],
    ["offline", "applied"],
    ["offline", "failed"],
    ["offline", "unknown_cabinet"],
    [UNREAD, "unknown_cabinet"],
    [UNREAD, "malformed"],
    [UNREAD, "version"],
    [UNREAD, "unknown_type"],
    [UNREAD, "contradictory"],
];

/// The type of an event that was not read.
pub const UNREAD: &str = "unread";

fn by_kind<const N: usize>(words: &[&'static str; N]) -> Vec<[&'static str; 2]> {
    CommandKind::ALL.iter().flat_map(|kind| words.map(|word| [kind.name(), word])).collect()
}

#[derive(Clone)]
pub struct LineMetrics {
    commands: IntCounterVec,
    sent: IntCounterVec,
    latency: HistogramVec,
    events: IntCounterVec,
    pub applied: Histogram,
    pub polls: IntCounter,
    pub turned_offline: IntCounter,
}

impl LineMetrics {
    pub fn register(metrics: &Metrics) -> Self {
        Self {
            commands: from_zero(metrics.counters(
                "scooter_accumulator_commands_total",
                "Commands to cabinets by type and what became of them: timed_out (a late answer still \
                 counts), succeeded, failed, rejected, expired",
                &["type", "outcome"],
            ), &by_kind(&ENDS)),
            sent: from_zero(metrics.counters(
                "scooter_accumulator_commands_sent_total",
                "Publications of commands by type and outcome: sent, not_sent, unknown",
                &["type", "outcome"],
            ), &by_kind(&SENT)),
            latency: metrics.latencies(
                "scooter_accumulator_command_duration_seconds",
                "From a command's writing to its end, by type and outcome",
                &["type", "outcome"],
            ),
            events: from_zero(metrics.counters(
                "scooter_accumulator_events_total",
                "Events of cabinets by type and outcome: applied, duplicate, unknown_command, or why they \
                 were dropped",
                &["type", "outcome"],
            ), &EVENTS),
            applied: metrics.latency(
                "scooter_accumulator_event_duration_seconds",
                "Applying one event of a cabinet, further attempts included",
            ),
            polls: metrics.counter(
                "scooter_accumulator_polls_total",
                "Cabinets that were asked for their state in turn",
            ),
            turned_offline: metrics.counter(
                "scooter_accumulator_cabinets_fell_silent_total",
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
}
