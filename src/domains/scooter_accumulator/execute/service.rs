//! The rules of executing. What is begun here goes on without the caller: the command is written, sent
//! and answered elsewhere, and he only waits for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::try_join;
use uuid::Uuid;

use super::beginning::{self, Begun, Order};
use super::refusal::{no_answer, opened_any, refusal};
use crate::domains::scooter_accumulator::bookings::Booking;
use crate::domains::scooter_accumulator::bookings::store as bookings;
use crate::domains::scooter_accumulator::cabinets::store as cabinets;
use crate::domains::scooter_accumulator::commands::{
    self, Answer, Command, CommandEvent, CommandStatus, Failure, Seat,
};
use crate::domains::scooter_accumulator::ids::AccumulatorId;
use crate::domains::scooter_accumulator::line::Line;
use crate::domains::scooter_accumulator::settling::{self, Effects, Ending};
use crate::platform::context::{Context, Deadline};
use crate::platform::database::Connection;
use crate::platform::error::{Error, Kind, Result};

/// Who waits looks so often, also when nothing wakes him.
const LOOKS_EVERY: Duration = Duration::from_secs(1);
/// Of a caller's time this is kept for writing down, and telling him, that the cabinet did not answer; but
/// not more than half of it.
const FOR_THE_ANSWER: Duration = Duration::from_millis(200);
/// Writing it down takes no longer, whether or not he still waits.
const PATIENCE: Duration = Duration::from_secs(5);

/// Executes bookings.
pub struct Execution {
    line: Arc<Line>,
}

/// What is waited for has come, or not.
enum Came {
    Booking(Box<Booking>),
    /// No door was opened: the booking is as it was.
    NotOpened(Error),
    Nothing,
}

impl Execution {
    pub fn new(line: Arc<Line>) -> Self {
        Self { line }
    }

    /// Has a booking's cells opened, or joins whoever does. `named` is what a return brings.
    ///
    /// # Errors
    /// `booking_not_found`, `booking_not_active`, `cabinet_offline`, `broker_unavailable`,
    /// `cabinet_no_answer`, `accumulator_not_with_contractor`, and why the cabinet refused.
    pub async fn execute(
        &self,
        context: &Context,
        booking: Uuid,
        named: Option<Vec<AccumulatorId>>,
    ) -> Result<Booking> {
        let left = context.deadline.remaining();
        let kept = FOR_THE_ANSWER.min(left / 2);
        let waits =
            Context { deadline: Deadline::after(left.saturating_sub(kept)), ..context.clone() };
        loop {
            // Who sits down before the command is written misses no answer, and need not look at once.
            let own = self.line.wakes.sit(Uuid::now_v7());
            let begun = self.begin(&waits, booking, own.command(), named.clone()).await?;
            let (command, was_unknown, is_own) = match begun {
                Begun::Done(booking) => return Ok(*booking),
                Begun::Began(command) => (command, false, true),
                Begun::Joins(command) => (command, false, false),
                Begun::Asks(command) => (command, true, false),
            };
            let seat = is_own.then_some(own);
            match self.wait(&waits, booking, command, seat, was_unknown).await? {
                Came::Booking(booking) => return Ok(*booking),
                // What was unknown is known now, and nothing is open: this call's own turn.
                Came::NotOpened(_) if was_unknown && !waits.deadline.has_passed() => {}
                Came::NotOpened(refusal) => return Err(refusal),
                Came::Nothing => {
                    if is_own {
                        let line = Arc::clone(&self.line);
                        let given_up = self.line.runtime.spawn(give_up(line, command));
                        let _ = context.deadline.run(given_up).await;
                    }
                    return Err(no_answer());
                }
            }
        }
    }

    /// Writes the command and has it sent, where no caller can drop it.
    async fn begin(
        &self,
        context: &Context,
        booking: Uuid,
        command: Uuid,
        named: Option<Vec<AccumulatorId>>,
    ) -> Result<Begun> {
        let (line, context) = (Arc::clone(&self.line), context.clone());
        let work = self.line.runtime.spawn(async move {
            let (mut begun, cabinet) = line
                .database
                .transaction(&context, async |connection| {
                    let ttl = context.deadline.remaining().min(line.settings.ttl());
                    let order = Order { command, named: named.as_deref(), ttl };
                    beginning::begin(&line, connection, booking, &order).await
                })
                .await?;
            std::mem::take(&mut begun.effects).show(&line);
            let own = match begun.begun {
                Begun::Began(command) => Some(command),
                _ => None,
            };
            match (begun.sending, own) {
                (Some(sending), Some(own)) if sending.is_of(own) => {
                    let line = Arc::clone(&line);
                    line.runtime.clone().spawn(async move { commands::send(&line, sending).await });
                }
                // Something else goes first.
                (Some(sending), _) => {
                    let work = commands::send_and_drain(Arc::clone(&line), sending, cabinet);
                    line.runtime.spawn(work);
                }
                (None, Some(_)) => {
                    line.runtime.spawn(commands::drain(Arc::clone(&line), cabinet));
                }
                (None, None) => {}
            }
            Ok(begun.begun)
        });
        work.await.map_err(Error::internal)?
    }

    /// Waits until the command has ended, its time for an answer is over, or the caller's is. `own` is
    /// the seat of whoever has just had the command written.
    async fn wait(
        &self,
        context: &Context,
        booking: Uuid,
        command: Uuid,
        own: Option<Seat>,
        was_unknown: bool,
    ) -> Result<Came> {
        let began = Instant::now();
        let answer = self.line.settings.answer();
        // What was written just now has no answer yet.
        let mut looks = own.is_none();
        let mut seat = own.unwrap_or_else(|| self.line.wakes.sit(command));
        loop {
            if looks {
                match self.look(context, booking, command, was_unknown).await {
                    Ok(Some(came)) => return Ok(came),
                    Ok(None) => {}
                    Err(error) if error.kind() == Kind::DeadlineExceeded => {
                        return Ok(Came::Nothing);
                    }
                    Err(error) => return Err(error),
                }
            }
            looks = true;
            let left = context.deadline.remaining();
            if left.is_zero() {
                return Ok(Came::Nothing);
            }
            // When the time for an answer is over, somebody must say so: who waits is there.
            let overdue = answer.saturating_sub(began.elapsed()) + Duration::from_millis(5);
            let pause =
                if began.elapsed() < answer { overdue.min(LOOKS_EVERY) } else { LOOKS_EVERY };
            woken(&mut seat, pause.min(left)).await;
        }
    }

    /// What there is to answer by now; `None`: nothing yet.
    async fn look(
        &self,
        context: &Context,
        booking: Uuid,
        command: Uuid,
        was_unknown: bool,
    ) -> Result<Option<Came>> {
        let find = self.line.find();
        // The command first: what ended it has changed the booking in the same transaction.
        let read = async |connection: &Connection| {
            try_join!(find.by_id(connection, command), bookings::find(connection, booking))
        };
        let (command, booking) = self.line.database.statement(context, read).await?;
        let gone = || Error::internal("a booking in work, or its command, is gone");
        let (booking, command) = (booking.ok_or_else(gone)?, command.ok_or_else(gone)?);
        match command.status {
            CommandStatus::Created => Ok(None),
            CommandStatus::Sent => {
                if command.is_overdue {
                    self.time_out(context, &command).await?;
                }
                Ok(None)
            }
            // Who came while it was unknown waits for what the cabinet's state shows.
            CommandStatus::TimedOut => Ok((!was_unknown).then_some(Came::Nothing)),
            _ if opened_any(&command) => Ok(Some(Came::Booking(Box::new(booking)))),
            _ => Ok(Some(Came::NotOpened(refusal(&command)))),
        }
    }

    async fn time_out(&self, context: &Context, command: &Command) -> Result<()> {
        let find = self.line.find();
        let work = async |connection: &mut Connection| {
            let mut effects = Effects::default();
            cabinets::lock(connection, &command.cabinet_id).await?;
            let again = find.by_id(connection, command.id).await?;
            let still = again.filter(|it| it.status == CommandStatus::Sent && it.is_overdue);
            if let Some(mut command) = still {
                settling::time_out(connection, &mut command, &mut effects).await?;
            }
            Ok(effects)
        };
        let effects = self.line.database.transaction(context, work).await?;
        effects.show(&self.line);
        Ok(())
    }
}

/// Whoever had the command written has no time left: so has the command. When this fails, whoever
/// looks after what is overdue does it later.
async fn give_up(line: Arc<Line>, id: Uuid) {
    let work = async |connection: &mut Connection| {
        let mut effects = Effects::default();
        let Some(command) = line.find().by_id(connection, id).await? else {
            return Ok(effects);
        };
        cabinets::lock(connection, &command.cabinet_id).await?;
        let Some(mut command) = line.find().by_id(connection, id).await? else {
            return Ok(effects);
        };
        match command.status {
            CommandStatus::Created => {
                let answer = Answer::never_left(Failure::Expired);
                let ending = Ending::unopened(CommandEvent::NeverLeft, answer);
                settling::end_command(&line, connection, &mut command, ending, &mut effects)
                    .await?;
            }
            CommandStatus::Sent => {
                settling::time_out(connection, &mut command, &mut effects).await?;
            }
            _ => {}
        }
        Ok(effects)
    };
    let context = Context::background("scooter commands", PATIENCE);
    match line.database.transaction(&context, work).await {
        Ok(effects) => effects.show(&line),
        Err(error) => {
            tracing::warn!(command = %id, code = error.code(), "a command waits to be given up");
        }
    }
}

async fn woken(seat: &mut Seat, at_most: Duration) {
    let _ = tokio::time::timeout(at_most, seat.woken()).await;
}
