//! SQL of cabinets. Whoever changes a cabinet, its cells, what is in them or its bookings holds the
//! cabinet's row.

use diesel::prelude::*;
use diesel::sql_types::{
    BigInt, Bool, Double, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::RunQueryDsl;
use jiff_diesel::Timestamp as SqlTimestamp;
use uuid::Uuid;

use crate::domains::scooter_accumulator::ids::CabinetId;
use crate::platform::database::{Connection, Prepare};
use crate::platform::error::Result;

/// A cabinet's own columns, locked.
#[derive(Debug, Clone, QueryableByName)]
pub struct CabinetRow {
    #[diesel(sql_type = Double)]
    pub lat: f64,
    #[diesel(sql_type = Double)]
    pub lon: f64,
    #[diesel(sql_type = Integer)]
    pub cell_count: i32,
    #[diesel(sql_type = Bool)]
    pub online: bool,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub last_seen_at: Option<SqlTimestamp>,
    #[diesel(sql_type = Integer)]
    pub version: i32,
}

impl CabinetRow {
    /// Whether cells can be booked. A cabinet that was never heard is taken at people's word.
    pub fn can_be_booked(&self) -> bool {
        self.online || self.last_seen_at.is_none()
    }
}

macro_rules! select_cabinet {
    ($rest:literal) => {
        concat!(
            "SELECT lat, lon, cell_count, online, last_seen_at, version \
             FROM scooter_accumulator.cabinets WHERE id = ",
            $rest
        )
    };
}

const LOCK: &str = select_cabinet!("$1 FOR NO KEY UPDATE");
const LOCK_OF_BOOKING: &str = select_cabinet!(
    "(SELECT cabinet_id FROM scooter_accumulator.bookings WHERE id = $1) FOR NO KEY UPDATE"
);
const LOCK_TO_DELETE: &str = select_cabinet!("$1 FOR UPDATE");
const INSERT: &str = "INSERT INTO scooter_accumulator.cabinets (id, lat, lon, cell_count) \
     VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING";
const UPDATE: &str = "UPDATE scooter_accumulator.cabinets SET lat = $2, lon = $3, cell_count = $4, \
     version = version + 1 WHERE id = $1";
const ADD_CELLS: &str = "INSERT INTO scooter_accumulator.cells (cabinet_id, n) \
     SELECT $1, n FROM generate_series($2 + 1, $3) AS n";
const IN_USE: &str = "SELECT \
     (SELECT count(*) FROM scooter_accumulator.accumulators WHERE cabinet_id = $1 AND cell > $2) \
     + (SELECT count(*) FROM scooter_accumulator.booking_cells \
        WHERE live AND cabinet_id = $1 AND cell > $2) AS count";
const REMOVE_OLD_BOOKED_CELLS: &str = "DELETE FROM scooter_accumulator.booking_cells \
     WHERE NOT live AND cabinet_id = $1 AND cell > $2";
const REMOVE_CELLS: &str = "DELETE FROM scooter_accumulator.cells WHERE cabinet_id = $1 AND n > $2";
/// The references of what is still live stand against it.
const DELETE: [&str; 3] = [
    "DELETE FROM scooter_accumulator.commands WHERE cabinet_id = $1",
    "DELETE FROM scooter_accumulator.bookings WHERE cabinet_id = $1 AND ended_at IS NOT NULL",
    "DELETE FROM scooter_accumulator.cabinets WHERE id = $1",
];

#[derive(QueryableByName)]
struct Counted {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

#[derive(QueryableByName)]
struct Id {
    #[diesel(sql_type = Text)]
    id: String,
}

/// Locks a cabinet's row: what touches one cabinet is in line from here on.
pub async fn lock(mut connection: &Connection, id: &CabinetId) -> Result<Option<CabinetRow>> {
    let query = diesel::sql_query(LOCK).bind::<Text, _>(id.as_str());
    Ok(query.prepared().get_result(&mut connection).await.optional()?)
}

/// The same, of the cabinet that a booking is of.
pub async fn lock_of_booking(
    mut connection: &Connection,
    booking: Uuid,
) -> Result<Option<CabinetRow>> {
    let query = diesel::sql_query(LOCK_OF_BOOKING).bind::<SqlUuid, _>(booking);
    Ok(query.prepared().get_result(&mut connection).await.optional()?)
}

/// The same, against rows that would refer to it, too.
pub async fn lock_to_delete(
    mut connection: &Connection,
    id: &CabinetId,
) -> Result<Option<CabinetRow>> {
    let query = diesel::sql_query(LOCK_TO_DELETE).bind::<Text, _>(id.as_str());
    Ok(query.prepared().get_result(&mut connection).await.optional()?)
}

/// Locks up to `limit` cabinets that have bookings past their time and that nobody is changing now.
pub async fn lock_with_expired(mut connection: &Connection, limit: i64) -> Result<Vec<CabinetId>> {
    const WITH_EXPIRED: &str = "SELECT id FROM scooter_accumulator.cabinets WHERE id IN \
           (SELECT cabinet_id FROM scooter_accumulator.bookings WHERE status = 'active' \
            AND expires_at <= statement_timestamp()) \
         ORDER BY id LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED";
    let rows: Vec<Id> = diesel::sql_query(WITH_EXPIRED)
        .bind::<BigInt, _>(limit)
        .prepared()
        .load(&mut connection)
        .await?;
    let ids = rows.into_iter().map(|row| CabinetId::try_from(row.id));
    ids.collect::<Result<_, _>>().map_err(crate::platform::error::Error::internal)
}

/// What a person says of a cabinet.
#[derive(Debug, Clone, Copy)]
pub struct Said {
    pub lat: f64,
    pub lon: f64,
    pub cell_count: i32,
}

/// Makes a cabinet known, with empty cells; false when there is one with this id.
pub async fn insert(mut connection: &Connection, id: &CabinetId, said: Said) -> Result<bool> {
    let made = diesel::sql_query(INSERT)
        .bind::<Text, _>(id.as_str())
        .bind::<Double, _>(said.lat)
        .bind::<Double, _>(said.lon)
        .bind::<Integer, _>(said.cell_count)
        .prepared()
        .execute(&mut connection)
        .await?;
    if made == 1 {
        add_cells(connection, id, 0, said.cell_count).await?;
    }
    Ok(made == 1)
}

/// Writes what a person says of a cabinet, whose row the caller holds. Cells are added or removed.
pub async fn update(mut connection: &Connection, id: &CabinetId, said: Said) -> Result<()> {
    diesel::sql_query(UPDATE)
        .bind::<Text, _>(id.as_str())
        .bind::<Double, _>(said.lat)
        .bind::<Double, _>(said.lon)
        .bind::<Integer, _>(said.cell_count)
        .prepared()
        .execute(&mut connection)
        .await?;
    Ok(())
}

/// Adds the cells behind `from`, up to `to`.
pub async fn add_cells(
    mut connection: &Connection,
    id: &CabinetId,
    from: i32,
    to: i32,
) -> Result<()> {
    diesel::sql_query(ADD_CELLS)
        .bind::<Text, _>(id.as_str())
        .bind::<Integer, _>(from)
        .bind::<Integer, _>(to)
        .prepared()
        .execute(&mut connection)
        .await?;
    Ok(())
}

/// Whether an accumulator is in a cell behind `from`, or one of them is booked. The caller holds the
/// cabinet's row and has ended what expired.
pub async fn in_use(mut connection: &Connection, id: &CabinetId, from: i32) -> Result<bool> {
    let counted: Counted = diesel::sql_query(IN_USE)
        .bind::<Text, _>(id.as_str())
        .bind::<Integer, _>(from)
        .prepared()
        .get_result(&mut connection)
        .await?;
    Ok(counted.count > 0)
}

/// Removes the cells behind `from`, which are not in use; ended bookings lose them.
pub async fn remove_cells(mut connection: &Connection, id: &CabinetId, from: i32) -> Result<()> {
    for statement in [REMOVE_OLD_BOOKED_CELLS, REMOVE_CELLS] {
        diesel::sql_query(statement)
            .bind::<Text, _>(id.as_str())
            .bind::<Integer, _>(from)
            .prepared()
            .execute(&mut connection)
            .await?;
    }
    Ok(())
}

/// Deletes a cabinet that is not in use, with its ended bookings and its commands.
pub async fn delete(mut connection: &Connection, id: &CabinetId) -> Result<()> {
    for statement in DELETE {
        diesel::sql_query(statement)
            .bind::<Text, _>(id.as_str())
            .prepared()
            .execute(&mut connection)
            .await?;
    }
    Ok(())
}
