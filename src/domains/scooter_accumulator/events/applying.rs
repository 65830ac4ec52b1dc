//! What an event changes: all of it in one transaction, or nothing.

use std::collections::BTreeSet;

use futures_util::try_join;
use jiff::{SignedDuration, Timestamp};

use super::contents::{self, Changes};
use super::store::{self, Noted, Sign};
use super::wire::{Body, CellReport, CommandResult, Event};
use crate::domains::scooter_accumulator::bookings::BookingKind;
use crate::domains::scooter_accumulator::cabinets::cells::{self, CellState, Report};
use crate::domains::scooter_accumulator::commands::{Answer, Command, CommandKind, Witness};
use crate::domains::scooter_accumulator::ids::{AccumulatorId, CabinetId};
use crate::domains::scooter_accumulator::line::Line;
use crate::domains::scooter_accumulator::places::{
    self, Accumulator, Cause, Locked, Move, MoveKind, Place,
};
use crate::domains::scooter_accumulator::settling::{self, Effects, Ending};
use crate::platform::database::Connection;
use crate::platform::error::Result;

/// An answer to what was sent within the last minute cannot be older than this, unless the clock was
/// set back.
const SET_BACK: SignedDuration = SignedDuration::from_mins(1);

/// What came of an event of a cabinet that nobody entered.
pub const UNKNOWN_CABINET: &str = "unknown_cabinet";

/// What came of an event, as the metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It changed something, or showed that all is as it was.
    News,
    /// It was applied before.
    Duplicate,
    /// Its cabinet is not ours.
    UnknownCabinet,
    /// It answers a command that we never gave this cabinet, or that has ended.
    UnknownCommand,
}

impl Outcome {
    pub fn name(self) -> &'static str {
        match self {
            Self::News => "applied",
            Self::Duplicate => "duplicate",
            Self::UnknownCabinet => UNKNOWN_CABINET,
            Self::UnknownCommand => "unknown_command",
        }
    }
}

/// Applies an event of a cabinet, within the caller's transaction.
pub async fn apply(
    line: &Line,
    connection: &Connection,
    cabinet: &CabinetId,
    event: &Event,
    effects: &mut Effects,
) -> Result<Outcome> {
    let (noted, command) = try_join!(
        store::note(connection, cabinet, event.id.as_str()),
        answered(line, connection, &event.body),
    )?;
    let Some(noted) = noted else { return Ok(Outcome::UnknownCabinet) };
    if !noted.is_new {
        return Ok(Outcome::Duplicate);
    }
    let work = Work { line, cabinet, at: event.at, cell_count: noted.cell_count };
    let is_fresh = noted.said_at.is_none_or(|said_at| event.at >= said_at);
    let sign = Sign { at: event.at, is_fresh, leaves: false, is_complete: false, firmware: None };
    match &event.body {
        Body::Online => store::heard(connection, cabinet, sign).await?,
        Body::Offline => {
            store::heard(connection, cabinet, Sign { leaves: true, ..sign }).await?;
        }
        Body::CellChanged(cells) => {
            try_join!(store::heard(connection, cabinet, sign), work.report(connection, cells))?;
            settling::review_cabinet(connection, cabinet, None, effects).await?;
        }
        Body::State { cells, firmware } => {
            let firmware = firmware.as_deref();
            let sign = Sign { is_complete: true, firmware, ..sign };
            try_join!(store::heard(connection, cabinet, sign), work.report(connection, cells))?;
            let reported: BTreeSet<i32> = cells.iter().map(|cell| cell.n).collect();
            settling::settle_unanswered(line, connection, cabinet, event.at, &reported, effects)
                .await?;
            settling::review_cabinet(connection, cabinet, None, effects).await?;
        }
        Body::CommandResult(result) => {
            return work.answer(connection, result, command, (&noted, sign), effects).await;
        }
    }
    Ok(Outcome::News)
}

/// The command that an event answers.
async fn answered(line: &Line, connection: &Connection, body: &Body) -> Result<Option<Command>> {
    match body {
        Body::CommandResult(CommandResult { command_id: Some(id), .. }) => {
            line.find().by_id(connection, *id).await
        }
        _ => Ok(None),
    }
}

struct Work<'a> {
    line: &'a Line,
    cabinet: &'a CabinetId,
    /// When it happened, by the cabinet's clock.
    at: Timestamp,
    cell_count: i32,
}

impl Work<'_> {
    /// A cabinet's answer to a command.
    async fn answer(
        &self,
        connection: &Connection,
        result: &CommandResult,
        command: Option<Command>,
        (noted, sign): (&Noted, Sign<'_>),
        effects: &mut Effects,
    ) -> Result<Outcome> {
        let mut command = command
            .filter(|command| command.cabinet_id == *self.cabinet && command.status.is_open());
        let is_poll = noted.asked.is_some() && noted.asked == result.command_id;
        // Only the first answer to what was asked just now tells how the clock goes.
        let just_sent = command.as_ref().is_some_and(|command| command.is_recent);
        let jumped =
            noted.said_at.is_some_and(|said_at| said_at.duration_since(self.at) > SET_BACK);
        let is_set_back = jumped && (just_sent || is_poll);
        if is_set_back {
            store::set_back(connection, self.cabinet, self.at).await?;
        }
        let sign = Sign { is_fresh: sign.is_fresh || is_set_back, ..sign };
        let opens = command.as_ref().filter(|command| command.kind == CommandKind::UnlockCells);
        let commanded = opens.and_then(|command| command.cells.clone()).unwrap_or_default();
        let opened = opened(result, &commanded);
        let mut reports = result.cells.clone();
        let is_told = |n: &i32| result.cells.iter().any(|cell| cell.n == *n);
        let untold = opened.iter().copied().filter(|n| !is_told(n));
        reports.extend(untold.map(|n| CellReport {
            n,
            state: CellState::Open,
            accumulator_id: None,
            charge: None,
        }));
        let heard = store::heard(connection, self.cabinet, sign);
        try_join!(heard, self.report(connection, &reports))?;
        let Some(command) = &mut command else {
            settling::review_cabinet(connection, self.cabinet, None, effects).await?;
            return Ok(if is_poll { Outcome::News } else { Outcome::UnknownCommand });
        };
        let answer = Answer {
            ok: result.ok,
            error: result.error,
            by: Witness::Cabinet,
            cells: result.cells.clone(),
        };
        let ending = Ending::answered(answer, opened);
        let has_ended =
            settling::end_command(self.line, connection, command, ending, effects).await?;
        let but = command.booking_id.filter(|_| has_ended);
        settling::review_cabinet(connection, self.cabinet, but, effects).await?;
        Ok(Outcome::News)
    }

    /// Writes down what the cabinet says of its cells, where it is news, and moves what is elsewhere
    /// than was thought.
    async fn report(&self, connection: &Connection, reports: &[CellReport]) -> Result<()> {
        let own = || reports.iter().filter(|report| report.n <= self.cell_count);
        let written: Vec<Report> = own()
            .map(|cell| Report { n: cell.n, state: cell.state, charge: cell.charge })
            .collect();
        if written.is_empty() {
            return Ok(());
        }
        let (news, inside) = try_join!(
            cells::report(connection, self.cabinet, self.at, &written),
            store::inside(connection, self.cabinet),
        )?;
        let news: BTreeSet<i32> = news.iter().map(|applied| applied.n).collect();
        let reports: Vec<&CellReport> = own().filter(|report| news.contains(&report.n)).collect();
        if reports.is_empty() {
            return Ok(());
        }
        let changes = contents::compare(&reports, &inside);
        if changes == Changes::default() {
            return Ok(());
        }
        let mut locked = self.lock(connection, &changes).await?;
        self.take_out(connection, &changes, &mut locked).await?;
        self.put_in(connection, &changes, &mut locked).await?;
        let levels: Vec<(&AccumulatorId, i16)> =
            changes.charges.iter().map(|(id, charge)| (id, *charge)).collect();
        places::set_charges(connection, &levels).await
    }

    /// Locks every accumulator that changes, in the order of their ids.
    async fn lock(&self, connection: &Connection, changes: &Changes) -> Result<Vec<Locked>> {
        let gone = changes.gone.iter().map(|(_, id)| id);
        let came = changes.came.iter().map(|(_, id, _)| id);
        let charged = changes.charges.iter().map(|(id, _)| id);
        let ids: Vec<&AccumulatorId> = gone.chain(came).chain(charged).collect();
        places::lock(connection, &ids).await
    }

    /// What is gone is with whoever opened its cell, or something beside it; else it is lost.
    async fn take_out(
        &self,
        connection: &Connection,
        changes: &Changes,
        locked: &mut Vec<Locked>,
    ) -> Result<()> {
        for (cell, id) in &changes.gone {
            let Some(accumulator) = take(locked, id) else { continue };
            let taker = store::taker(connection, self.cabinet, *cell, id).await?;
            let (to, flag, cause) = match taker {
                Some(taker) => {
                    let cause = Cause {
                        kind: MoveKind::Taken,
                        booking_id: Some(taker.booking_id),
                        command_id: Some(taker.command_id),
                    };
                    (Some(Place::contractor(taker.contractor_id)), !taker.booked, cause)
                }
                None => (None, true, Cause::of(MoveKind::Lost)),
            };
            places::move_all(connection, &[Move { accumulator, to, flag }], cause).await?;
        }
        Ok(())
    }

    /// What is reported in a cell is there, from wherever it was thought to be.
    async fn put_in(
        &self,
        connection: &Connection,
        changes: &Changes,
        locked: &mut Vec<Locked>,
    ) -> Result<()> {
        if changes.came.is_empty() {
            return Ok(());
        }
        let ids: Vec<&AccumulatorId> = changes.came.iter().map(|(_, id, _)| id).collect();
        let bookings = store::bookings_of(connection, self.cabinet, &ids).await?;
        let mut reported = Vec::new();
        let mut unknown = Vec::new();
        let mut levels = Vec::new();
        for (cell, id, charge) in &changes.came {
            let to = Place::cell(self.cabinet.clone(), *cell);
            let Some(accumulator) = take(locked, id) else {
                unknown.push((id, to, charge.unwrap_or(0)));
                continue;
            };
            if let Some(charge) = charge.filter(|charge| *charge != accumulator.get().charge) {
                levels.push((id, charge));
            }
            let from_technician = matches!(accumulator.get().place, Some(Place::Contractor(_)));
            // From a scooter, or another cabinet: something happened that nobody told.
            let flag = match &accumulator.get().place {
                Some(Place::Scooter(_)) => true,
                Some(Place::Cell(cell)) => cell.cabinet_id != *self.cabinet,
                Some(Place::Contractor(_)) | None => false,
            };
            let made = Move { accumulator, to: Some(to), flag };
            match bookings.get(id).filter(|_| from_technician) {
                None => reported.push(made),
                Some((booking, kind)) => {
                    let kind = match kind {
                        BookingKind::Pickup => MoveKind::Settled,
                        BookingKind::Return => MoveKind::Returned,
                    };
                    let cause = Cause { kind, booking_id: Some(*booking), command_id: None };
                    places::move_all(connection, &[made], cause).await?;
                }
            }
        }
        places::move_all(connection, &reported, Cause::of(MoveKind::Reported)).await?;
        for (id, place, charge) in unknown {
            let (id, place) = (id.clone(), Some(place));
            let new = Accumulator { id, charge, place, flagged: true, version: 1 };
            places::create(connection, &new, Cause::of(MoveKind::Reported)).await?;
        }
        places::set_charges(connection, &levels).await
    }
}

/// The cells whose doors an answer shows to have been opened, of those that were to be.
fn opened(result: &CommandResult, commanded: &[i32]) -> BTreeSet<i32> {
    let is_opened = |n: &&i32| match result.cells.iter().find(|cell| cell.n == **n) {
        Some(cell) if result.ok => cell.state != CellState::Broken,
        Some(cell) => cell.state == CellState::Open,
        None => result.ok,
    };
    commanded.iter().filter(is_opened).copied().collect()
}

fn take(locked: &mut Vec<Locked>, id: &AccumulatorId) -> Option<Locked> {
    let index = locked.iter().position(|one| one.get().id == *id)?;
    Some(locked.swap_remove(index))
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn result(ok: bool, cells: &[(i32, CellState)]) -> CommandResult {
        let report = |(n, state): &(i32, CellState)| CellReport {
            n: *n,
            state: *state,
            accumulator_id: None,
            charge: None,
        };
        let cells = cells.iter().map(report).collect();
        CommandResult { command_id: Some(Uuid::nil()), ok, error: None, cells }
    }

    #[test]
    fn an_answer_tells_which_doors_were_opened() {
        use CellState::{Broken, Empty, Open};
        for (ok, cells, expected) in [
            (true, vec![], vec![1, 2]),
            (true, vec![(1, Open), (2, Open)], vec![1, 2]),
            (true, vec![(1, Open), (2, Broken)], vec![1]),
            (true, vec![(1, Empty), (2, Open)], vec![1, 2]),
            (true, vec![(1, Broken)], vec![2]),
            (false, vec![], vec![]),
            (false, vec![(1, Open), (2, Broken), (3, Open)], vec![1]),
        ] {
            let opened: Vec<i32> = opened(&result(ok, &cells), &[1, 2]).into_iter().collect();
            assert_eq!(opened, expected, "{ok} {cells:?}");
        }
    }
}
