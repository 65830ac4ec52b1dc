//! `[scooter_accumulator.commands]`.

use std::time::Duration;

use serde::Deserialize;

use crate::platform::config::Faults;
use crate::platform::mqtt::TopicTemplate;

/// What stands for the cabinet's id in a topic.
const PLACEHOLDER: &str = "{cabinet_id}";
/// Beside the cabinet's own time, an execution has this to write its command down and what came of it.
const AROUND_AN_ANSWER: Duration = Duration::from_secs(1);

/// How cabinets are spoken to.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandSettings {
    /// Where a cabinet reads commands, with `{cabinet_id}` as a level of its own.
    pub commands_topic: String,
    /// Where a cabinet publishes events.
    pub events_topic: String,
    /// How long a cabinet may take to answer.
    pub answer_ms: u64,
    /// How long after it was given a cabinet may carry a command out.
    pub ttl_ms: u64,
    /// How long after doors were opened the cabinet may take to report them shut.
    pub settle_ms: u64,
    /// Least time between two commands to one cabinet.
    pub pace_ms: u64,
    /// How often a cabinet is asked for its state.
    pub poll_ms: u64,
    /// The same while it is not known what became of a command.
    pub ask_again_ms: u64,
    /// A cabinet that has said nothing for so long is offline.
    pub offline_after_ms: u64,
    /// Commands that may wait for their turn at one cabinet.
    pub max_waiting: i64,
    /// Events that are applied at once in this process, each of another cabinet.
    pub event_workers: usize,
    /// How long an event is remembered, so that a repeated one changes nothing.
    pub event_memory_minutes: i32,
}

/// The topics of all cabinets.
#[derive(Debug, Clone)]
pub struct Topics {
    pub commands: TopicTemplate,
    pub events: TopicTemplate,
}

impl CommandSettings {
    pub fn answer(&self) -> Duration {
        Duration::from_millis(self.answer_ms)
    }

    /// How long an execution may take: the cabinet's turn comes, it answers, and that is written down.
    pub fn execution(&self) -> Duration {
        self.answer() + self.pace() + AROUND_AN_ANSWER
    }

    pub fn ttl(&self) -> Duration {
        Duration::from_millis(self.ttl_ms)
    }

    pub fn settle(&self) -> Duration {
        Duration::from_millis(self.settle_ms)
    }

    pub fn pace(&self) -> Duration {
        Duration::from_millis(self.pace_ms)
    }

    pub fn poll(&self) -> Duration {
        Duration::from_millis(self.poll_ms)
    }

    pub fn ask_again(&self) -> Duration {
        Duration::from_millis(self.ask_again_ms)
    }

    pub fn offline_after(&self) -> Duration {
        Duration::from_millis(self.offline_after_ms)
    }

    /// The topics of all cabinets.
    ///
    /// # Errors
    /// The key that is no template, and why.
    pub fn topics(&self) -> Result<Topics, (&'static str, String)> {
        let parse =
            |key, text| TopicTemplate::parse(text, PLACEHOLDER).map_err(|fault| (key, fault));
        Ok(Topics {
            commands: parse("commands_topic", &self.commands_topic)?,
            events: parse("events_topic", &self.events_topic)?,
        })
    }

    pub fn check(&self, faults: &mut Faults) {
        if let Err((key, fault)) = self.topics() {
            faults.require(false, &format!("commands.{key}"), &fault);
        }
        faults.require(
            self.commands_topic != self.events_topic,
            "commands.events_topic",
            "must differ from commands_topic",
        );
        let minutes = 60_000;
        for (key, value, least, most) in [
            ("answer_ms", self.answer_ms, 100, 10 * minutes),
            ("ttl_ms", self.ttl_ms, 100, 10 * minutes),
            ("settle_ms", self.settle_ms, 100, 24 * 60 * minutes),
            ("pace_ms", self.pace_ms, 0, minutes),
            ("poll_ms", self.poll_ms, 100, 24 * 60 * minutes),
            ("ask_again_ms", self.ask_again_ms, 100, 60 * minutes),
            ("offline_after_ms", self.offline_after_ms, 100, 24 * 60 * minutes),
        ] {
            let message = format!("must be in {least}..={most}");
            faults.require((least..=most).contains(&value), &format!("commands.{key}"), &message);
        }
        faults.require(
            self.offline_after_ms >= self.poll_ms,
            "commands.offline_after_ms",
            "must not be less than poll_ms: cabinets would be offline before they are asked",
        );
        for (key, value, most) in [
            ("max_waiting", self.max_waiting, 1_000),
            ("event_memory_minutes", self.event_memory_minutes.into(), 1_440),
        ] {
            let message = format!("must be in 1..={most}");
            faults.require((1..=most).contains(&value), &format!("commands.{key}"), &message);
        }
        faults.require(
            (1..=64).contains(&self.event_workers),
            "commands.event_workers",
            "must be in 1..=64",
        );
    }
}
