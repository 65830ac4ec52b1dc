//! SQL of settling. The caller holds the cabinet's row.

use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Double, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use jiff::Timestamp;
use jiff_diesel::ToDiesel;
use uuid::Uuid;

use super::rules::CellFacts;
use crate::domains::scooter_accumulator::bookings::{Booking, BookingKind};
use crate::domains::scooter_accumulator::cabinets::cells::CellState;
use crate::domains::scooter_accumulator::ids::{AccumulatorId, CabinetId};
use crate::platform::database::{Connection, Prepare};
use crate::platform::error::{Error, Result};

#[derive(QueryableByName)]
struct FactsRow {
    #[diesel(sql_type = Integer)]
    n: i32,
    #[diesel(sql_type = Text)]
    state: String,
    #[diesel(sql_type = Nullable<Text>)]
    holds: Option<String>,
}

#[derive(QueryableByName)]
struct Id {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
}

#[derive(QueryableByName)]
struct OfCabinet {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Text)]
    cabinet_id: String,
}

const FACTS: &str = "SELECT k.cell AS n, c.state::text AS state, a.id AS holds \
     FROM scooter_accumulator.booking_cells k \
     JOIN scooter_accumulator.cells c ON c.cabinet_id = k.cabinet_id AND c.n = k.cell \
     LEFT JOIN scooter_accumulator.accumulators a ON a.cabinet_id = k.cabinet_id AND a.cell = k.cell \
     WHERE k.booking_id = $1 ORDER BY k.cell";
const OPENED: &str = "UPDATE scooter_accumulator.bookings \
     SET settle_at = clock_timestamp() + make_interval(secs => $2) WHERE id = $1";
const NOT_OPENED: &str = "UPDATE scooter_accumulator.booking_cells SET outcome = NULL, \
     accumulator_id = CASE WHEN $2 = 'return' THEN NULL ELSE accumulator_id END WHERE booking_id = $1";
const IN_WORK: &str = "SELECT id FROM scooter_accumulator.bookings \
     WHERE cabinet_id = $1 AND status = 'executing' AND settle_at IS NOT NULL ORDER BY id";
const OVERDUE: &str = "SELECT id, cabinet_id FROM scooter_accumulator.bookings \
     WHERE status = 'executing' AND settle_at <= clock_timestamp() \
     ORDER BY settle_at LIMIT $1";
const ASK: &str = "UPDATE scooter_accumulator.cabinets \
     SET poll_at = LEAST(poll_at, GREATEST($2, clock_timestamp())) WHERE id = $1";

/// What matters of a booking's cells.
pub async fn facts(mut connection: &Connection, booking: &Booking) -> Result<Vec<CellFacts>> {
    let query = diesel::sql_query(FACTS).bind::<SqlUuid, _>(booking.id);
    let rows: Vec<FactsRow> = query.prepared().load(&mut connection).await?;
    let unknown = || Error::internal("a cell of an unknown state, or of no booking");
    rows.into_iter()
        .map(|row| {
            let cell = booking.cells.iter().find(|cell| cell.n == row.n).ok_or_else(unknown)?;
            Ok(CellFacts {
                n: row.n,
                outcome: cell.outcome,
                state: CellState::parse(&row.state).ok_or_else(unknown)?,
                named: cell.accumulator_id.clone(),
                holds: row
                    .holds
                    .map(AccumulatorId::try_from)
                    .transpose()
                    .map_err(Error::internal)?,
            })
        })
        .collect()
}

/// Doors were opened: from now on the cabinet has so long to report them shut.
pub async fn opened(mut connection: &Connection, booking: Uuid, settle: Duration) -> Result<()> {
    let query = diesel::sql_query(OPENED).bind::<SqlUuid, _>(booking);
    query.bind::<Double, _>(settle.as_secs_f64()).prepared().execute(&mut connection).await?;
    Ok(())
}

/// No door was opened: the cells are as they were booked.
pub async fn not_opened(
    mut connection: &Connection,
    booking: Uuid,
    kind: BookingKind,
) -> Result<()> {
    let query = diesel::sql_query(NOT_OPENED).bind::<SqlUuid, _>(booking);
    query.bind::<Text, _>(kind.as_str()).prepared().execute(&mut connection).await?;
    Ok(())
}

/// The bookings of a cabinet whose doors were opened and that have not ended.
pub async fn in_work(mut connection: &Connection, cabinet: &CabinetId) -> Result<Vec<Uuid>> {
    let query = diesel::sql_query(IN_WORK).bind::<Text, _>(cabinet.as_str());
    let rows: Vec<Id> = query.prepared().load(&mut connection).await?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

/// Bookings whose time for reports is over, and their cabinets.
pub async fn overdue(mut connection: &Connection, limit: i64) -> Result<Vec<(Uuid, CabinetId)>> {
    let query = diesel::sql_query(OVERDUE).bind::<BigInt, _>(limit);
    let rows: Vec<OfCabinet> = query.prepared().load(&mut connection).await?;
    rows.into_iter()
        .map(|row| Ok((row.id, CabinetId::try_from(row.cabinet_id).map_err(Error::internal)?)))
        .collect()
}

/// Has the cabinet asked for its state at `at`, or as soon as that has passed.
pub async fn ask(mut connection: &Connection, cabinet: &CabinetId, at: Timestamp) -> Result<()> {
    let query = diesel::sql_query(ASK).bind::<Text, _>(cabinet.as_str());
    query.bind::<Timestamptz, _>(at.to_diesel()).prepared().execute(&mut connection).await?;
    Ok(())
}
