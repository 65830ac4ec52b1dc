//! SQL of cabinets. Whoever changes a cabinet, its cells, what is in them or its bookings holds the
//! cabinet's row.

use diesel::prelude::*;
use diesel::sql_types::{Bool, Double, Integer, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use jiff_diesel::Timestamp as SqlTimestamp;

use crate::domains::scooter_accumulator::ids::CabinetId;
use crate::platform::database::Connection;
use crate::platform::error::Result;

/// What a cell `c`, with the accumulator `a` in it or none, can be used for: `broken`, `booked`,
/// `open`, `available` (to be taken out, charged or of at least `$min_charge`), `empty` (to be filled)
/// or `charging`. A booking past its time keeps nothing.
macro_rules! cell_use {
    ($min_charge:literal) => {
        concat!(
            "CASE WHEN c.state = 'broken' THEN 'broken' \
             WHEN EXISTS (SELECT 1 FROM scooter_accumulator.booking_cells k \
               JOIN scooter_accumulator.bookings b ON b.id = k.booking_id \
               WHERE k.live AND k.cabinet_id = c.cabinet_id AND k.cell = c.n \
               AND (b.status <> 'active' OR b.expires_at > statement_timestamp())) \
             OR EXISTS (SELECT 1 FROM scooter_accumulator.booking_cells k \
               JOIN scooter_accumulator.bookings b ON b.id = k.booking_id \
               WHERE k.live AND k.accumulator_id = a.id \
               AND (b.status <> 'active' OR b.expires_at > statement_timestamp())) THEN 'booked' \
             WHEN c.state = 'open' THEN 'open' \
             WHEN a.id IS NULL AND c.state = 'empty' THEN 'empty' \
             WHEN a.id IS NOT NULL AND CASE WHEN ",
            $min_charge,
            " IS NULL THEN c.state = 'charged' \
               ELSE c.state IN ('charging', 'charged') AND a.charge >= ",
            $min_charge,
            " END THEN 'available' ELSE 'charging' END"
        )
    };
}
pub(in crate::domains::scooter_accumulator) use cell_use;

/// A cabinet's own columns.
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

const LOCK: &str = "SELECT lat, lon, cell_count, online, last_seen_at, version \
     FROM scooter_accumulator.cabinets WHERE id = $1 FOR NO KEY UPDATE";

/// Locks a cabinet's row: what touches one cabinet is in line from here on.
pub async fn lock(connection: &mut Connection, id: &CabinetId) -> Result<Option<CabinetRow>> {
    let query = diesel::sql_query(LOCK).bind::<Text, _>(id.as_str());
    Ok(query.get_result(connection).await.optional()?)
}
