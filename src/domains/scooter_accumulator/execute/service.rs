//! The rules of executing. What is begun here goes on without the caller: the command is written, sent
//! and answered elsewhere, and he only waits for it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::domains::scooter_accumulator::bookings::store::{self as bookings, LockedBooking};
use crate::domains::scooter_accumulator::bookings::{
    Booking, BookingEvent, BookingKind, BookingStatus, CellOutcome,
};
use crate::domains::scooter_accumulator::cabinets::cells::CellState;
use crate::domains::scooter_accumulator::cabinets::store as cabinets;
use crate::domains::scooter_accumulator::commands::{
    self, Answer, Command, CommandEvent, CommandKind, CommandStatus, Failure, Seat, Sending,
    broker_unavailable, cabinet_offline,
};
use crate::domains::scooter_accumulator::ids::{AccumulatorId, CabinetId};
use crate::domains::scooter_accumulator::line::Line;
use crate::domains::scooter_accumulator::places::{self, Place};
use crate::domains::scooter_accumulator::settling::{self, Effects, Ending};
use crate::platform::context::Context;
use crate::platform::database::Connection;
use crate::platform::error::{Error, Kind, Result};

/// Who waits looks so often, also when nothing wakes him.
const LOOKS_EVERY: Duration = Duration::from_secs(1);
/// What is left of a caller's time for telling him that the cabinet did not answer.
const FOR_THE_ANSWER: f64 = 0.05;
/// A command that expires sooner is not worth writing.
const LEAST_TTL: Duration = Duration::from_millis(20);

/// Executes bookings.
pub struct Execution {
    line: Arc<Line>,
}

/// How a call begins.
enum Begun {
    /// There is nothing to wait for.
    Done(Box<Booking>),
    /// A command was written, and is on its way.
    Began(Uuid),
    /// Somebody else's is on its way.
    Joins(Uuid),
    /// It is not known what became of a command; the cabinet is asked.
    Asks(Uuid),
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
        let waits = context.keeping_back(FOR_THE_ANSWER);
        loop {
            let begun = self.begin(&waits, booking, named.clone()).await?;
            let (command, was_unknown, is_own) = match begun {
                Begun::Done(booking) => return Ok(*booking),
                Begun::Began(command) => (command, false, true),
                Begun::Joins(command) => (command, false, false),
                Begun::Asks(command) => (command, true, false),
            };
            match self.wait(&waits, booking, command, was_unknown).await? {
                Came::Booking(booking) => return Ok(*booking),
                // What was unknown is known now, and nothing is open: this call's own turn.
                Came::NotOpened(_) if was_unknown && !waits.deadline.has_passed() => {}
                Came::NotOpened(refusal) => return Err(refusal),
                Came::Nothing => {
                    if is_own {
                        self.give_up(context, command).await;
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
        named: Option<Vec<AccumulatorId>>,
    ) -> Result<Begun> {
        let (line, context) = (Arc::clone(&self.line), context.clone());
        let work = self.line.runtime.spawn(async move {
            let (mut begun, cabinet) = line
                .database
                .transaction(&context, async |connection| {
                    let ttl = context.deadline.remaining().min(line.settings.ttl());
                    let order = Order { named: named.as_deref(), ttl };
                    begin(&line, connection, booking, &order).await
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

    /// Waits until the command has ended, its time for an answer is over, or the caller's is.
    async fn wait(
        &self,
        context: &Context,
        booking: Uuid,
        command: Uuid,
        was_unknown: bool,
    ) -> Result<Came> {
        let mut seat = self.line.wakes.sit(command);
        let began = Instant::now();
        let answer = self.line.settings.answer();
        loop {
            let looked = self.look(context, booking, command, was_unknown).await;
            match looked {
                Ok(Some(came)) => return Ok(came),
                Ok(None) => {}
                Err(error) if error.kind() == Kind::DeadlineExceeded => return Ok(Came::Nothing),
                Err(error) => return Err(error),
            }
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
        let read = async |connection: &mut Connection| {
            let booking = bookings::find(connection, booking).await?;
            Ok((booking, find.by_id(connection, command).await?))
        };
        let (booking, command) = self.line.database.transaction(context, read).await?;
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

    /// Whoever had the command written has no time left: so has the command. When this fails, whoever
    /// looks after what is overdue does it later.
    async fn give_up(&self, context: &Context, id: Uuid) {
        let line = &self.line;
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
                    settling::end_command(line, connection, &mut command, ending, &mut effects)
                        .await?;
                }
                CommandStatus::Sent => {
                    settling::time_out(connection, &mut command, &mut effects).await?;
                }
                _ => {}
            }
            Ok(effects)
        };
        match line.database.transaction(context, work).await {
            Ok(effects) => effects.show(line),
            Err(error) => {
                tracing::warn!(command = %id, code = error.code(), "a command waits to be given up");
            }
        }
    }
}

/// What is to be done with a booking.
struct Order<'a> {
    named: Option<&'a [AccumulatorId]>,
    /// How long the cabinet may carry it out: not longer than somebody waits there.
    ttl: Duration,
}

/// What a beginning has written.
struct Beginning {
    begun: Begun,
    sending: Option<Sending>,
    effects: Effects,
}

impl Beginning {
    fn of(begun: Begun) -> Self {
        Self { begun, sending: None, effects: Effects::default() }
    }
}

async fn begin(
    line: &Line,
    connection: &mut Connection,
    id: Uuid,
    order: &Order<'_>,
) -> Result<(Beginning, CabinetId)> {
    let Some(mut booking) = bookings::lock(connection, id).await? else {
        return Err(Error::not_found("booking_not_found", "There is no such booking."));
    };
    let cabinet = booking.get().cabinet_id.clone();
    check(booking.get(), order.named)?;
    let beginning = match booking.get().status {
        BookingStatus::Active => begin_new(line, connection, &mut booking, order).await?,
        BookingStatus::Executing | BookingStatus::Unknown => {
            join(line, connection, &booking, order.named).await?
        }
        BookingStatus::Completed | BookingStatus::Incomplete => {
            Beginning::of(Begun::Done(Box::new(booking.get().clone())))
        }
        status @ (BookingStatus::Expired | BookingStatus::Cancelled) => {
            return Err(bookings::refused(status));
        }
    };
    Ok((beginning, cabinet))
}

/// Whether the request fits the booking's kind.
fn check(booking: &Booking, named: Option<&[AccumulatorId]>) -> Result<()> {
    const POINTER: &str = "/accumulator_ids";
    let begins = booking.status == BookingStatus::Active;
    match (booking.kind, named) {
        (BookingKind::Pickup, None) => Ok(()),
        (BookingKind::Pickup, Some(_)) => {
            Err(Error::invalid(POINTER, "must not be given: the booking says what is taken out"))
        }
        (BookingKind::Return, None) if begins => {
            Err(Error::invalid(POINTER, "must say what is brought"))
        }
        (BookingKind::Return, None) => Ok(()),
        (BookingKind::Return, Some(named)) => {
            let distinct: BTreeSet<&AccumulatorId> = named.iter().collect();
            if distinct.len() != named.len() {
                return Err(Error::invalid(POINTER, "must name each accumulator once"));
            }
            if named.len() > booking.cells.len() {
                let detail = format!("must be at most {}: as many cells are booked", booking.count);
                return Err(Error::invalid(POINTER, detail));
            }
            Ok(())
        }
    }
}

/// A command is on its way, or the doors are open.
async fn join(
    line: &Line,
    connection: &mut Connection,
    booking: &LockedBooking,
    named: Option<&[AccumulatorId]>,
) -> Result<Beginning> {
    let booking = booking.get();
    if let Some(named) = named {
        let known: BTreeSet<&AccumulatorId> =
            booking.cells.iter().filter_map(|cell| cell.accumulator_id.as_ref()).collect();
        if known != named.iter().collect() {
            let detail = "The booking is executed with other accumulators.";
            return Err(Error::new(Kind::Conflict, "other_accumulators", detail));
        }
    }
    let last = line.find().last_of_booking(connection, booking.id).await?;
    let Some(command) = last.filter(|command| command.status.is_open()) else {
        return Ok(Beginning::of(Begun::Done(Box::new(booking.clone()))));
    };
    if !line.mqtt.is_up() {
        return Err(broker_unavailable());
    }
    if command.status != CommandStatus::TimedOut {
        return Ok(Beginning::of(Begun::Joins(command.id)));
    }
    let mut beginning = Beginning::of(Begun::Asks(command.id));
    settling::ask(connection, &command, &mut beginning.effects).await?;
    Ok(beginning)
}

/// Writes the command, and marks it as sent if the cabinet takes one now.
async fn begin_new(
    line: &Line,
    connection: &mut Connection,
    booking: &mut LockedBooking,
    order: &Order<'_>,
) -> Result<Beginning> {
    if !line.mqtt.is_up() {
        return Err(broker_unavailable());
    }
    let cabinet = booking.get().cabinet_id.clone();
    let row = cabinets::lock(connection, &cabinet).await?;
    if !row.is_some_and(|row| row.online) {
        return Err(cabinet_offline());
    }
    if order.ttl < LEAST_TTL {
        return Err(Error::deadline_exceeded());
    }
    if let Some(named) = order.named {
        name(connection, booking, named).await?;
    }
    let of_use = booking.get().cells.iter().filter(|cell| cell.outcome.is_none());
    let cells: Vec<i32> = of_use.map(|cell| cell.n).collect();
    let id = Uuid::now_v7();
    let command = commands::store::NewCommand {
        id,
        cabinet: &cabinet,
        booking: Some(booking.get().id),
        kind: CommandKind::UnlockCells,
        cells: Some(&cells),
        ttl: order.ttl,
    };
    commands::store::insert(connection, &command).await?;
    bookings::advance(connection, booking, BookingEvent::Execute).await?;
    let sending = commands::mark(line, connection, &cabinet).await?;
    Ok(Beginning { sending, ..Beginning::of(Begun::Began(id)) })
}

/// Gives the cells of a return their accumulators, which the technician must have; cells that are left
/// over stay shut.
async fn name(
    connection: &mut Connection,
    booking: &mut LockedBooking,
    named: &[AccumulatorId],
) -> Result<()> {
    let technician = Place::contractor(booking.get().contractor_id.clone());
    let locked = places::lock(connection, &named.iter().collect::<Vec<_>>()).await?;
    let has = |id: &&AccumulatorId| {
        let found = locked.iter().find(|one| one.get().id == **id);
        found.is_some_and(|one| one.get().place.as_ref() == Some(&technician))
    };
    let missing: Vec<&AccumulatorId> = named.iter().filter(|id| !has(id)).collect();
    if !missing.is_empty() {
        let detail = "The technician does not have all of these accumulators.";
        return Err(Error::new(Kind::Conflict, "accumulator_not_with_contractor", detail)
            .with_extension("accumulator_ids", &missing));
    }
    let numbers: Vec<i32> = booking.get().cells.iter().map(|cell| cell.n).collect();
    let given: Vec<(i32, AccumulatorId)> =
        numbers.iter().copied().zip(named.iter().cloned()).collect();
    bookings::name_accumulators(connection, booking, &given).await.map_err(|error| {
        if error.code() != "conflict" {
            return error;
        }
        let detail = "One of these accumulators is in another booking.";
        Error::new(Kind::Conflict, "accumulator_booked", detail).with_source(error)
    })?;
    let left: Vec<(i32, CellOutcome)> =
        numbers.iter().skip(named.len()).map(|n| (*n, CellOutcome::Unused)).collect();
    if left.is_empty() {
        return Ok(());
    }
    bookings::set_outcomes(connection, booking, &left).await
}

async fn woken(seat: &mut Seat, at_most: Duration) {
    let _ = tokio::time::timeout(at_most, seat.woken()).await;
}

/// Whether a command that has ended opened a door.
fn opened_any(command: &Command) -> bool {
    let is_open = |n: &i32| {
        let cells = command.result.iter().flat_map(|answer| &answer.cells);
        cells.into_iter().any(|cell| cell.n == *n && cell.state == CellState::Open)
    };
    match command.status {
        // With every cell broken, what was carried out opened nothing.
        CommandStatus::Succeeded => {
            let told = command.result.as_ref().map_or(0, |answer| answer.cells.len());
            told == 0 || command.cells.iter().flatten().any(|n| !is_broken(command, *n))
        }
        _ => command.cells.iter().flatten().any(is_open),
    }
}

fn is_broken(command: &Command, n: i32) -> bool {
    let mut cells = command.result.iter().flat_map(|answer| &answer.cells);
    cells.any(|cell| cell.n == n && cell.state == CellState::Broken)
}

/// Why no door was opened.
fn refusal(command: &Command) -> Error {
    let conflict = |code, detail| Error::new(Kind::Conflict, code, detail);
    match command.result.as_ref().and_then(|answer| answer.error) {
        Some(Failure::NotSent) => broker_unavailable(),
        Some(Failure::Expired) => no_answer(),
        Some(Failure::Jammed) => conflict("cabinet_jammed", "A door of the cabinet is stuck."),
        Some(Failure::Busy) => {
            conflict("cabinet_busy", "The cabinet is doing something else; try again.")
        }
        Some(Failure::UnknownCell) => {
            conflict("cabinet_unknown_cell", "The cabinet does not know one of the cells.")
        }
        Some(Failure::Other) | None => {
            conflict("cabinet_refused", "The cabinet did not open the cells.")
        }
    }
}

fn no_answer() -> Error {
    let detail = "The cabinet did not answer in time; the booking shows what becomes of it.";
    Error::new(Kind::DeadlineExceeded, "cabinet_no_answer", detail)
        .with_retry_after(Duration::from_secs(1))
}
