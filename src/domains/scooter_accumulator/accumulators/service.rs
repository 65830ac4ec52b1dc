//! The rules of what people say of accumulators.

use serde::{Deserialize, Serialize};

use super::Accumulators;
use super::model::{Accumulator, AccumulatorEdit, AccumulatorQuery, HistoryItem, NewAccumulator};
use super::store;
use crate::domains::scooter_accumulator::NAME;
use crate::domains::scooter_accumulator::bookings::store as bookings;
use crate::domains::scooter_accumulator::cabinets::{cells, no_cabinet, store as cabinets};
use crate::domains::scooter_accumulator::ids::{AccumulatorId, CabinetId};
use crate::domains::scooter_accumulator::places::{
    self, Cause, InCell, Locked, Move, MoveKind, Place,
};
use crate::platform::conditions::{ExpectedVersion, IdempotentCall};
use crate::platform::context::Context;
use crate::platform::database::Connection;
use crate::platform::database::idempotency::Guard;
use crate::platform::error::{Error, Kind, Result};

/// How often a change begins anew because a cabinet reported the accumulator elsewhere meanwhile.
const ATTEMPTS: usize = 3;
/// The code inside of such a change.
const MOVED: &str = "accumulator_moved";

/// An accumulator and its version for the `ETag`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Versioned {
    pub accumulator: Accumulator,
    pub version: i32,
}

impl From<places::Accumulator> for Versioned {
    fn from(accumulator: places::Accumulator) -> Self {
        Self { version: accumulator.version, accumulator: accumulator.into() }
    }
}

impl Accumulators {
    /// Makes an accumulator known.
    pub async fn create(
        &self,
        context: &Context,
        new: NewAccumulator,
        call: Option<IdempotentCall>,
    ) -> Result<Versioned> {
        let NewAccumulator { id, charge, place, flagged } = new;
        let made = places::Accumulator { id, charge, place, flagged, version: 1 };
        let guard = Guard { call, domain: NAME, subject: None };
        let work = async |connection: &mut Connection| {
            let to = made.place.as_ref().and_then(Place::in_cell);
            lock_cells(connection, None, to).await?;
            if store::find(connection, &made.id).await?.is_some() {
                return Err(exists());
            }
            if let Some(cell) = to {
                must_be_free(connection, cell).await?;
            }
            let cause = Cause::of(MoveKind::Created);
            if !places::create(connection, &made, cause).await? {
                return Err(exists());
            }
            self.suppose(connection, to, Some(charge)).await?;
            Ok(Versioned::from(made.clone()))
        };
        self.tools.database.once(context, guard, work).await
    }

    /// An accumulator.
    pub async fn get(&self, context: &Context, id: &AccumulatorId) -> Result<Versioned> {
        let read = async |connection: &Connection| {
            let found = store::find(connection, id).await?;
            found.map(Versioned::from).ok_or_else(no_accumulator)
        };
        self.tools.database.statement(context, read).await
    }

    /// A page of accumulators, and where the next begins.
    pub async fn list(
        &self,
        context: &Context,
        asked: &AccumulatorQuery,
    ) -> Result<(Vec<Accumulator>, Option<AccumulatorId>)> {
        let paging = asked.paging();
        let limit = paging.limit()?;
        let after: Option<AccumulatorId> = paging.position()?;
        let after = after.as_ref().map_or("", AccumulatorId::as_str);
        let read = async |connection: &Connection| {
            store::list(connection, asked, after, i64::from(limit) + 1).await
        };
        let mut found = self.tools.database.statement(context, read).await?;
        let more = found.len() > limit as usize;
        found.truncate(limit as usize);
        let next = found.last().filter(|_| more).map(|last| last.id.clone());
        Ok((found.into_iter().map(Accumulator::from).collect(), next))
    }

    /// A page of an accumulator's moves, the newest first, and where the next begins.
    pub async fn history(
        &self,
        context: &Context,
        id: &AccumulatorId,
        before: Option<i64>,
        limit: u32,
    ) -> Result<(Vec<HistoryItem>, Option<i64>)> {
        let read = async |connection: &mut Connection| {
            if store::find(connection, id).await?.is_none() {
                return Err(no_accumulator());
            }
            let before = before.unwrap_or(i64::MAX);
            store::history(connection, id, before, i64::from(limit) + 1).await
        };
        let mut found = self.tools.database.transaction(context, read).await?;
        let more = found.len() > limit as usize;
        found.truncate(limit as usize);
        let next = found.last().filter(|_| more).map(|(number, _)| *number);
        Ok((found.into_iter().map(|(_, item)| item).collect(), next))
    }

    /// Writes what a person says of an accumulator.
    pub async fn replace(
        &self,
        context: &Context,
        id: &AccumulatorId,
        edit: &AccumulatorEdit,
        expected: &ExpectedVersion,
    ) -> Result<Versioned> {
        let to = edit.place.as_ref().and_then(Place::in_cell);
        self.change(context, id, to, async |connection, locked| {
            let locked = locked.ok_or_else(no_accumulator)?;
            let known = locked.get().clone();
            expected.check(known.version)?;
            let moves = known.place != edit.place;
            if moves {
                must_not_be_booked(connection, id).await?;
                if let Some(cell) = to {
                    must_be_free(connection, cell).await?;
                }
                let change = Move { accumulator: locked, to: edit.place.clone(), flag: false };
                places::move_all(connection, &[change], Cause::of(MoveKind::Edited)).await?;
                let from = known.place.as_ref().and_then(Place::in_cell);
                self.suppose(connection, from, None).await?;
            }
            store::edit(connection, id, edit.charge, edit.flagged).await?;
            if moves || known.charge != edit.charge {
                self.suppose(connection, to, Some(edit.charge)).await?;
            }
            let found = store::find(connection, id).await?;
            found.map(Versioned::from).ok_or_else(no_accumulator)
        })
        .await
    }

    /// Deletes an accumulator that is not booked, with its history.
    pub async fn delete(
        &self,
        context: &Context,
        id: &AccumulatorId,
        expected: &ExpectedVersion,
    ) -> Result<()> {
        self.change(context, id, None, async |connection, locked| {
            let Some(locked) = locked else { return Ok(()) };
            expected.check(locked.get().version)?;
            must_not_be_booked(connection, id).await?;
            store::delete(connection, id).await?;
            let from = locked.get().place.as_ref().and_then(Place::in_cell);
            self.suppose(connection, from, None).await
        })
        .await
    }

    /// Runs `work` with the accumulator locked, and before it the cabinets that it is in and comes to.
    async fn change<T>(
        &self,
        context: &Context,
        id: &AccumulatorId,
        to: Option<&InCell>,
        work: impl AsyncFn(&mut Connection, Option<Locked>) -> Result<T>,
    ) -> Result<T> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let outcome = self
                .tools
                .database
                .transaction(context, async |connection| {
                    let seen = store::find(connection, id).await?;
                    let cabinet = cabinet_of(seen.as_ref());
                    lock_cells(connection, cabinet, to).await?;
                    let locked = places::lock(connection, &[id]).await?.pop();
                    if cabinet_of(locked.as_ref().map(Locked::get)) != cabinet {
                        let detail = "The accumulator is being moved by others; try again.";
                        return Err(Error::unavailable(MOVED, detail));
                    }
                    work(connection, locked).await
                })
                .await;
            match outcome {
                Err(error) if error.code() == MOVED && attempt < ATTEMPTS => {}
                outcome => return outcome,
            }
        }
    }

    async fn suppose(
        &self,
        connection: &mut Connection,
        cell: Option<&InCell>,
        charge: Option<i16>,
    ) -> Result<()> {
        let Some(InCell { cabinet_id, cell }) = cell else { return Ok(()) };
        let charged_from = self.tools.settings.charged_from;
        cells::suppose(connection, cabinet_id, *cell, charge, charged_from).await
    }
}

fn cabinet_of(accumulator: Option<&places::Accumulator>) -> Option<&CabinetId> {
    let cell = accumulator?.place.as_ref()?.in_cell()?;
    Some(&cell.cabinet_id)
}

/// Locks the cabinet that something is in, and the one it comes to, whose cell must exist. Ends their
/// bookings that expired.
async fn lock_cells(
    connection: &mut Connection,
    from: Option<&CabinetId>,
    to: Option<&InCell>,
) -> Result<()> {
    let mut ids: Vec<&CabinetId> = from.into_iter().chain(to.map(|to| &to.cabinet_id)).collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        return Ok(());
    }
    for id in &ids {
        let cabinet = cabinets::lock(connection, id).await?.ok_or_else(no_cabinet)?;
        if let Some(to) = to.filter(|to| to.cabinet_id == **id && to.cell > cabinet.cell_count) {
            let detail = format!("the cabinet has no cell {}", to.cell);
            return Err(Error::invalid("/place/cell", detail));
        }
    }
    bookings::end_expired(connection, &ids).await?;
    Ok(())
}

async fn must_be_free(connection: &mut Connection, cell: &InCell) -> Result<()> {
    if store::cell_is_taken(connection, cell).await? {
        return Err(conflict("cell_occupied", "There is an accumulator in the cell."));
    }
    if store::cell_is_booked(connection, cell).await? {
        return Err(conflict("cell_booked", "The cell is booked."));
    }
    Ok(())
}

async fn must_not_be_booked(connection: &mut Connection, id: &AccumulatorId) -> Result<()> {
    if store::is_booked(connection, id, None).await? {
        return Err(conflict("accumulator_booked", "The accumulator is booked."));
    }
    Ok(())
}

pub(super) fn conflict(code: &'static str, detail: &'static str) -> Error {
    Error::new(Kind::Conflict, code, detail)
}

fn exists() -> Error {
    conflict("accumulator_exists", "There is an accumulator with this id.")
}

/// The answer to an id that no accumulator has.
pub fn no_accumulator() -> Error {
    Error::not_found("accumulator_not_found", "There is no such accumulator.")
}
