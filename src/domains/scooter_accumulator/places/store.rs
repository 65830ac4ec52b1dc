//! SQL of places. Whoever changes what is in a cell holds the cabinet's row; then the accumulators
//! are locked, in the order of their ids.

use diesel::prelude::*;
use diesel::sql_types::{Array, Bool, Integer, Jsonb, Nullable, SmallInt, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;

use super::place::{Cause, Place, PlaceColumns};
use crate::domains::scooter_accumulator::ids::{AccumulatorId, CabinetId, ScooterId};
use crate::platform::database::{Connection, Json, Prepare};
use crate::platform::error::{Error, Result};
use crate::platform::ids::ContractorId;

/// An accumulator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accumulator {
    pub id: AccumulatorId,
    /// Percent.
    pub charge: i16,
    /// `None`: lost.
    pub place: Option<Place>,
    /// For a person to look at.
    pub flagged: bool,
    pub version: i32,
}

/// An accumulator whose row the transaction holds: it stays as it is until the commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locked(Accumulator);

impl Locked {
    /// What it is like before it is moved.
    pub fn get(&self) -> &Accumulator {
        &self.0
    }
}

/// An accumulator's columns, as [`accumulator_columns!`] names them.
#[derive(Debug, QueryableByName)]
pub struct AccumulatorRow {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = SmallInt)]
    charge: i16,
    #[diesel(sql_type = Nullable<Text>)]
    cabinet_id: Option<String>,
    #[diesel(sql_type = Nullable<Integer>)]
    cell: Option<i32>,
    #[diesel(sql_type = Nullable<Text>)]
    contractor_id: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    scooter_id: Option<String>,
    #[diesel(sql_type = Bool)]
    flagged: bool,
    #[diesel(sql_type = Integer)]
    version: i32,
}

macro_rules! accumulator_columns {
    () => {
        "a.id, a.charge, a.cabinet_id, a.cell, a.contractor_id, a.scooter_id, a.flagged, a.version"
    };
}
pub(in crate::domains::scooter_accumulator) use accumulator_columns;

impl AccumulatorRow {
    /// What they say.
    pub fn read(self) -> Result<Accumulator> {
        let columns = PlaceColumns {
            cabinet_id: self
                .cabinet_id
                .map(CabinetId::try_from)
                .transpose()
                .map_err(Error::internal)?,
            cell: self.cell,
            contractor_id: self
                .contractor_id
                .map(ContractorId::try_from)
                .transpose()
                .map_err(Error::internal)?,
            scooter_id: self
                .scooter_id
                .map(ScooterId::try_from)
                .transpose()
                .map_err(Error::internal)?,
        };
        Ok(Accumulator {
            id: AccumulatorId::try_from(self.id).map_err(Error::internal)?,
            charge: self.charge,
            place: columns.place()?,
            flagged: self.flagged,
            version: self.version,
        })
    }
}

const LOCK: &str = concat!(
    "SELECT ",
    accumulator_columns!(),
    " FROM scooter_accumulator.accumulators a WHERE a.id = ANY($1) ORDER BY a.id FOR UPDATE"
);
const LOCK_OF_CABINET: &str = concat!(
    "SELECT ",
    accumulator_columns!(),
    " FROM scooter_accumulator.accumulators a WHERE a.cabinet_id = $1 ORDER BY a.id FOR UPDATE"
);
const MOVE: &str = "WITH m AS (SELECT * FROM UNNEST($1::text[], $2::text[], $3::integer[], $4::text[], \
       $5::text[], $6::boolean[], $7::jsonb[], $8::jsonb[]) \
       AS m(id, cabinet_id, cell, contractor_id, scooter_id, flag, was, becomes)), \
     moved AS (UPDATE scooter_accumulator.accumulators a SET cabinet_id = m.cabinet_id, cell = m.cell, \
       contractor_id = m.contractor_id, scooter_id = m.scooter_id, flagged = a.flagged OR m.flag, \
       version = a.version + 1, updated_at = now() FROM m WHERE a.id = m.id RETURNING a.id) \
     INSERT INTO scooter_accumulator.accumulator_moves \
       (accumulator_id, kind, \"from\", \"to\", booking_id, command_id) \
     SELECT m.id, $9::scooter_accumulator.move_kind, m.was, m.becomes, $10, $11 \
     FROM moved JOIN m ON m.id = moved.id ORDER BY m.id";
const CREATE: &str = "WITH made AS (INSERT INTO scooter_accumulator.accumulators \
       (id, charge, cabinet_id, cell, contractor_id, scooter_id, flagged) \
       VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO NOTHING RETURNING id) \
     INSERT INTO scooter_accumulator.accumulator_moves \
       (accumulator_id, kind, \"from\", \"to\", booking_id, command_id) \
     SELECT id, $8::scooter_accumulator.move_kind, NULL, $9, $10, $11 FROM made";
const SET_CHARGES: &str = "UPDATE scooter_accumulator.accumulators a SET charge = n.charge, \
     version = a.version + 1, updated_at = now() \
     FROM UNNEST($1::text[], $2::smallint[]) AS n(id, charge) \
     WHERE a.id = n.id AND a.charge <> n.charge";

/// Locks accumulators in the order of their ids. Those that do not exist are left out.
pub async fn lock(mut connection: &Connection, ids: &[&AccumulatorId]) -> Result<Vec<Locked>> {
    let ids: Vec<&str> = ids.iter().map(|id| id.as_str()).collect();
    let query = diesel::sql_query(LOCK).bind::<Array<Text>, _>(ids);
    locked(query.prepared().load(&mut connection).await?)
}

/// Locks every accumulator that is in a cabinet. The caller holds the cabinet's row.
pub async fn lock_of_cabinet(
    mut connection: &Connection,
    cabinet: &CabinetId,
) -> Result<Vec<Locked>> {
    let query = diesel::sql_query(LOCK_OF_CABINET).bind::<Text, _>(cabinet.as_str());
    locked(query.prepared().load(&mut connection).await?)
}

fn locked(rows: Vec<AccumulatorRow>) -> Result<Vec<Locked>> {
    rows.into_iter().map(|row| row.read().map(Locked)).collect()
}

/// An accumulator and where it comes to.
#[derive(Debug)]
pub struct Move {
    pub accumulator: Locked,
    /// `None`: it is lost.
    pub to: Option<Place>,
    /// Whether a person is to look at it.
    pub flag: bool,
}

/// Moves accumulators, and writes the moves down. Those that are there already are left alone. Two may
/// change places. Whoever moves one into a cell holds that cabinet's row.
///
/// # Errors
/// `conflict` when a cell is taken or does not exist.
pub async fn move_all(mut connection: &Connection, moves: &[Move], cause: Cause) -> Result<()> {
    let moves: Vec<&Move> =
        moves.iter().filter(|made| made.to != made.accumulator.0.place).collect();
    if moves.is_empty() {
        return Ok(());
    }
    let to: Vec<PlaceColumns> = moves.iter().map(|made| made.to.as_ref().into()).collect();
    let ids: Vec<&str> = moves.iter().map(|made| made.accumulator.0.id.as_str()).collect();
    let written = diesel::sql_query(MOVE)
        .bind::<Array<Text>, _>(ids)
        .bind::<Array<Nullable<Text>>, _>(texts(&to, |to| {
            to.cabinet_id.as_ref().map(CabinetId::as_str)
        }))
        .bind::<Array<Nullable<Integer>>, _>(to.iter().map(|to| to.cell).collect::<Vec<_>>())
        .bind::<Array<Nullable<Text>>, _>(texts(&to, |to| {
            to.contractor_id.as_ref().map(ContractorId::as_str)
        }))
        .bind::<Array<Nullable<Text>>, _>(texts(&to, |to| {
            to.scooter_id.as_ref().map(ScooterId::as_str)
        }))
        .bind::<Array<Bool>, _>(moves.iter().map(|made| made.flag).collect::<Vec<_>>())
        .bind::<Array<Nullable<Jsonb>>, _>(jsons(
            moves.iter().map(|m| m.accumulator.0.place.as_ref()),
        ))
        .bind::<Array<Nullable<Jsonb>>, _>(jsons(moves.iter().map(|made| made.to.as_ref())))
        .bind::<Text, _>(cause.kind.as_str())
        .bind::<Nullable<SqlUuid>, _>(cause.booking_id)
        .bind::<Nullable<SqlUuid>, _>(cause.command_id)
        .prepared()
        .execute(&mut connection)
        .await?;
    if written == moves.len() {
        return Ok(());
    }
    Err(Error::internal("an accumulator to be moved was not there"))
}

/// Makes an accumulator known; false when there is one with this id.
///
/// # Errors
/// `conflict` when its cell is taken or does not exist.
pub async fn create(
    mut connection: &Connection,
    accumulator: &Accumulator,
    cause: Cause,
) -> Result<bool> {
    let place = PlaceColumns::from(accumulator.place.as_ref());
    let written = diesel::sql_query(CREATE)
        .bind::<Text, _>(accumulator.id.as_str())
        .bind::<SmallInt, _>(accumulator.charge)
        .bind::<Nullable<Text>, _>(place.cabinet_id.as_ref().map(CabinetId::as_str))
        .bind::<Nullable<Integer>, _>(place.cell)
        .bind::<Nullable<Text>, _>(place.contractor_id.as_ref().map(ContractorId::as_str))
        .bind::<Nullable<Text>, _>(place.scooter_id.as_ref().map(ScooterId::as_str))
        .bind::<Bool, _>(accumulator.flagged)
        .bind::<Text, _>(cause.kind.as_str())
        .bind::<Nullable<Jsonb>, _>(accumulator.place.as_ref().map(|place| Json(place.clone())))
        .bind::<Nullable<SqlUuid>, _>(cause.booking_id)
        .bind::<Nullable<SqlUuid>, _>(cause.command_id)
        .prepared()
        .execute(&mut connection)
        .await?;
    Ok(written == 1)
}

/// Writes charges that changed. The caller has locked the accumulators.
pub async fn set_charges(
    mut connection: &Connection,
    charges: &[(&AccumulatorId, i16)],
) -> Result<()> {
    let (ids, charges): (Vec<&str>, Vec<i16>) =
        charges.iter().map(|(id, charge)| (id.as_str(), *charge)).unzip();
    if ids.is_empty() {
        return Ok(());
    }
    diesel::sql_query(SET_CHARGES)
        .bind::<Array<Text>, _>(ids)
        .bind::<Array<SmallInt>, _>(charges)
        .prepared()
        .execute(&mut connection)
        .await?;
    Ok(())
}

fn texts(
    columns: &[PlaceColumns],
    text: impl Fn(&PlaceColumns) -> Option<&str>,
) -> Vec<Option<&str>> {
    columns.iter().map(text).collect()
}

fn jsons<'a>(places: impl Iterator<Item = Option<&'a Place>>) -> Vec<Option<Json<Place>>> {
    places.map(|place| place.map(|place| Json(place.clone()))).collect()
}
