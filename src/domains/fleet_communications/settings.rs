//! `[fleet_communications]`.

use std::time::Duration;

use serde::Deserialize;

use super::conversations::ConversationSettings;
use crate::platform::config::{Faults, Section};

/// What an operator may set.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommunicationsSettings {
    /// How far ahead a mailing may be scheduled.
    pub schedule_days: u32,
    /// Longest time that one run of a mailing works before other parks have their turn.
    pub mailing_slice_ms: u64,
    /// How long a mailing's recipients are kept after its end.
    pub recipient_days: i32,
    /// How long a mailing is kept after its end, and a template after it was deleted.
    pub mailing_days: i32,
    /// Conversations and their event streams.
    pub conversations: ConversationSettings,
}

impl CommunicationsSettings {
    pub(super) fn mailing_slice(&self) -> Duration {
        Duration::from_millis(self.mailing_slice_ms)
    }
}

impl Section for CommunicationsSettings {
    fn check(&self, faults: &mut Faults) {
        faults.require(
            (1..=365).contains(&self.schedule_days),
            "schedule_days",
            "must be in 1..=365",
        );
        faults.require(
            (1..=30_000).contains(&self.mailing_slice_ms),
            "mailing_slice_ms",
            "must be in 1..=30000",
        );
        // Longer than anything of a mailing is tried again in the background.
        faults.require(
            (14..=3_650).contains(&self.recipient_days),
            "recipient_days",
            "must be in 14..=3650",
        );
        // Recipients refer to their mailing, so they go first.
        faults.require(
            (self.recipient_days..=3_650).contains(&self.mailing_days),
            "mailing_days",
            "must not be less than recipient_days, and at most 3650",
        );
        self.conversations.check(faults);
    }
}
