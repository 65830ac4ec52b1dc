//! What is shown to the outside once a transaction is committed.

use std::time::Duration;

use uuid::Uuid;

use crate::domains::scooter_accumulator::bookings::BookingKind;
use crate::domains::scooter_accumulator::commands::{CommandKind, CommandStatus};
use crate::domains::scooter_accumulator::tools::Tools;

/// Gathered while a transaction runs, shown when it is committed.
#[derive(Debug, Default)]
#[must_use]
pub struct Effects {
    commands: Vec<(Uuid, CommandKind, CommandStatus, Duration)>,
    bookings: Vec<(BookingKind, &'static str)>,
    asks: bool,
}

impl Effects {
    pub fn command(&mut self, id: Uuid, kind: CommandKind, status: CommandStatus, age: Duration) {
        self.commands.push((id, kind, status, age));
    }

    pub fn booking(&mut self, kind: BookingKind, outcome: &'static str) {
        self.bookings.push((kind, outcome));
    }

    /// A cabinet is to be asked for its state soon.
    pub fn ask(&mut self) {
        self.asks = true;
    }

    /// Wakes those who wait in this process, and counts.
    pub fn show(self, tools: &Tools) {
        for (id, kind, status, age) in self.commands {
            tools.metrics.command(kind, status, age);
            tools.wakes.wake(id);
        }
        for (kind, outcome) in self.bookings {
            tools.metrics.settled(kind.as_str(), outcome);
        }
        if self.asks {
            tools.ask.notify_one();
        }
    }
}
