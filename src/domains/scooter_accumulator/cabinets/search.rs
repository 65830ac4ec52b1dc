//! Cabinets with their counts: one, a page of all, and the nearest. One statement each.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Double, Integer, Nullable, SmallInt, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use jiff_diesel::Timestamp as SqlTimestamp;

use super::cells::cell_use;
use super::model::{Cabinet, Counts};
use super::near::Circle;
use crate::domains::scooter_accumulator::ids::CabinetId;
use crate::platform::database::{Connection, prepared_statement};
use crate::platform::error::{Error, Result};

/// A cabinet, and what is not shown of it.
#[derive(Debug, Clone)]
pub struct Found {
    pub cabinet: Cabinet,
    pub version: i32,
}

#[derive(Queryable)]
struct Row {
    id: String,
    lat: f64,
    lon: f64,
    cell_count: i32,
    online: bool,
    last_seen_at: Option<SqlTimestamp>,
    version: i32,
    available: i32,
    charging: i32,
    empty: i32,
    booked: i32,
    broken: i32,
    distance_m: Option<f64>,
}

type Columns = (
    Text,
    Double,
    Double,
    Integer,
    Bool,
    Nullable<Timestamptz>,
    Integer,
    Integer,
    Integer,
    Integer,
    Integer,
    Integer,
    Nullable<Double>,
);

impl Row {
    fn read(self) -> Result<Found> {
        let counts = Counts {
            available: self.available,
            charging: self.charging,
            empty: self.empty,
            booked: self.booked,
            broken: self.broken,
        };
        let cabinet = Cabinet {
            id: CabinetId::try_from(self.id).map_err(Error::internal)?,
            lat: self.lat,
            lon: self.lon,
            cell_count: self.cell_count,
            online: self.online,
            last_seen_at: self.last_seen_at.map(SqlTimestamp::to_jiff),
            counts,
            distance_m: self.distance_m,
        };
        Ok(Found { cabinet, version: self.version })
    }
}

// The statements begin with `asked`, which only brings their parameters in, each once and in order: the
// rest names them by their numbers.

/// Selects cabinets `k`, each with the counts `n` of its cells, which are taken cabinet by cabinet as
/// far as the page needs. `OFFSET 0` keeps PostgreSQL from putting a cell's use into each of the five
/// counts, where it would look for the cell's bookings five times, and plan each.
macro_rules! counted {
    ($cabinets:expr, $min_charge:literal) => {
        concat!(
            "SELECT k.id, k.lat, k.lon, k.cell_count, k.online, k.last_seen_at, k.version, \
             n.available, n.charging, n.empty, n.booked, n.broken, k.distance_m FROM (",
            $cabinets,
            ") k CROSS JOIN LATERAL (SELECT \
             (count(*) FILTER (WHERE u.use = 'available'))::integer AS available, \
             (count(*) FILTER (WHERE u.use = 'charging'))::integer AS charging, \
             (count(*) FILTER (WHERE u.use = 'empty'))::integer AS empty, \
             (count(*) FILTER (WHERE u.use = 'booked'))::integer AS booked, \
             (count(*) FILTER (WHERE u.use = 'broken'))::integer AS broken FROM (SELECT ",
            cell_use!($min_charge),
            " AS use FROM scooter_accumulator.cells c LEFT JOIN scooter_accumulator.accumulators a \
             ON a.cabinet_id = c.cabinet_id AND a.cell = c.n WHERE c.cabinet_id = k.id OFFSET 0) u) n"
        )
    };
}

prepared_statement! {
    /// One cabinet.
    struct One<'a> returns Columns;
    "WITH asked AS (SELECT ",
    id: &'a str => Text, concat!(" AS id) ", counted!(
        "SELECT c.*, NULL::double precision AS distance_m FROM scooter_accumulator.cabinets c \
         JOIN asked USING (id)", "NULL::smallint")),
}

prepared_statement! {
    /// A page of all cabinets, in the order of their ids.
    struct Page<'a> returns Columns;
    "WITH asked AS (SELECT ",
    after: &'a str => Text, " AS after, ",
    min_charge: Option<i16> => Nullable<SmallInt>, " AS min_charge, ",
    available: Option<i32> => Nullable<Integer>, concat!(" AS available) ", counted!(
        "SELECT c.*, NULL::double precision AS distance_m FROM scooter_accumulator.cabinets c \
         WHERE c.id > $1 AND ($3 IS NULL OR c.online OR c.last_seen_at IS NULL) ORDER BY c.id",
        "$2"), " WHERE $3 IS NULL OR n.available >= $3 ORDER BY k.id LIMIT "),
    limit: i64 => BigInt, "",
}

prepared_statement! {
    /// The nearest cabinets behind (`after_m`, `after`), by the index over their places.
    struct Nearest<'a> returns Columns;
    "WITH asked AS (SELECT ",
    lat: f64 => Double, ", ",
    lon: f64 => Double, ", ",
    west: f64 => Double, ", ",
    south: f64 => Double, ", ",
    east: f64 => Double, ", ",
    north: f64 => Double, ", ",
    west_too: f64 => Double, ", ",
    south_too: f64 => Double, ", ",
    east_too: f64 => Double, ", ",
    north_too: f64 => Double, ", ",
    radius_m: f64 => Double, ", ",
    after_m: f64 => Double, ", ",
    after: &'a str => Text, ", ",
    min_charge: Option<i16> => Nullable<SmallInt>, ", ",
    available: Option<i32> => Nullable<Integer>, ", ",
    empty: Option<i32> => Nullable<Integer>, ", ",
    but: Option<&'a str> => Nullable<Text>, concat!(") ", counted!(
        "SELECT * FROM (SELECT c.*, scooter_accumulator.distance_m(c.lat, c.lon, $1, $2) AS distance_m \
           FROM scooter_accumulator.cabinets c \
           WHERE (point(c.lon, c.lat) <@ box(point($3, $4), point($5, $6)) \
             OR point(c.lon, c.lat) <@ box(point($7, $8), point($9, $10))) \
           AND c.id IS DISTINCT FROM $17 \
           AND (($15 IS NULL AND $16 IS NULL) OR c.online OR c.last_seen_at IS NULL)) c \
         WHERE c.distance_m <= $11 AND (c.distance_m, c.id) > ($12, $13) \
         ORDER BY c.distance_m, c.id", "$14"),
        " WHERE ($15 IS NULL OR n.available >= $15) AND ($16 IS NULL OR n.empty >= $16) \
         ORDER BY k.distance_m, k.id LIMIT "),
    limit: i64 => BigInt, "",
}

/// A cabinet.
pub async fn one(mut connection: &Connection, id: &CabinetId) -> Result<Option<Found>> {
    let row: Option<Row> = One { id: id.as_str() }.get_result(&mut connection).await.optional()?;
    row.map(Row::read).transpose()
}

/// Up to `limit` cabinets with ids behind `after`. Those with `available` or more accumulators to book,
/// if that is given; of offline ones none can be booked.
pub async fn page(
    mut connection: &Connection,
    after: &str,
    min_charge: Option<i16>,
    available: Option<i32>,
    limit: i64,
) -> Result<Vec<Found>> {
    let rows: Vec<Row> = Page { after, min_charge, available, limit }.load(&mut connection).await?;
    rows.into_iter().map(Row::read).collect()
}

/// What the nearest cabinets must have.
#[derive(Debug, Clone, Copy, Default)]
pub struct Needed<'a> {
    /// Counts by this charge.
    pub min_charge: Option<i16>,
    /// So many accumulators to book, or more.
    pub available: Option<i32>,
    /// So many empty cells to book, or more.
    pub empty: Option<i32>,
    /// Not this one.
    pub but: Option<&'a CabinetId>,
}

/// Up to `limit` cabinets within the circle, the nearest first, behind one that is `after.0` metres
/// away.
pub async fn nearest(
    mut connection: &Connection,
    circle: &Circle,
    needed: Needed<'_>,
    after: Option<(f64, &str)>,
    limit: i64,
) -> Result<Vec<Found>> {
    let [first, second] = circle.boxes();
    let (after_m, after) = after.unwrap_or((-1.0, ""));
    let statement = Nearest {
        lat: circle.lat,
        lon: circle.lon,
        west: first.west,
        south: first.south,
        east: first.east,
        north: first.north,
        west_too: second.west,
        south_too: second.south,
        east_too: second.east,
        north_too: second.north,
        radius_m: circle.radius_m,
        after_m,
        after,
        min_charge: needed.min_charge,
        available: needed.available,
        empty: needed.empty,
        but: needed.but.map(CabinetId::as_str),
        limit,
    };
    let rows: Vec<Row> = statement.load(&mut connection).await?;
    rows.into_iter().map(Row::read).collect()
}
