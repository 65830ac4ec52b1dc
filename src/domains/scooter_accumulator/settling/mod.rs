//! What becomes of commands and of the bookings behind them.
//!
//! `rules` decides from facts, `store` reads and writes them; here is what ties them together, each
//! within a transaction of a caller who holds the cabinet's row. `sweeping` looks after what nobody
//! does anything about.

mod effects;
mod rules;
mod store;
mod sweeping;

use std::collections::BTreeSet;

use futures_util::try_join;
use jiff::Timestamp;
use uuid::Uuid;

pub use self::effects::Effects;
use self::rules::{BookingFacts, End, Move};
pub use self::sweeping::run as sweep;
use super::bookings::store::{self as bookings, LockedBooking};
use super::bookings::{BookingEvent, BookingKind, BookingStatus, CellOutcome};
use super::commands::{Answer, Command, CommandEvent, Failure, Witness};
use super::ids::{AccumulatorId, CabinetId};
use super::line::Line;
use super::places::{self, Cause, Locked, MoveKind, Place};
use crate::platform::database::Connection;
use crate::platform::error::Result;

/// A cabinet is asked so long after a command's expiry: its clock is read in milliseconds.
const AFTER_EXPIRY: jiff::SignedDuration = jiff::SignedDuration::from_millis(100);

/// How a command ends.
#[derive(Debug)]
pub struct Ending {
    event: CommandEvent,
    answer: Answer,
    /// What became of each of its cells, as far as that is another than [`CellOutcome::Failed`].
    opened: BTreeSet<i32>,
}

impl Ending {
    /// It opened nothing.
    pub fn unopened(event: CommandEvent, answer: Answer) -> Self {
        Self { event, answer, opened: BTreeSet::new() }
    }

    /// As the cabinet answered; `opened` are the cells whose doors were opened.
    pub fn answered(answer: Answer, opened: BTreeSet<i32>) -> Self {
        let event = match (answer.ok, answer.error) {
            (true, _) => CommandEvent::Done,
            (false, Some(Failure::Expired)) => CommandEvent::CameTooLate,
            (false, Some(Failure::Busy | Failure::UnknownCell)) => CommandEvent::Refused,
            (false, _) => CommandEvent::CouldNot,
        };
        Self { event, answer, opened }
    }
}

/// Ends a command, and lets its booking go on. Returns whether it could still end so.
pub async fn end_command(
    line: &Line,
    connection: &Connection,
    command: &mut Command,
    ending: Ending,
    effects: &mut Effects,
) -> Result<bool> {
    let Ending { event, answer, opened } = ending;
    let booking = command.booking_id;
    let (advanced, booking) = try_join!(
        super::commands::store::advance(connection, command, event, Some(answer)),
        lock(connection, booking),
    )?;
    let Some(age) = advanced else { return Ok(false) };
    effects.command(command.id, command.kind, command.status, age);
    let Some(mut booking) = booking else { return Ok(true) };
    let status = booking.get().status;
    if !matches!(status, BookingStatus::Executing | BookingStatus::Unknown) {
        return Ok(true);
    }
    if opened.is_empty() {
        let (id, kind) = (booking.get().id, booking.get().kind);
        store::not_opened(connection, id, kind).await?;
        bookings::advance(connection, &mut booking, BookingEvent::NotOpened).await?;
        effects.booking("not_opened");
        return Ok(true);
    }
    let of = |n: &i32| {
        let is_opened = opened.contains(n);
        (*n, if is_opened { CellOutcome::Opened } else { CellOutcome::Failed })
    };
    let outcomes: Vec<_> = command.cells.iter().flatten().map(of).collect();
    bookings::set_outcomes(connection, &mut booking, &outcomes).await?;
    bookings::advance(connection, &mut booking, BookingEvent::Opened).await?;
    let settle = line.settings.settle();
    let ((), known) = try_join!(
        store::opened(connection, booking.get().id, settle),
        facts(connection, &booking),
    )?;
    write_review(connection, &mut booking, known, Some(command.id), false, effects).await?;
    Ok(true)
}

async fn lock(connection: &Connection, booking: Option<Uuid>) -> Result<Option<LockedBooking>> {
    match booking {
        Some(id) => bookings::lock_under_cabinet(connection, id).await,
        None => Ok(None),
    }
}

/// The time for an answer is over: from now on it is not known what became of the command, and the
/// cabinet is asked for its state as soon as it cannot carry it out any more.
pub async fn time_out(
    connection: &Connection,
    command: &mut Command,
    effects: &mut Effects,
) -> Result<()> {
    let advanced =
        super::commands::store::advance(connection, command, CommandEvent::TimesOut, None).await?;
    let Some(age) = advanced else { return Ok(()) };
    effects.command(command.id, command.kind, command.status, age);
    let Some(booking) = command.booking_id else { return Ok(()) };
    let Some(mut booking) = bookings::lock_under_cabinet(connection, booking).await? else {
        return Ok(());
    };
    if booking.get().status == BookingStatus::Executing {
        bookings::advance(connection, &mut booking, BookingEvent::NoAnswer).await?;
        effects.booking("unknown");
    }
    ask(connection, command, effects).await
}

/// Has a command's cabinet asked for its state as soon as that tells what became of the command.
pub async fn ask(connection: &Connection, command: &Command, effects: &mut Effects) -> Result<()> {
    let at = command.expires_at.checked_add(AFTER_EXPIRY).unwrap_or(command.expires_at);
    store::ask(connection, &command.cabinet_id, at).await?;
    effects.ask();
    Ok(())
}

/// A complete state of a cabinet, taken at `at` by its own clock, was applied: commands that it cannot
/// carry out any more, and did not answer, are known by what it shows.
pub async fn settle_unanswered(
    line: &Line,
    connection: &Connection,
    cabinet: &CabinetId,
    at: Timestamp,
    reported: &BTreeSet<i32>,
    effects: &mut Effects,
) -> Result<()> {
    for mut command in line.find().unanswered(connection, cabinet).await? {
        let cells = command.cells.clone().unwrap_or_default();
        let tells = command.is_past
            && command.told_expires_at.is_some_and(|expiry| at > expiry)
            && cells.iter().all(|n| reported.contains(n));
        let Some(booking) = command.booking_id.filter(|_| tells) else { continue };
        let Some(booking) = bookings::lock_under_cabinet(connection, booking).await? else {
            continue;
        };
        let (facts, _) = facts(connection, &booking).await?;
        let judged = rules::judge(&facts);
        let is_opened = |(n, outcome): &(i32, CellOutcome)| {
            (*outcome == CellOutcome::Opened && cells.contains(n)).then_some(*n)
        };
        let opened: BTreeSet<i32> = judged.iter().filter_map(is_opened).collect();
        let ok = !opened.is_empty();
        let error = (!ok).then_some(Failure::Expired);
        let answer = Answer { ok, error, by: Witness::State, cells: Vec::new() };
        let event = if ok { CommandEvent::Done } else { CommandEvent::CameTooLate };
        let ending = Ending { event, answer, opened };
        end_command(line, connection, &mut command, ending, effects).await?;
    }
    Ok(())
}

/// Cells of a cabinet were reported: its bookings in work go on, but for one that just did.
pub async fn review_cabinet(
    connection: &Connection,
    cabinet: &CabinetId,
    but: Option<Uuid>,
    effects: &mut Effects,
) -> Result<()> {
    let in_work = store::in_work(connection, cabinet).await?;
    for id in in_work.into_iter().filter(|id| Some(*id) != but) {
        if let Some(mut booking) = bookings::lock_under_cabinet(connection, id).await? {
            review(connection, &mut booking, None, false, effects).await?;
        }
    }
    Ok(())
}

/// Writes down what the facts make of a booking whose doors were opened.
async fn review(
    connection: &Connection,
    booking: &mut LockedBooking,
    command: Option<Uuid>,
    overdue: bool,
    effects: &mut Effects,
) -> Result<()> {
    if booking.get().status != BookingStatus::Executing {
        return Ok(());
    }
    let known = facts(connection, booking).await?;
    write_review(connection, booking, known, command, overdue, effects).await
}

async fn write_review(
    connection: &Connection,
    booking: &mut LockedBooking,
    (facts, named): (BookingFacts, Vec<Locked>),
    command: Option<Uuid>,
    overdue: bool,
    effects: &mut Effects,
) -> Result<()> {
    let review = rules::review(&facts, overdue);
    carry_out(connection, booking, command, &review.moves, named).await?;
    if !review.outcomes.is_empty() {
        bookings::set_outcomes(connection, booking, &review.outcomes).await?;
    }
    match review.end {
        None => {}
        Some(End::Completed) => {
            bookings::advance(connection, booking, BookingEvent::Complete).await?;
            effects.booking("completed");
        }
        Some(End::Incomplete) => {
            bookings::advance(connection, booking, BookingEvent::FallShort).await?;
            effects.booking("incomplete");
        }
    }
    Ok(())
}

/// What is known of a booking, and its accumulators, locked.
async fn facts(
    connection: &Connection,
    booking: &LockedBooking,
) -> Result<(BookingFacts, Vec<Locked>)> {
    let booking = booking.get();
    let cells = booking.cells.iter();
    let named: Vec<&AccumulatorId> =
        cells.filter_map(|cell| cell.accumulator_id.as_ref()).collect();
    let (cells, named) =
        try_join!(store::facts(connection, booking), places::lock(connection, &named))?;
    let technician = Place::contractor(booking.contractor_id.clone());
    let is_here =
        |place: &Place| place.in_cell().is_some_and(|cell| cell.cabinet_id == booking.cabinet_id);
    let ids = |holds: &dyn Fn(&Place) -> bool| {
        let there = named.iter().filter(|one| one.get().place.as_ref().is_some_and(holds));
        there.map(|one| one.get().id.clone()).collect::<BTreeSet<_>>()
    };
    let with_technician = ids(&|place| *place == technician);
    let in_cabinet = ids(&is_here);
    Ok((BookingFacts { kind: booking.kind, cells, with_technician, in_cabinet }, named))
}

async fn carry_out(
    connection: &Connection,
    booking: &LockedBooking,
    command: Option<Uuid>,
    moves: &[Move],
    mut named: Vec<Locked>,
) -> Result<()> {
    let booking = booking.get();
    let mut unlocked = Vec::new();
    let mut back = Vec::new();
    for step in moves {
        let (id, to) = match step {
            Move::ToTechnician(id) => (id, Place::contractor(booking.contractor_id.clone())),
            Move::ToCell(id, n) => (id, Place::cell(booking.cabinet_id.clone(), *n)),
        };
        let Some(index) = named.iter().position(|one| one.get().id == *id) else { continue };
        let accumulator = named.swap_remove(index);
        let made = places::Move { accumulator, to: Some(to), flag: false };
        match step {
            Move::ToTechnician(_) => unlocked.push(made),
            Move::ToCell(..) => back.push(made),
        }
    }
    let cause = |kind| Cause { kind, booking_id: Some(booking.id), command_id: command };
    places::move_all(connection, &unlocked, cause(MoveKind::Unlocked)).await?;
    let back_kind = match booking.kind {
        BookingKind::Pickup => MoveKind::Settled,
        BookingKind::Return => MoveKind::Returned,
    };
    places::move_all(connection, &back, cause(back_kind)).await
}
