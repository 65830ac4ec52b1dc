//! `[fleet_communications.conversations]`.

use std::time::Duration;

use serde::Deserialize;

use crate::platform::config::Faults;

/// What an operator may set.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConversationSettings {
    /// Event streams open at once in this process, and of one park.
    pub max_streams: usize,
    /// Of them, those of one park.
    pub max_streams_of_park: usize,
    /// How often a silent stream shows that it lives.
    pub heartbeat_ms: u64,
    /// How often the database is asked for news that no notification told of.
    pub look_ms: u64,
    /// A stream is closed after this; its client comes back, through the auth proxy again.
    pub stream_max_ms: u64,
    /// How long events are kept for streams that resume.
    pub event_days: i32,
    /// How long messages are kept.
    pub message_days: i32,
}

impl ConversationSettings {
    pub(super) fn heartbeat(&self) -> Duration {
        Duration::from_millis(self.heartbeat_ms)
    }

    pub(super) fn look(&self) -> Duration {
        Duration::from_millis(self.look_ms)
    }

    pub(super) fn stream_max(&self) -> Duration {
        Duration::from_millis(self.stream_max_ms)
    }

    pub(in crate::domains::fleet_communications) fn check(&self, faults: &mut Faults) {
        let mut within = |holds: bool, key: &str, range: &str| {
            faults.require(holds, &format!("conversations.{key}"), &format!("must be in {range}"));
        };
        within((1..=100_000).contains(&self.max_streams), "max_streams", "1..=100000");
        within(
            (1..=self.max_streams).contains(&self.max_streams_of_park),
            "max_streams_of_park",
            "1..=max_streams",
        );
        within((100..=60_000).contains(&self.heartbeat_ms), "heartbeat_ms", "100..=60000");
        within((100..=300_000).contains(&self.look_ms), "look_ms", "100..=300000");
        within(
            (1_000..=86_400_000).contains(&self.stream_max_ms),
            "stream_max_ms",
            "1000..=86400000",
        );
        within((1..=90).contains(&self.event_days), "event_days", "1..=90");
        // Events tell of messages: those are there as long as these.
        within(
            self.message_days > self.event_days && self.message_days <= 3_650,
            "message_days",
            "event_days+1..=3650",
        );
    }
}
