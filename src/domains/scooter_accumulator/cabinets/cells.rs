//! Cells: what the cabinet says of each. What is in one is said by the accumulators' places.

use diesel::prelude::*;
use diesel::sql_types::{Array, Integer, Nullable, SmallInt, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use jiff::Timestamp;
use jiff_diesel::{Timestamp as SqlTimestamp, ToDiesel};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domains::scooter_accumulator::ids::{AccumulatorId, CabinetId};
use crate::platform::database::{Connection, Prepare};
use crate::platform::error::{Error, Result};

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

/// What a cell is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CellState {
    /// Shut, with nothing in it.
    Empty,
    /// Shut, and charging what is in it.
    Charging,
    /// Shut, with a charged accumulator.
    Charged,
    /// Its door is open: nothing is known of what is in it.
    Open,
    /// Out of order.
    Broken,
}

impl CellState {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Empty, Self::Charging, Self::Charged, Self::Open, Self::Broken];

    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Charging => "charging",
            Self::Charged => "charged",
            Self::Open => "open",
            Self::Broken => "broken",
        }
    }

    /// As it is read back.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether its door is shut, and something is behind it.
    pub fn is_shut_on_something(self) -> bool {
        matches!(self, Self::Charging | Self::Charged)
    }
}

/// A cell, as it is answered.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Cell {
    /// Its number, from 1.
    pub n: i32,
    /// What it is doing.
    pub state: CellState,
    /// What is in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<AccumulatorId>)]
    pub accumulator_id: Option<String>,
    /// The charge of what is in it, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 100)]
    pub charge: Option<i16>,
    /// The cabinet's own time of what it said of the cell; absent while it has said nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub reported_at: Option<Timestamp>,
}

/// What a cabinet says of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Which cell.
    pub n: i32,
    /// What it is doing.
    pub state: CellState,
    /// Percent, if something is in it.
    pub charge: Option<i16>,
}

/// A report that was newer than what was known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// Which cell.
    pub n: i32,
    /// What it was doing before.
    pub was: CellState,
}

#[derive(QueryableByName)]
struct CellRow {
    #[diesel(sql_type = Integer)]
    n: i32,
    #[diesel(sql_type = Text)]
    state: String,
    #[diesel(sql_type = Nullable<Text>)]
    accumulator_id: Option<String>,
    #[diesel(sql_type = Nullable<SmallInt>)]
    charge: Option<i16>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    reported_at: Option<SqlTimestamp>,
}

#[derive(QueryableByName)]
struct AppliedRow {
    #[diesel(sql_type = Integer)]
    n: i32,
    #[diesel(sql_type = Text)]
    was: String,
}

const READ: &str = "SELECT c.n, c.state::text AS state, a.id AS accumulator_id, \
       COALESCE(a.charge, c.charge) AS charge, NULLIF(c.reported_at, '-infinity') AS reported_at \
     FROM scooter_accumulator.cells c LEFT JOIN scooter_accumulator.accumulators a \
       ON a.cabinet_id = c.cabinet_id AND a.cell = c.n \
     WHERE c.cabinet_id = $1 ORDER BY c.n";
const REPORT: &str = "WITH r AS (SELECT * FROM UNNEST($2::integer[], $3::text[], $4::smallint[]) AS r(n, state, charge)), \
     old AS (SELECT c.n, c.state FROM scooter_accumulator.cells c JOIN r USING (n) WHERE c.cabinet_id = $1) \
     UPDATE scooter_accumulator.cells c SET state = r.state::scooter_accumulator.cell_state, \
       charge = r.charge, reported_at = $5 FROM r JOIN old USING (n) \
     WHERE c.cabinet_id = $1 AND c.n = r.n AND c.reported_at <= $5 RETURNING c.n, old.state::text AS was";
const SUPPOSE: &str = "UPDATE scooter_accumulator.cells SET charge = $3, state = (CASE \
       WHEN state IN ('open', 'broken') THEN state::text WHEN $3 IS NULL THEN 'empty' \
       WHEN $3 >= $4 THEN 'charged' ELSE 'charging' END)::scooter_accumulator.cell_state \
     WHERE cabinet_id = $1 AND n = $2";

/// The cells of a cabinet, in order; none when there is no such cabinet.
pub async fn read(mut connection: &Connection, cabinet: &CabinetId) -> Result<Vec<Cell>> {
    let query = diesel::sql_query(READ).bind::<Text, _>(cabinet.as_str());
    let rows: Vec<CellRow> = query.prepared().load(&mut connection).await?;
    rows.into_iter().map(CellRow::read).collect()
}

impl CellRow {
    fn read(self) -> Result<Cell> {
        Ok(Cell {
            n: self.n,
            state: parse(&self.state)?,
            accumulator_id: self.accumulator_id,
            charge: self.charge,
            reported_at: self.reported_at.map(SqlTimestamp::to_jiff),
        })
    }
}

/// Writes down what a cabinet said of its cells at `at`, by its own clock, where it is newer than what
/// is known, and returns those. The caller holds the cabinet's row; each cell is named once.
pub async fn report(
    mut connection: &Connection,
    cabinet: &CabinetId,
    at: Timestamp,
    reports: &[Report],
) -> Result<Vec<Applied>> {
    let rows: Vec<AppliedRow> = diesel::sql_query(REPORT)
        .bind::<Text, _>(cabinet.as_str())
        .bind::<Array<Integer>, _>(reports.iter().map(|report| report.n).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(reports.iter().map(|r| r.state.as_str()).collect::<Vec<_>>())
        .bind::<Array<Nullable<SmallInt>>, _>(reports.iter().map(|r| r.charge).collect::<Vec<_>>())
        .bind::<Timestamptz, _>(at.to_diesel())
        .prepared()
        .load(&mut connection)
        .await?;
    rows.into_iter().map(|row| Ok(Applied { n: row.n, was: parse(&row.was)? })).collect()
}

/// What a person says is in a cell (`None`: nothing) is taken for its state until the cabinet speaks,
/// unless the cell is open or broken. From `charged_from` percent on it counts as charged. The caller
/// holds the cabinet's row.
pub async fn suppose(
    mut connection: &Connection,
    cabinet: &CabinetId,
    n: i32,
    charge: Option<i16>,
    charged_from: i16,
) -> Result<()> {
    diesel::sql_query(SUPPOSE)
        .bind::<Text, _>(cabinet.as_str())
        .bind::<Integer, _>(n)
        .bind::<Nullable<SmallInt>, _>(charge)
        .bind::<SmallInt, _>(charged_from)
        .prepared()
        .execute(&mut connection)
        .await?;
    Ok(())
}

fn parse(state: &str) -> Result<CellState> {
    CellState::parse(state).ok_or_else(|| Error::internal("a cell of an unknown state"))
}
