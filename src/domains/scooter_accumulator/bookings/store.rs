//! SQL of bookings. Whoever changes one holds its cabinet's row.

use diesel::prelude::*;
use diesel::sql_types::{
    Array, BigInt, Bool, Double, Integer, Jsonb, Nullable, SmallInt, Text, Timestamptz,
    Uuid as SqlUuid,
};
use diesel_async::RunQueryDsl;
use jiff_diesel::Timestamp as SqlTimestamp;
use uuid::Uuid;

use super::model::{BookedCell, Booking, BookingKind, CellOutcome};
use super::status::{BookingEvent, BookingStatus};
use crate::domains::scooter_accumulator::cabinets::cells::cell_use;
use crate::domains::scooter_accumulator::cabinets::store::{self as cabinets, CabinetRow};
use crate::domains::scooter_accumulator::ids::{AccumulatorId, CabinetId};
use crate::platform::database::{Connection, Json, Prepare};
use crate::platform::error::{Error, Kind, Result};
use crate::platform::ids::ContractorId;

#[derive(QueryableByName)]
struct BookingRow {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Text)]
    cabinet_id: String,
    #[diesel(sql_type = Text)]
    contractor_id: String,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Text)]
    status: String,
    #[diesel(sql_type = Integer)]
    count: i32,
    #[diesel(sql_type = Nullable<SmallInt>)]
    min_charge: Option<i16>,
    #[diesel(sql_type = Timestamptz)]
    created_at: SqlTimestamp,
    #[diesel(sql_type = Timestamptz)]
    expires_at: SqlTimestamp,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    ended_at: Option<SqlTimestamp>,
    #[diesel(sql_type = Bool)]
    dead: bool,
    #[diesel(sql_type = Jsonb)]
    cells: Json<Vec<BookedCell>>,
}

impl BookingRow {
    /// The booking, and the status that is stored. An active one past its time shows as expired, also
    /// while nobody has written that down.
    fn read(self) -> Result<(Booking, BookingStatus)> {
        let unknown = || Error::internal("a booking of an unknown kind or status");
        let stored = BookingStatus::parse(&self.status).ok_or_else(unknown)?;
        let (expires_at, ended_at) = (self.expires_at, self.ended_at);
        let ended_at = ended_at.or_else(|| self.dead.then_some(expires_at));
        let booking = Booking {
            id: self.id,
            cabinet_id: CabinetId::try_from(self.cabinet_id).map_err(Error::internal)?,
            contractor_id: ContractorId::try_from(self.contractor_id).map_err(Error::internal)?,
            kind: BookingKind::parse(&self.kind).ok_or_else(unknown)?,
            status: if self.dead { BookingStatus::Expired } else { stored },
            count: self.count,
            min_charge: self.min_charge,
            cells: self.cells.0,
            expires_at: expires_at.to_jiff(),
            created_at: self.created_at.to_jiff(),
            ended_at: ended_at.map(SqlTimestamp::to_jiff),
        };
        Ok((booking, stored))
    }
}

/// A booking whose row, and whose cabinet's, the transaction holds.
#[derive(Debug)]
pub struct LockedBooking {
    booking: Booking,
    stored: BookingStatus,
}

impl LockedBooking {
    /// As it is now.
    pub fn get(&self) -> &Booking {
        &self.booking
    }
}

macro_rules! select_booking {
    ($rest:literal) => {
        concat!(
            "SELECT b.id, b.cabinet_id, b.contractor_id, b.kind::text AS kind, \
             b.status::text AS status, b.count, b.min_charge, b.created_at, b.expires_at, b.ended_at, \
             b.status = 'active' AND b.expires_at <= statement_timestamp() AS dead, \
             (SELECT COALESCE(jsonb_agg(jsonb_build_object('n', c.cell, 'accumulator_id', \
               c.accumulator_id, 'outcome', c.outcome) ORDER BY c.cell), '[]') \
              FROM scooter_accumulator.booking_cells c WHERE c.booking_id = b.id) AS cells \
             FROM scooter_accumulator.bookings b WHERE b.id = $1",
            $rest
        )
    };
}

const FIND: &str = select_booking!("");
const LOCK: &str = select_booking!(" FOR NO KEY UPDATE OF b");
const SET_STATUS: &str = "UPDATE scooter_accumulator.bookings SET \
       status = $3::scooter_accumulator.booking_status, ended_at = CASE WHEN $4 THEN now() END \
     WHERE id = $1 AND status = $2::scooter_accumulator.booking_status";
const FREE: &str =
    "UPDATE scooter_accumulator.booking_cells SET live = false WHERE booking_id = $1 AND live";
const NAME: &str = "UPDATE scooter_accumulator.booking_cells c SET accumulator_id = n.accumulator_id \
     FROM UNNEST($2::integer[], $3::text[]) AS n(cell, accumulator_id) \
     WHERE c.booking_id = $1 AND c.cell = n.cell";
const SET_OUTCOMES: &str = "UPDATE scooter_accumulator.booking_cells c SET outcome = n.outcome \
     FROM UNNEST($2::integer[], $3::text[]) AS n(cell, outcome) \
     WHERE c.booking_id = $1 AND c.cell = n.cell";

/// A booking.
pub async fn find(mut connection: &Connection, id: Uuid) -> Result<Option<Booking>> {
    let row: Option<BookingRow> = diesel::sql_query(FIND)
        .bind::<SqlUuid, _>(id)
        .prepared()
        .get_result(&mut connection)
        .await
        .optional()?;
    Ok(row.map(BookingRow::read).transpose()?.map(|(booking, _)| booking))
}

/// Locks a booking's cabinet, then the booking; says what the cabinet is like, too.
pub async fn lock(
    connection: &Connection,
    id: Uuid,
) -> Result<Option<(LockedBooking, CabinetRow)>> {
    let Some(cabinet) = cabinets::lock_of_booking(connection, id).await? else { return Ok(None) };
    Ok(lock_under_cabinet(connection, id).await?.map(|booking| (booking, cabinet)))
}

/// Locks a booking; the caller holds its cabinet's row.
pub async fn lock_under_cabinet(
    mut connection: &Connection,
    id: Uuid,
) -> Result<Option<LockedBooking>> {
    let row: Option<BookingRow> = diesel::sql_query(LOCK)
        .bind::<SqlUuid, _>(id)
        .prepared()
        .get_result(&mut connection)
        .await
        .optional()?;
    let read = row.map(BookingRow::read).transpose()?;
    Ok(read.map(|(booking, stored)| LockedBooking { booking, stored }))
}

/// Lets `event` happen to a booking. One that ends frees its cells and accumulators.
///
/// # Errors
/// `booking_not_active` when it cannot happen to it as it is.
pub async fn advance(
    mut connection: &Connection,
    locked: &mut LockedBooking,
    event: BookingEvent,
) -> Result<()> {
    let id = locked.booking.id;
    let next = locked.booking.status.next(event).ok_or_else(|| refused(locked.booking.status))?;
    if next == locked.stored {
        return Ok(());
    }
    let changed = diesel::sql_query(SET_STATUS)
        .bind::<SqlUuid, _>(id)
        .bind::<Text, _>(locked.stored.as_str())
        .bind::<Text, _>(next.as_str())
        .bind::<Bool, _>(!next.is_live())
        .prepared()
        .execute(&mut connection)
        .await?;
    if changed != 1 {
        return Err(Error::internal("a locked booking has another status"));
    }
    if !next.is_live() {
        diesel::sql_query(FREE).bind::<SqlUuid, _>(id).prepared().execute(&mut connection).await?;
    }
    locked.booking.status = next;
    locked.stored = next;
    Ok(())
}

/// The answer to what cannot be done with a booking of this status.
pub fn refused(status: BookingStatus) -> Error {
    let detail = format!("The booking is {}.", status.as_str());
    Error::new(Kind::Conflict, "booking_not_active", detail)
        .with_extension("booking_status", &status)
}

/// Says which accumulators come into the cells of a return. The caller has locked them.
///
/// # Errors
/// `conflict` when one of them is in another live booking.
pub async fn name_accumulators(
    mut connection: &Connection,
    locked: &mut LockedBooking,
    named: &[(i32, AccumulatorId)],
) -> Result<()> {
    diesel::sql_query(NAME)
        .bind::<SqlUuid, _>(locked.booking.id)
        .bind::<Array<Integer>, _>(named.iter().map(|(cell, _)| *cell).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(named.iter().map(|(_, id)| id.as_str()).collect::<Vec<_>>())
        .prepared()
        .execute(&mut connection)
        .await?;
    for cell in &mut locked.booking.cells {
        if let Some((_, id)) = named.iter().find(|(n, _)| *n == cell.n) {
            cell.accumulator_id = Some(id.clone());
        }
    }
    Ok(())
}

/// Notes what became of a booking's cells.
pub async fn set_outcomes(
    mut connection: &Connection,
    locked: &mut LockedBooking,
    outcomes: &[(i32, CellOutcome)],
) -> Result<()> {
    diesel::sql_query(SET_OUTCOMES)
        .bind::<SqlUuid, _>(locked.booking.id)
        .bind::<Array<Integer>, _>(outcomes.iter().map(|(cell, _)| *cell).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(outcomes.iter().map(|(_, of)| of.as_str()).collect::<Vec<_>>())
        .prepared()
        .execute(&mut connection)
        .await?;
    for cell in &mut locked.booking.cells {
        if let Some((_, outcome)) = outcomes.iter().find(|(n, _)| *n == cell.n) {
            cell.outcome = Some(*outcome);
        }
    }
    Ok(())
}

/// Ends bookings of cabinets that nobody came for in time, and those of accumulators that have come
/// into them since they were booked elsewhere; returns how many. The caller holds the cabinets' rows.
pub async fn end_expired(mut connection: &Connection, cabinets: &[&CabinetId]) -> Result<i64> {
    // Nobody else holds a booking of this cabinet; one of another cabinet may be held by whoever
    // changes it there, and is not waited for.
    const END: &str = "WITH dead AS (SELECT b.id FROM scooter_accumulator.bookings b \
           WHERE b.status = 'active' AND b.expires_at <= statement_timestamp() \
           AND (b.cabinet_id = ANY($1) OR b.id IN (SELECT c.booking_id FROM scooter_accumulator.booking_cells c \
             JOIN scooter_accumulator.accumulators a ON a.id = c.accumulator_id \
             WHERE c.live AND a.cabinet_id = ANY($1))) ORDER BY b.id FOR NO KEY UPDATE SKIP LOCKED), \
         ended AS (UPDATE scooter_accumulator.bookings b SET status = 'expired', ended_at = b.expires_at \
           FROM dead WHERE b.id = dead.id RETURNING b.id), \
         freed AS (UPDATE scooter_accumulator.booking_cells c SET live = false \
           FROM ended WHERE c.booking_id = ended.id AND c.live) \
         SELECT count(*) AS count FROM ended";
    let ids: Vec<&str> = cabinets.iter().map(|id| id.as_str()).collect();
    let counted: Counted = diesel::sql_query(END)
        .bind::<Array<Text>, _>(ids)
        .prepared()
        .get_result(&mut connection)
        .await?;
    Ok(counted.count)
}

#[derive(QueryableByName)]
struct Counted {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// What is to be booked.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    pub cabinet_id: &'a CabinetId,
    pub contractor_id: &'a ContractorId,
    pub kind: BookingKind,
    pub count: i32,
    pub min_charge: Option<i16>,
    /// How long it is kept.
    pub ttl: std::time::Duration,
}

#[derive(QueryableByName)]
struct ChosenRow {
    #[diesel(sql_type = Integer)]
    n: i32,
    #[diesel(sql_type = Nullable<Text>)]
    accumulator_id: Option<String>,
}

#[derive(QueryableByName)]
struct Times {
    #[diesel(sql_type = Timestamptz)]
    created_at: SqlTimestamp,
    #[diesel(sql_type = Timestamptz)]
    expires_at: SqlTimestamp,
}

const CHOOSE: &str = concat!(
    "SELECT n, accumulator_id FROM (SELECT c.n, a.id AS accumulator_id, a.charge, ",
    cell_use!("$3::smallint"),
    " AS use FROM scooter_accumulator.cells c LEFT JOIN scooter_accumulator.accumulators a \
       ON a.cabinet_id = c.cabinet_id AND a.cell = c.n WHERE c.cabinet_id = $1) AS free \
     WHERE use = $2 ORDER BY charge DESC NULLS LAST, n LIMIT $4"
);
const INSERT: &str = "WITH made AS (INSERT INTO scooter_accumulator.bookings \
       (id, cabinet_id, contractor_id, kind, count, min_charge, created_at, expires_at) \
       VALUES ($1, $2, $3, $4::scooter_accumulator.booking_kind, $5, $6, statement_timestamp(), \
         statement_timestamp() + make_interval(secs => $7)) RETURNING id, cabinet_id, created_at, expires_at), \
     kept AS (INSERT INTO scooter_accumulator.booking_cells (booking_id, cabinet_id, cell, accumulator_id) \
       SELECT made.id, made.cabinet_id, k.cell, k.accumulator_id \
       FROM made, UNNEST($8::integer[], $9::text[]) AS k(cell, accumulator_id)) \
     SELECT created_at, expires_at FROM made";

/// Books, all or nothing: the most charged accumulators, or the first empty cells. `None`: there are
/// not enough. The caller holds the cabinet's row and what is in it, and has ended what expired.
pub async fn book(mut connection: &Connection, wanted: &Wanted<'_>) -> Result<Option<Booking>> {
    let free = match wanted.kind {
        BookingKind::Pickup => "available",
        BookingKind::Return => "empty",
    };
    let mut cells = diesel::sql_query(CHOOSE)
        .bind::<Text, _>(wanted.cabinet_id.as_str())
        .bind::<Text, _>(free)
        .bind::<Nullable<SmallInt>, _>(wanted.min_charge)
        .bind::<BigInt, _>(i64::from(wanted.count))
        .prepared()
        .load::<ChosenRow>(&mut connection)
        .await?
        .into_iter()
        .map(ChosenRow::read)
        .collect::<Result<Vec<_>>>()?;
    if i32::try_from(cells.len()) != Ok(wanted.count) {
        return Ok(None);
    }
    cells.sort_by_key(|cell| cell.n);
    let ids: Vec<Option<&str>> =
        cells.iter().map(|cell| cell.accumulator_id.as_ref().map(AccumulatorId::as_str)).collect();
    let id = Uuid::now_v7();
    let times: Times = diesel::sql_query(INSERT)
        .bind::<SqlUuid, _>(id)
        .bind::<Text, _>(wanted.cabinet_id.as_str())
        .bind::<Text, _>(wanted.contractor_id.as_str())
        .bind::<Text, _>(wanted.kind.as_str())
        .bind::<Integer, _>(wanted.count)
        .bind::<Nullable<SmallInt>, _>(wanted.min_charge)
        .bind::<Double, _>(wanted.ttl.as_secs_f64())
        .bind::<Array<Integer>, _>(cells.iter().map(|cell| cell.n).collect::<Vec<_>>())
        .bind::<Array<Nullable<Text>>, _>(ids)
        .prepared()
        .get_result(&mut connection)
        .await?;
    Ok(Some(Booking {
        id,
        cabinet_id: wanted.cabinet_id.clone(),
        contractor_id: wanted.contractor_id.clone(),
        kind: wanted.kind,
        status: BookingStatus::Active,
        count: wanted.count,
        min_charge: wanted.min_charge,
        cells,
        expires_at: times.expires_at.to_jiff(),
        created_at: times.created_at.to_jiff(),
        ended_at: None,
    }))
}

impl ChosenRow {
    fn read(self) -> Result<BookedCell> {
        let id = self.accumulator_id.map(AccumulatorId::try_from).transpose();
        Ok(BookedCell { n: self.n, accumulator_id: id.map_err(Error::internal)?, outcome: None })
    }
}
