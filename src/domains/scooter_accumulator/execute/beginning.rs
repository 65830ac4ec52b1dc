//! How an execution begins: within one transaction that holds the cabinet's row, the command is written,
//! or it is seen what there is to wait for.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::try_join;
use uuid::Uuid;

use crate::domains::scooter_accumulator::bookings::store::{self as bookings, LockedBooking};
use crate::domains::scooter_accumulator::bookings::{
    Booking, BookingEvent, BookingKind, BookingStatus, CellOutcome,
};
use crate::domains::scooter_accumulator::cabinets::store::CabinetRow;
use crate::domains::scooter_accumulator::commands::{
    self, CommandKind, CommandStatus, Sending, broker_unavailable, cabinet_offline,
};
use crate::domains::scooter_accumulator::ids::{AccumulatorId, CabinetId};
use crate::domains::scooter_accumulator::line::Line;
use crate::domains::scooter_accumulator::places::{self, Place};
use crate::domains::scooter_accumulator::settling::{self, Effects};
use crate::platform::database::Connection;
use crate::platform::error::{Error, Kind, Result};

/// A command that expires sooner is not worth writing.
const LEAST_TTL: Duration = Duration::from_millis(20);

/// How a call begins.
pub(super) enum Begun {
    /// There is nothing to wait for.
    Done(Box<Booking>),
    /// A command was written, and is on its way.
    Began(Uuid),
    /// Somebody else's is on its way.
    Joins(Uuid),
    /// It is not known what became of a command; the cabinet is asked.
    Asks(Uuid),
}

/// What is to be done with a booking.
pub(super) struct Order<'a> {
    /// What the command is called, if one is written.
    pub command: Uuid,
    /// What a return brings.
    pub named: Option<&'a [AccumulatorId]>,
    /// How long the cabinet may carry it out: not longer than somebody waits there.
    pub ttl: Duration,
}

/// What a beginning has written.
pub(super) struct Beginning {
    pub begun: Begun,
    /// What is marked, and to be sent once this is committed.
    pub sending: Option<Sending>,
    pub effects: Effects,
}

impl Beginning {
    fn of(begun: Begun) -> Self {
        Self { begun, sending: None, effects: Effects::default() }
    }
}

/// Begins an execution, or joins it; the booking's cabinet, too.
pub(super) async fn begin(
    line: &Line,
    connection: &mut Connection,
    id: Uuid,
    order: &Order<'_>,
) -> Result<(Beginning, CabinetId)> {
    let Some((mut booking, cabinet)) = bookings::lock(connection, id).await? else {
        return Err(Error::not_found("booking_not_found", "There is no such booking."));
    };
    let id = booking.get().cabinet_id.clone();
    check(booking.get(), order.named)?;
    let beginning = match booking.get().status {
        BookingStatus::Active => begin_new(line, connection, &mut booking, &cabinet, order).await?,
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
    Ok((beginning, id))
}

/// Whether the request fits the booking's kind.
fn check(booking: &Booking, named: Option<&[AccumulatorId]>) -> Result<()> {
    const POINTER: &str = "/accumulator_ids";
    let begins = booking.status == BookingStatus::Active;
    match (booking.kind, named) {
        (BookingKind::Pickup, Some(_)) => {
            Err(Error::invalid(POINTER, "must not be given: the booking says what is taken out"))
        }
        (BookingKind::Return, None) if begins => {
            Err(Error::invalid(POINTER, "must say what is brought"))
        }
        (BookingKind::Pickup | BookingKind::Return, None) => Ok(()),
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
    cabinet: &CabinetRow,
    order: &Order<'_>,
) -> Result<Beginning> {
    if !line.mqtt.is_up() {
        return Err(broker_unavailable());
    }
    if !cabinet.online {
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
    let cabinet = booking.get().cabinet_id.clone();
    let command = commands::store::NewCommand {
        id: order.command,
        cabinet: &cabinet,
        booking: Some(booking.get().id),
        kind: CommandKind::UnlockCells,
        cells: Some(&cells),
        ttl: order.ttl,
    };
    let connection = &*connection;
    let ((), (), sending) = try_join!(
        commands::store::insert(connection, &command),
        bookings::advance(connection, booking, BookingEvent::Execute),
        commands::mark(line, connection, &cabinet),
    )?;
    Ok(Beginning { sending, ..Beginning::of(Begun::Began(order.command)) })
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
