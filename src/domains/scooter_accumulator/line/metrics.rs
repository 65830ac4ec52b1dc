//! What is watched of the line to the cabinets: commands and events.

use std::time::Duration;

use crate::domains::scooter_accumulator::commands::{CommandKind, CommandStatus};
use crate::platform::telemetry::metrics::{
    Histogram, HistogramVec, IntCounter, IntCounterVec, Metrics,
};

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
            commands: metrics.counters(
                "scooter_accumulator_commands_total",
                "Commands to cabinets by type and what became of them: timed_out (a late answer still \
                 counts), succeeded, failed, rejected, expired",
                &["type", "outcome"],
            ),
            sent: metrics.counters(
                "scooter_accumulator_commands_sent_total",
                "Publications of commands by type and outcome: sent, not_sent, unknown",
                &["type", "outcome"],
            ),
            latency: metrics.latencies(
                "scooter_accumulator_command_duration_seconds",
                "From a command's writing to its end, by type and outcome",
                &["type", "outcome"],
            ),
            events: metrics.counters(
                "scooter_accumulator_events_total",
                "Events of cabinets by type and outcome: applied, duplicate, unknown_command, or why they \
                 were dropped",
                &["type", "outcome"],
            ),
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
