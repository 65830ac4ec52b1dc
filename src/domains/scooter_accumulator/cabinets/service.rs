//! The rules. Plain values in and out.

use serde::{Deserialize, Serialize};

use super::Cabinets;
use super::cells::{self, Cell};
use super::model::{Cabinet, CabinetSearch};
use super::search::{self, Found, Needed};
use super::store::{self, Said};
use crate::domains::scooter_accumulator::NAME;
use crate::domains::scooter_accumulator::bookings::store as bookings;
use crate::domains::scooter_accumulator::ids::CabinetId;
use crate::platform::conditions::{ExpectedVersion, IdempotentCall};
use crate::platform::context::Context;
use crate::platform::database::Connection;
use crate::platform::database::idempotency::Guard;
use crate::platform::error::{Error, Kind, Result};

/// A cabinet and its version for the `ETag`. Of what changes, the version tells what people edit.
#[derive(Debug, Serialize, Deserialize)]
pub struct Versioned {
    pub cabinet: Cabinet,
    pub version: i32,
}

/// Where a page ended: how far the last cabinet was, if that was asked for, and its id.
pub type Position = (Option<f64>, CabinetId);

impl From<Found> for Versioned {
    fn from(found: Found) -> Self {
        let mut cabinet = found.cabinet;
        cabinet.distance_m = cabinet.distance_m.map(shown);
        Self { cabinet, version: found.version }
    }
}

/// Metres as they are shown: to a tenth.
pub fn shown(metres: f64) -> f64 {
    (metres * 10.0).round() / 10.0
}

impl Cabinets {
    /// Makes a cabinet known.
    pub async fn create(
        &self,
        context: &Context,
        id: &CabinetId,
        said: Said,
        call: Option<IdempotentCall>,
    ) -> Result<Versioned> {
        let guard = Guard { call, domain: NAME, subject: None };
        let work = async |connection: &mut Connection| {
            if !store::insert(connection, id, said).await? {
                let detail = "There is a cabinet with this id.";
                return Err(Error::new(Kind::Conflict, "cabinet_exists", detail));
            }
            one(connection, id).await
        };
        self.tools.database.once(context, guard, work).await
    }

    /// A cabinet.
    pub async fn get(&self, context: &Context, id: &CabinetId) -> Result<Versioned> {
        let read = async |connection: &Connection| one(connection, id).await;
        self.tools.database.statement(context, read).await
    }

    /// A page of cabinets, and where the next begins.
    pub async fn list(
        &self,
        context: &Context,
        asked: &CabinetSearch,
    ) -> Result<(Vec<Cabinet>, Option<Position>)> {
        let limit = asked.paging.limit()?;
        let after: Option<Position> = asked.paging.position()?;
        let (min_charge, available) = (asked.min_charge, asked.available);
        let read = async |connection: &Connection| {
            let more = i64::from(limit) + 1;
            match (&asked.near, &after) {
                (Some(circle), None) => {
                    let needed = Needed { min_charge, available, ..Needed::default() };
                    search::nearest(connection, circle, needed, None, more).await
                }
                (Some(circle), Some((Some(metres), id))) => {
                    let needed = Needed { min_charge, available, ..Needed::default() };
                    search::nearest(connection, circle, needed, Some((*metres, id.as_str())), more)
                        .await
                }
                (None, None) => search::page(connection, "", min_charge, available, more).await,
                (None, Some((None, id))) => {
                    search::page(connection, id.as_str(), min_charge, available, more).await
                }
                (None, Some((Some(_), _))) | (Some(_), Some((None, _))) => Err(bad_cursor()),
            }
        };
        let mut found = self.tools.database.statement(context, read).await?;
        let more = found.len() > limit as usize;
        found.truncate(limit as usize);
        let position = |last: &Found| (last.cabinet.distance_m, last.cabinet.id.clone());
        let next = found.last().filter(|_| more).map(position);
        Ok((found.into_iter().map(|found| Versioned::from(found).cabinet).collect(), next))
    }

    /// The cells of a cabinet.
    pub async fn cells(&self, context: &Context, id: &CabinetId) -> Result<Vec<Cell>> {
        let read = async |connection: &Connection| {
            let cells = cells::read(connection, id).await?;
            // Each has one at least.
            if cells.is_empty() { Err(no_cabinet()) } else { Ok(cells) }
        };
        self.tools.database.statement(context, read).await
    }

    /// Writes what a person says of a cabinet.
    pub async fn replace(
        &self,
        context: &Context,
        id: &CabinetId,
        said: Said,
        expected: &ExpectedVersion,
    ) -> Result<Versioned> {
        let work = async |connection: &mut Connection| {
            let known = store::lock(connection, id).await?.ok_or_else(no_cabinet)?;
            expected.check(known.version)?;
            if said.cell_count > known.cell_count {
                store::add_cells(connection, id, known.cell_count, said.cell_count).await?;
            }
            if said.cell_count < known.cell_count {
                bookings::end_expired(connection, &[id]).await?;
                if store::in_use(connection, id, said.cell_count).await? {
                    let detail =
                        "An accumulator is in one of the cells that would go, or it is booked.";
                    return Err(Error::new(Kind::Conflict, "cells_in_use", detail));
                }
                store::remove_cells(connection, id, said.cell_count).await?;
            }
            store::update(connection, id, said).await?;
            one(connection, id).await
        };
        self.tools.database.transaction(context, work).await
    }

    /// Deletes a cabinet that is empty and not booked, with its ended bookings and its commands.
    pub async fn delete(
        &self,
        context: &Context,
        id: &CabinetId,
        expected: &ExpectedVersion,
    ) -> Result<()> {
        let work = async |connection: &mut Connection| {
            let Some(known) = store::lock_to_delete(connection, id).await? else { return Ok(()) };
            expected.check(known.version)?;
            bookings::end_expired(connection, &[id]).await?;
            if store::in_use(connection, id, 0).await? {
                let detail = "There are accumulators in it, or cells of it are booked.";
                return Err(Error::new(Kind::Conflict, "cabinet_in_use", detail));
            }
            store::delete(connection, id).await
        };
        self.tools.database.transaction(context, work).await
    }
}

async fn one(connection: &Connection, id: &CabinetId) -> Result<Versioned> {
    search::one(connection, id).await?.map(Versioned::from).ok_or_else(no_cabinet)
}

/// The answer to an id that no cabinet has.
pub fn no_cabinet() -> Error {
    Error::not_found("cabinet_not_found", "There is no such cabinet.")
}

fn bad_cursor() -> Error {
    Error::new(
        Kind::InvalidInput,
        "invalid_cursor",
        "cursor must be a next_cursor that this list gave out.",
    )
}
