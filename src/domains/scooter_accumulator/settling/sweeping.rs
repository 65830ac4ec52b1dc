//! Looks after what nobody does anything about: commands that were not sent or not answered in time,
//! also by a process that is gone; bookings whose doors stay open. Every instance does so;
//! what one has done, the next finds done.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::{Effects, Ending, end_command, review, store, time_out};
use crate::domains::scooter_accumulator::bookings::store as bookings;
use crate::domains::scooter_accumulator::cabinets::store as cabinets;
use crate::domains::scooter_accumulator::commands::{
    self, Answer, CommandEvent, CommandStatus, Failure,
};
use crate::domains::scooter_accumulator::ids::CabinetId;
use crate::domains::scooter_accumulator::line::Line;
use crate::platform::context::Context;
use crate::platform::error::Result;

const EVERY: Duration = Duration::from_secs(1);
/// What is looked after in one round.
const BATCH: i64 = 100;
const PATIENCE: Duration = Duration::from_secs(5);

/// Looks until the process stops.
pub async fn run(line: Arc<Line>) {
    let mut told = false;
    loop {
        match round(&line).await {
            Ok(()) => told = false,
            Err(error) => {
                if !std::mem::replace(&mut told, true) {
                    let (code, cause) = (error.code(), error.chain());
                    tracing::warn!(code, cause, "commands and bookings wait for the database");
                }
            }
        }
        // Instances that started together do not look all at once.
        let pause = EVERY.mul_f64(0.75 + 0.5 * rand::random::<f64>());
        if line.closing.wait_or(pause).await {
            return;
        }
    }
}

async fn round(line: &Arc<Line>) -> Result<()> {
    let context = Context::background("scooter sweeping", PATIENCE);
    let answer = line.settings.answer();
    let (commands, bookings) = line
        .database
        .transaction(&context, async |connection| {
            let commands = commands::store::due(connection, answer, BATCH).await?;
            Ok((commands, store::overdue(connection, BATCH).await?))
        })
        .await?;
    // One that fails does not keep the others waiting.
    let mut outcome = Ok(());
    for (command, cabinet) in commands {
        outcome = outcome.and(look_after(line, command, &cabinet).await);
    }
    for (booking, cabinet) in bookings {
        outcome = outcome.and(settle(line, booking, &cabinet).await);
    }
    outcome
}

async fn look_after(line: &Arc<Line>, command: Uuid, cabinet: &CabinetId) -> Result<()> {
    let context = Context::background("scooter sweeping", PATIENCE);
    let (effects, waits) = line
        .database
        .transaction(&context, async |connection| {
            let mut effects = Effects::default();
            cabinets::lock(connection, cabinet).await?;
            let Some(mut command) = line.find().by_id(connection, command).await? else {
                return Ok((effects, false));
            };
            match command.status {
                CommandStatus::Created if command.is_past => {
                    let answer = Answer::never_left(Failure::Expired);
                    let ending = Ending::unopened(CommandEvent::NeverLeft, answer);
                    end_command(line, connection, &mut command, ending, &mut effects).await?;
                }
                CommandStatus::Created => return Ok((effects, true)),
                CommandStatus::Sent if command.is_overdue => {
                    time_out(connection, &mut command, &mut effects).await?;
                }
                _ => {}
            }
            Ok((effects, false))
        })
        .await?;
    effects.show(line);
    if waits {
        // Whoever wrote it is gone, or at it: either way it goes in its turn, once.
        line.runtime.spawn(commands::drain(Arc::clone(line), cabinet.clone()));
    }
    Ok(())
}

async fn settle(line: &Line, booking: Uuid, cabinet: &CabinetId) -> Result<()> {
    let context = Context::background("scooter sweeping", PATIENCE);
    let effects = line
        .database
        .transaction(&context, async |connection| {
            let mut effects = Effects::default();
            cabinets::lock(connection, cabinet).await?;
            if let Some(mut booking) = bookings::lock_under_cabinet(connection, booking).await? {
                review(connection, &mut booking, None, true, &mut effects).await?;
            }
            Ok(effects)
        })
        .await?;
    effects.show(line);
    Ok(())
}
