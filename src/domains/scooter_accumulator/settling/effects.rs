//! What is shown to the outside once a transaction is committed.

use std::time::Duration;

use uuid::Uuid;

use crate::domains::scooter_accumulator::commands::{CommandKind, CommandStatus};
use crate::domains::scooter_accumulator::line::Line;

/// Gathered while a transaction runs, shown when it is committed.
#[derive(Debug, Default)]
#[must_use]
pub struct Effects {
    commands: Vec<(Uuid, CommandKind, CommandStatus, Duration)>,
    bookings: Vec<&'static str>,
    asks: bool,
}

impl Effects {
    pub fn command(&mut self, id: Uuid, kind: CommandKind, status: CommandStatus, age: Duration) {
        self.commands.push((id, kind, status, age));
    }

    pub fn booking(&mut self, outcome: &'static str) {
        self.bookings.push(outcome);
    }

    /// A cabinet is to be asked for its state soon.
    pub fn ask(&mut self) {
        self.asks = true;
    }

    /// Wakes those who wait in this process, and counts.
    pub fn show(self, line: &Line) {
        for (id, kind, status, age) in self.commands {
            line.metrics.command(kind, status, age);
            line.wakes.wake(id);
        }
        for outcome in self.bookings {
            line.outcomes.booking(outcome);
        }
        if self.asks {
            line.ask.notify_one();
        }
    }
}
