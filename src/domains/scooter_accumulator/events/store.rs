//! SQL of events.

use std::collections::BTreeMap;

use diesel::prelude::*;
use diesel::sql_types::{
    Array, Bool, Integer, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::RunQueryDsl;
use jiff::Timestamp;
use jiff_diesel::{Timestamp as SqlTimestamp, ToDiesel};
use uuid::Uuid;

use super::contents::Inside;
use crate::domains::scooter_accumulator::bookings::BookingKind;
use crate::domains::scooter_accumulator::ids::{AccumulatorId, CabinetId};
use crate::platform::database::{Connection, Prepare, prepared_statement};
use crate::platform::error::{Error, Result};
use crate::platform::ids::ContractorId;

prepared_statement! {
    /// Locks a cabinet's row and notes the event; false when it was noted before.
    struct Note<'a> returns (Integer, Nullable<Timestamptz>, Nullable<SqlUuid>, Bool, Bool);
    "WITH cabinet AS MATERIALIZED (SELECT id, cell_count, said_at, asked, \
         asked_at > clock_timestamp() - interval '1 minute' AS is_fresh \
       FROM scooter_accumulator.cabinets WHERE id = ",
    cabinet: &'a str => Text,
    " FOR NO KEY UPDATE), \
     noted AS (INSERT INTO scooter_accumulator.applied_events (cabinet_id, event_id) SELECT id, ",
    event: &'a str => Text,
    " FROM cabinet ON CONFLICT DO NOTHING RETURNING 1) \
     SELECT cell_count, said_at, asked, COALESCE(is_fresh, false), EXISTS (SELECT FROM noted) FROM cabinet",
}

prepared_statement! {
    /// It was heard of. A time that is not older than what it told before shows how its clock goes.
    struct Heard<'a> returns Bool;
    "WITH heard AS (UPDATE scooter_accumulator.cabinets SET last_seen_at = clock_timestamp(), online = ",
    comes: bool => Bool,
    " OR (online AND NOT ",
    leaves: bool => Bool,
    "), said_at = CASE WHEN ",
    fresh: bool => Bool,
    " THEN ",
    at: SqlTimestamp => Timestamptz,
    " ELSE said_at END, clock_ahead_ms = CASE WHEN NOT $3 THEN clock_ahead_ms \
       WHEN abs(extract(epoch FROM $4 - clock_timestamp())) > 86400 THEN 0 \
       ELSE (extract(epoch FROM $4 - clock_timestamp()) * 1000)::bigint END, \
       firmware = COALESCE(",
    firmware: Option<&'a str> => Nullable<Text>,
    ", firmware), reported_at = CASE WHEN ",
    complete: bool => Bool,
    " THEN GREATEST(reported_at, $4) ELSE reported_at END WHERE id = ",
    cabinet: &'a str => Text,
    " RETURNING online) SELECT online FROM heard",
}

prepared_statement! {
    /// What is thought to be in a cabinet.
    struct InsideOf<'a> returns (Integer, Text, SmallInt);
    "SELECT cell, id, charge FROM scooter_accumulator.accumulators WHERE cabinet_id = ",
    cabinet: &'a str => Text,
    "",
}

/// The clock of a cabinet was set back: what it told before by the old one is not newer than what it
/// tells from now on.
const SET_BACK: &str = "WITH c AS (UPDATE scooter_accumulator.cabinets SET said_at = $2, \
       reported_at = LEAST(reported_at, $2) WHERE id = $1) \
     UPDATE scooter_accumulator.cells SET reported_at = $2 WHERE cabinet_id = $1 AND reported_at > $2";

/// Who opened something at the cabinet since an accumulator came into its cell, that cell before others,
/// the last first. What was not the cell itself counts while the booking is in work and shortly after.
const TAKER: &str = "SELECT k.id AS command_id, k.booking_id, b.contractor_id, \
       EXISTS (SELECT FROM scooter_accumulator.booking_cells c WHERE c.booking_id = b.id AND c.accumulator_id = $3 \
         AND COALESCE(c.outcome NOT IN ('failed', 'left'), true)) AS booked \
     FROM scooter_accumulator.commands k JOIN scooter_accumulator.bookings b ON b.id = k.booking_id \
     WHERE k.cabinet_id = $1 AND k.status IN ('sent', 'timed_out', 'succeeded', 'failed') \
       AND k.sent_at > COALESCE((SELECT m.at FROM scooter_accumulator.accumulator_moves m \
         WHERE m.accumulator_id = $3 ORDER BY m.id DESC LIMIT 1), '-infinity') \
       AND k.sent_at > clock_timestamp() - interval '1 day' \
       AND ($2 = ANY(k.cells) OR b.ended_at IS NULL OR b.ended_at > clock_timestamp() - interval '10 minutes') \
     ORDER BY $2 = ANY(k.cells) DESC, k.sent_at DESC LIMIT 1";

const BOOKINGS_OF: &str = "SELECT c.accumulator_id, b.id, b.kind::text AS kind FROM scooter_accumulator.booking_cells c \
     JOIN scooter_accumulator.bookings b ON b.id = c.booking_id \
     WHERE c.accumulator_id = ANY($2) AND c.live AND b.cabinet_id = $1 AND b.status IN ('executing', 'unknown')";

/// A cabinet that an event is of.
#[derive(Debug)]
pub struct Noted {
    pub cell_count: i32,
    /// The newest time it has told.
    pub said_at: Option<Timestamp>,
    /// The last question for its state, if it was asked within the last minute.
    pub asked: Option<Uuid>,
    /// False: the event was applied before.
    pub is_new: bool,
}

/// What an event shows of its cabinet.
#[derive(Debug, Clone, Copy)]
pub struct Sign<'a> {
    /// By the cabinet's clock.
    pub at: Timestamp,
    /// Not older than what it told before.
    pub is_fresh: bool,
    /// It says that it is not there, or the broker says so for it.
    pub leaves: bool,
    /// It told all of its cells.
    pub is_complete: bool,
    pub firmware: Option<&'a str>,
}

/// Who has what is gone.
#[derive(Debug)]
pub struct Taker {
    pub command_id: Uuid,
    pub booking_id: Uuid,
    pub contractor_id: ContractorId,
    /// Whether his booking was for it, and it was not yet said that he did not take it.
    pub booked: bool,
}

#[derive(QueryableByName)]
struct TakerRow {
    #[diesel(sql_type = SqlUuid)]
    command_id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    booking_id: Uuid,
    #[diesel(sql_type = Text)]
    contractor_id: String,
    #[diesel(sql_type = Bool)]
    booked: bool,
}

#[derive(QueryableByName)]
struct BookingOfRow {
    #[diesel(sql_type = Text)]
    accumulator_id: String,
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Text)]
    kind: String,
}

/// Locks an event's cabinet and notes the event; `None` when there is no such cabinet.
pub async fn note(
    mut connection: &Connection,
    cabinet: &CabinetId,
    event: &str,
) -> Result<Option<Noted>> {
    type Row = (i32, Option<SqlTimestamp>, Option<Uuid>, bool, bool);
    let statement = Note { cabinet: cabinet.as_str(), event };
    let row: Option<Row> = statement.get_result(&mut connection).await.optional()?;
    Ok(row.map(|(cell_count, said_at, asked, just_asked, is_new)| Noted {
        cell_count,
        said_at: said_at.map(SqlTimestamp::to_jiff),
        asked: asked.filter(|_| just_asked),
        is_new,
    }))
}

/// Notes that a cabinet was heard of. The caller holds its row.
pub async fn heard(mut connection: &Connection, cabinet: &CabinetId, sign: Sign<'_>) -> Result<()> {
    let statement = Heard {
        comes: sign.is_fresh && !sign.leaves,
        leaves: sign.leaves,
        fresh: sign.is_fresh && !sign.leaves,
        at: sign.at.to_diesel(),
        firmware: sign.firmware,
        complete: sign.is_complete,
        cabinet: cabinet.as_str(),
    };
    let _: bool = statement.get_result(&mut connection).await?;
    Ok(())
}

/// Notes that a cabinet's clock was set back to `at`. The caller holds its row.
pub async fn set_back(
    mut connection: &Connection,
    cabinet: &CabinetId,
    at: Timestamp,
) -> Result<()> {
    let query = diesel::sql_query(SET_BACK).bind::<Text, _>(cabinet.as_str());
    query.bind::<Timestamptz, _>(at.to_diesel()).prepared().execute(&mut connection).await?;
    Ok(())
}

/// What is thought to be in a cabinet. The caller holds its row.
pub async fn inside(mut connection: &Connection, cabinet: &CabinetId) -> Result<Inside> {
    let statement = InsideOf { cabinet: cabinet.as_str() };
    let rows: Vec<(i32, String, i16)> = statement.load(&mut connection).await?;
    rows.into_iter()
        .map(|(cell, id, charge)| {
            let id = AccumulatorId::try_from(id).map_err(Error::internal)?;
            Ok((cell, (id, charge)))
        })
        .collect()
}

/// Who has what is gone from a cell, if anybody opened something. The caller holds the cabinet's row.
pub async fn taker(
    mut connection: &Connection,
    cabinet: &CabinetId,
    cell: i32,
    accumulator: &AccumulatorId,
) -> Result<Option<Taker>> {
    let row: Option<TakerRow> = diesel::sql_query(TAKER)
        .bind::<Text, _>(cabinet.as_str())
        .bind::<Integer, _>(cell)
        .bind::<Text, _>(accumulator.as_str())
        .prepared()
        .get_result(&mut connection)
        .await
        .optional()?;
    row.map(|row| {
        Ok(Taker {
            command_id: row.command_id,
            booking_id: row.booking_id,
            contractor_id: ContractorId::try_from(row.contractor_id).map_err(Error::internal)?,
            booked: row.booked,
        })
    })
    .transpose()
}

/// The booking of this cabinet, in work, that accumulators are in: by accumulator.
pub async fn bookings_of(
    mut connection: &Connection,
    cabinet: &CabinetId,
    accumulators: &[&AccumulatorId],
) -> Result<BTreeMap<AccumulatorId, (Uuid, BookingKind)>> {
    let ids: Vec<&str> = accumulators.iter().map(|id| id.as_str()).collect();
    let query = diesel::sql_query(BOOKINGS_OF).bind::<Text, _>(cabinet.as_str());
    let rows: Vec<BookingOfRow> =
        query.bind::<Array<Text>, _>(ids).prepared().load(&mut connection).await?;
    rows.into_iter()
        .map(|row| {
            let unknown = || Error::internal("a booking of an unknown kind");
            let kind = BookingKind::parse(&row.kind).ok_or_else(unknown)?;
            let id = AccumulatorId::try_from(row.accumulator_id).map_err(Error::internal)?;
            Ok((id, (row.id, kind)))
        })
        .collect()
}
