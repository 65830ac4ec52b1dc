//! SQL of accumulators beside their moves.

use diesel::prelude::*;
use diesel::sql_types::{
    BigInt, Bool, Integer, Jsonb, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::RunQueryDsl;
use jiff_diesel::Timestamp as SqlTimestamp;
use uuid::Uuid;

use super::model::{AccumulatorQuery, HistoryItem};
use crate::domains::scooter_accumulator::ids::{AccumulatorId, CabinetId, ScooterId};
use crate::domains::scooter_accumulator::places::{
    Accumulator, AccumulatorRow, InCell, MoveKind, Place, accumulator_columns,
};
use crate::platform::database::{Connection, Json, Prepare};
use crate::platform::error::{Error, Result};
use crate::platform::ids::ContractorId;

const FIND: &str = concat!(
    "SELECT ",
    accumulator_columns!(),
    " FROM scooter_accumulator.accumulators a WHERE a.id = $1"
);
const LIST: &str = concat!(
    "SELECT ",
    accumulator_columns!(),
    " FROM scooter_accumulator.accumulators a \
     WHERE a.id > $1 AND ($2 IS NULL OR a.contractor_id = $2) AND ($3 IS NULL OR a.scooter_id = $3) \
     AND ($4 IS NULL OR a.cabinet_id = $4) AND ($5 IS NULL OR a.flagged = $5) ORDER BY a.id LIMIT $6"
);
const EDIT: &str = "UPDATE scooter_accumulator.accumulators SET charge = $2, flagged = $3, \
     version = version + 1, updated_at = now() WHERE id = $1";
const DELETE: &str = "DELETE FROM scooter_accumulator.accumulators WHERE id = $1";
const HISTORY: &str = "SELECT id, at, kind::text AS kind, \"from\", \"to\", booking_id, command_id \
     FROM scooter_accumulator.accumulator_moves WHERE accumulator_id = $1 AND id < $2 \
     ORDER BY id DESC LIMIT $3";
const IS_BOOKED: &str = "SELECT EXISTS (SELECT 1 FROM scooter_accumulator.booking_cells k \
       JOIN scooter_accumulator.bookings b ON b.id = k.booking_id \
       WHERE k.live AND k.accumulator_id = $1 AND ($2 IS NULL OR b.kind::text = $2) \
       AND (b.status <> 'active' OR b.expires_at > statement_timestamp())) AS holds";
const CELL_IS_BOOKED: &str = "SELECT EXISTS (SELECT 1 FROM scooter_accumulator.booking_cells k \
       WHERE k.live AND k.cabinet_id = $1 AND k.cell = $2) AS holds";
const CELL_IS_TAKEN: &str = "SELECT EXISTS (SELECT 1 FROM scooter_accumulator.accumulators \
       WHERE cabinet_id = $1 AND cell = $2) AS holds";
const IN_SCOOTER: &str = "SELECT EXISTS (SELECT 1 FROM scooter_accumulator.accumulators \
       WHERE scooter_id = $1) AS holds";
const LOCK_SCOOTER: &str =
    "SELECT pg_advisory_xact_lock(hashtextextended('scooter_accumulator.scooter ' || $1, 0))";

#[derive(QueryableByName)]
struct Holds {
    #[diesel(sql_type = Bool)]
    holds: bool,
}

#[derive(QueryableByName)]
struct MoveRow {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Timestamptz)]
    at: SqlTimestamp,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Nullable<Jsonb>)]
    from: Option<Json<Place>>,
    #[diesel(sql_type = Nullable<Jsonb>)]
    to: Option<Json<Place>>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    booking_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    command_id: Option<Uuid>,
}

/// An accumulator.
pub async fn find(mut connection: &Connection, id: &AccumulatorId) -> Result<Option<Accumulator>> {
    let row: Option<AccumulatorRow> = diesel::sql_query(FIND)
        .bind::<Text, _>(id.as_str())
        .prepared()
        .get_result(&mut connection)
        .await
        .optional()?;
    row.map(AccumulatorRow::read).transpose()
}

/// Up to `limit` accumulators with ids behind `after`.
pub async fn list(
    mut connection: &Connection,
    asked: &AccumulatorQuery,
    after: &str,
    limit: i64,
) -> Result<Vec<Accumulator>> {
    let rows: Vec<AccumulatorRow> = diesel::sql_query(LIST)
        .bind::<Text, _>(after)
        .bind::<Nullable<Text>, _>(asked.contractor_id.as_ref().map(ContractorId::as_str))
        .bind::<Nullable<Text>, _>(asked.scooter_id.as_ref().map(ScooterId::as_str))
        .bind::<Nullable<Text>, _>(asked.cabinet_id.as_ref().map(CabinetId::as_str))
        .bind::<Nullable<Bool>, _>(asked.flagged)
        .bind::<BigInt, _>(limit)
        .prepared()
        .load(&mut connection)
        .await?;
    rows.into_iter().map(AccumulatorRow::read).collect()
}

/// Writes what is no place. The caller has locked it.
pub async fn edit(
    connection: &mut Connection,
    id: &AccumulatorId,
    charge: i16,
    flagged: bool,
) -> Result<()> {
    diesel::sql_query(EDIT)
        .bind::<Text, _>(id.as_str())
        .bind::<SmallInt, _>(charge)
        .bind::<Bool, _>(flagged)
        .prepared()
        .execute(connection)
        .await?;
    Ok(())
}

/// Deletes an accumulator, with its history. The caller has locked it.
pub async fn delete(connection: &mut Connection, id: &AccumulatorId) -> Result<()> {
    diesel::sql_query(DELETE).bind::<Text, _>(id.as_str()).prepared().execute(connection).await?;
    Ok(())
}

/// Up to `limit` moves before the one numbered `before`, the newest first, each with its number.
pub async fn history(
    connection: &mut Connection,
    id: &AccumulatorId,
    before: i64,
    limit: i64,
) -> Result<Vec<(i64, HistoryItem)>> {
    let rows: Vec<MoveRow> = diesel::sql_query(HISTORY)
        .bind::<Text, _>(id.as_str())
        .bind::<BigInt, _>(before)
        .bind::<BigInt, _>(limit)
        .prepared()
        .load(connection)
        .await?;
    rows.into_iter().map(MoveRow::read).collect()
}

impl MoveRow {
    fn read(self) -> Result<(i64, HistoryItem)> {
        let unknown = || Error::internal("a move of an unknown kind");
        let item = HistoryItem {
            at: self.at.to_jiff(),
            kind: MoveKind::parse(&self.kind).ok_or_else(unknown)?,
            from: self.from.map(|place| place.0),
            to: self.to.map(|place| place.0),
            booking_id: self.booking_id,
            command_id: self.command_id,
        };
        Ok((self.id, item))
    }
}

/// Whether a live booking (of this kind, if one is given) has the accumulator.
pub async fn is_booked(
    connection: &mut Connection,
    id: &AccumulatorId,
    kind: Option<&str>,
) -> Result<bool> {
    let query =
        diesel::sql_query(IS_BOOKED).bind::<Text, _>(id.as_str()).bind::<Nullable<Text>, _>(kind);
    Ok(query.prepared().get_result::<Holds>(connection).await?.holds)
}

/// Whether a live booking has the cell. The caller has ended what expired.
pub async fn cell_is_booked(connection: &mut Connection, place: &InCell) -> Result<bool> {
    holds_of_cell(connection, CELL_IS_BOOKED, place).await
}

/// Whether something is in the cell.
pub async fn cell_is_taken(connection: &mut Connection, place: &InCell) -> Result<bool> {
    holds_of_cell(connection, CELL_IS_TAKEN, place).await
}

async fn holds_of_cell(
    connection: &mut Connection,
    statement: &'static str,
    place: &InCell,
) -> Result<bool> {
    let query = diesel::sql_query(statement)
        .bind::<Text, _>(place.cabinet_id.as_str())
        .bind::<Integer, _>(place.cell);
    Ok(query.prepared().get_result::<Holds>(connection).await?.holds)
}

/// Whether something is in the scooter. The caller has locked it.
pub async fn is_in_scooter(connection: &mut Connection, scooter: &ScooterId) -> Result<bool> {
    let query = diesel::sql_query(IN_SCOOTER).bind::<Text, _>(scooter.as_str());
    Ok(query.prepared().get_result::<Holds>(connection).await?.holds)
}

/// Puts swaps at one scooter in line. Scooters have no rows: it is an advisory lock until the commit.
pub async fn lock_scooter(connection: &mut Connection, scooter: &ScooterId) -> Result<()> {
    diesel::sql_query(LOCK_SCOOTER)
        .bind::<Text, _>(scooter.as_str())
        .prepared()
        .execute(connection)
        .await?;
    Ok(())
}
