//! SQL of the senders: taking statuses from the queue, and settling what became of them.

use diesel::Queryable;
use diesel::sql_types::{
    Array, BigInt, Binary, Bool, Double, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::RunQueryDsl;
use jiff_diesel::Timestamp as SqlTimestamp;
use secrecy::SecretString;
use uuid::Uuid;

use crate::platform::database::{Connection, PackedId, prepared_statement};
use crate::platform::error::Result;

/// The columns of an [`Entry`].
#[rustfmt::skip]
type TakenRow = (
    Binary, Binary, Bool, Timestamptz, Timestamptz, Text, SmallInt, Nullable<Bool>,
    Nullable<Timestamptz>, Nullable<Binary>, Nullable<Binary>,
);

prepared_statement! {
    /// Takes what is due, those on line first, and leaves a lease on it.
    struct Take<'a> returns TakenRow;
    "UPDATE deptrans.status_queue SET due_at = clock_timestamp() + make_interval(secs => ",
    lease_seconds: f64 => Double,
    "), lease = ",
    lease: &'a Uuid => SqlUuid,
    " WHERE ctid = ANY(ARRAY(\
       SELECT place FROM (SELECT ctid AS place FROM deptrans.status_queue \
         WHERE NOT off_line AND due_at <= now() ORDER BY due_at LIMIT ",
    most: i64 => BigInt,
    " FOR UPDATE SKIP LOCKED) on_line \
       UNION ALL SELECT place FROM (SELECT ctid AS place FROM deptrans.status_queue \
         WHERE off_line AND due_at <= now() ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED) off_line \
       LIMIT $3)) \
     RETURNING park_id, driver_id, off_line, queued_at, occurred_at, tiebreak, attempts, \
       reported_on_line, former_at, former_id, driver_license_pd_id",
}

/// A status that was taken.
#[derive(Debug, Clone, Queryable)]
pub(super) struct Entry {
    pub park_id: PackedId,
    pub driver_id: PackedId,
    pub off_line: bool,
    queued_at: SqlTimestamp,
    pub occurred_at: SqlTimestamp,
    pub tiebreak: String,
    pub attempts: i16,
    /// Whether the regulator was last told that the driver is on line.
    pub reported_on_line: Option<bool>,
    former_at: Option<SqlTimestamp>,
    former_id: Option<PackedId>,
    license: Option<PackedId>,
}

/// The id that was taken from a driver whom the regulator may have on line under it.
pub(super) struct Former<'a> {
    pub id: &'a PackedId,
    /// Whose it was.
    pub license: &'a PackedId,
    /// When it was taken.
    pub at: SqlTimestamp,
}

impl Entry {
    /// Whether he was told on line under another licence than `today`'s, and nothing is owed for it yet.
    pub fn has_left(&self, today: &PackedId) -> bool {
        let is_other = self.license.as_ref().is_some_and(|license| license != today);
        is_other && self.reported_on_line == Some(true) && self.former_id.is_none()
    }

    /// What he owes before his status is looked at was noted.
    pub fn owes(&mut self, at: SqlTimestamp, id: PackedId) {
        (self.former_at, self.former_id) = (Some(at), Some(id));
    }

    /// The licence as of the last look.
    pub fn last_license(&self) -> Option<&PackedId> {
        self.license.as_ref()
    }

    /// Under which id he is to be reported off line, before his status is looked at.
    pub fn former(&self) -> Option<Former<'_>> {
        let (id, license) = (self.former_id.as_ref()?, self.license.as_ref()?);
        Some(Former { id, license, at: self.former_at? })
    }
}

/// Takes up to `most` statuses under a lease, in the order in which they are to be sent.
pub(super) async fn take(
    mut connection: &Connection,
    lease: Uuid,
    lease_seconds: f64,
    most: usize,
) -> Result<Vec<Entry>> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let take = Take { lease_seconds, lease: &lease, most };
    let mut entries: Vec<Entry> = take.load(&mut connection).await?;
    entries.sort_unstable_by_key(|entry| (entry.off_line, entry.queued_at.to_jiff()));
    Ok(entries)
}

prepared_statement! {
    struct FindIds<'a> returns (Binary, Binary);
    "SELECT driver_license_pd_id, deptrans_id FROM deptrans.profiles \
     WHERE deptrans_id IS NOT NULL AND driver_license_pd_id = ANY(",
    licenses: &'a [PackedId] => Array<Binary>, ")",
}

/// The drivers' ids at the regulator, by licence; of those who have one.
pub(super) async fn find_ids(
    mut connection: &Connection,
    licenses: &[PackedId],
) -> Result<Vec<(PackedId, SecretString)>> {
    let found: Vec<(PackedId, PackedId)> = FindIds { licenses }.load(&mut connection).await?;
    let secret = |id: &PackedId| SecretString::from(id.text().into_owned());
    Ok(found.iter().map(|(license, id)| (license.clone(), secret(id))).collect())
}

/// What becomes of a row of the queue, unless a newer status came: that one is due then.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Rest {
    /// It stays, and waits no more.
    Rests,
    /// It waits, and is due after this; the attempt counts.
    Later(f64),
    /// It waits behind all others.
    Last,
    /// It waits where it was; nothing happened to it.
    Back,
}

impl Rest {
    fn code(self) -> i16 {
        match self {
            Self::Rests => 0,
            Self::Later(_) => 1,
            Self::Last => 2,
            Self::Back => 3,
        }
    }

    fn pause(self) -> f64 {
        if let Self::Later(pause) = self { pause } else { 0.0 }
    }
}

/// Where a driver was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whereabouts {
    /// It was not asked.
    Unasked,
    /// In none of the regions, or nowhere that is known.
    Elsewhere,
    /// In the region of that id.
    In(i16),
}

impl Whereabouts {
    fn region(self) -> Option<i16> {
        if let Self::In(region) = self { Some(region) } else { None }
    }
}

/// One row to be settled.
#[derive(Debug)]
pub(super) struct Settlement<'a> {
    pub entry: &'a Entry,
    pub rest: Rest,
    /// Whether the regulator was told now that he is on line, or off it.
    pub reported_on_line: Option<bool>,
    pub whereabouts: Whereabouts,
    pub license: Option<&'a PackedId>,
}

prepared_statement! {
    /// Settles what is still under the lease. Rows are locked in the order of their keys, as the intake
    /// locks them. Where an id was taken from the driver, before or meanwhile, the row does not come to
    /// rest: it is due with that id, or with the status itself when that was said. Until then the licence
    /// that the id was of stays, too.
    struct Settle<'a> returns (BigInt, Double, Bool);
    "WITH held AS (SELECT e.*, q.lease FROM UNNEST(",
    parks: Vec<&'a PackedId> => Array<Binary>, ", ",
    drivers: Vec<&'a PackedId> => Array<Binary>, ", ",
    occurred_at: Vec<SqlTimestamp> => Array<Timestamptz>, ", ",
    tiebreaks: Vec<&'a str> => Array<Text>, ", ",
    rests: Vec<i16> => Array<SmallInt>, ", ",
    pauses: Vec<f64> => Array<Double>, ", ",
    reported: Vec<Option<bool>> => Array<Nullable<Bool>>, ", ",
    located: Vec<bool> => Array<Bool>, ", ",
    regions: Vec<Option<i16>> => Array<Nullable<SmallInt>>, ", ",
    licenses: Vec<Option<&'a PackedId>> => Array<Nullable<Binary>>, ", ",
    formers: Vec<bool> => Array<Bool>,
    ") WITH ORDINALITY AS e(park_id, driver_id, occurred_at, tiebreak, rest, pause, reported, located, \
         region, license, is_former, place) \
       JOIN deptrans.status_queue q USING (park_id, driver_id) WHERE q.lease = ",
    lease: &'a Uuid => SqlUuid,
    " ORDER BY park_id, driver_id FOR UPDATE OF q) \
     UPDATE deptrans.status_queue q SET lease = NULL, \
       queued_at = CASE WHEN h.rest <> 0 THEN q.queued_at \
         WHEN q.former_id IS NOT NULL \
           OR (q.occurred_at, q.tiebreak) IS DISTINCT FROM (h.occurred_at, h.tiebreak) \
           THEN clock_timestamp() END, \
       due_at = CASE WHEN h.rest = 0 AND q.former_id IS NOT NULL THEN clock_timestamp() \
         WHEN (q.occurred_at, q.tiebreak) IS DISTINCT FROM (h.occurred_at, h.tiebreak) \
           THEN CASE WHEN h.rest = 0 THEN clock_timestamp() ELSE q.queued_at END \
         WHEN h.rest = 1 THEN clock_timestamp() + make_interval(secs => h.pause) \
         WHEN h.rest = 2 THEN clock_timestamp() \
         WHEN h.rest = 3 THEN q.queued_at END, \
       attempts = CASE WHEN h.rest IN (2, 3) THEN q.attempts \
         WHEN h.rest = 1 AND (q.occurred_at, q.tiebreak) = (h.occurred_at, h.tiebreak) \
           THEN LEAST(q.attempts + 1, 1000) ELSE 0 END, \
       replaced = CASE WHEN h.rest = 0 THEN 0 ELSE q.replaced END, \
       reported_on_line = COALESCE(h.reported, q.reported_on_line), \
       region = CASE WHEN h.located THEN h.region ELSE q.region END, \
       driver_license_pd_id = CASE WHEN q.former_id IS NOT NULL AND NOT h.is_former \
         THEN q.driver_license_pd_id ELSE COALESCE(h.license, q.driver_license_pd_id) END, \
       former_id = CASE WHEN h.rest <> 0 OR NOT h.is_former THEN q.former_id END, \
       former_at = CASE WHEN h.rest <> 0 OR NOT h.is_former THEN q.former_at END \
     FROM held h WHERE q.park_id = h.park_id AND q.driver_id = h.driver_id AND q.lease = h.lease \
     RETURNING h.place - 1, extract(epoch FROM clock_timestamp() - h.occurred_at)::float8, \
       h.rest = 0 AND (q.occurred_at, q.tiebreak) IS DISTINCT FROM (h.occurred_at, h.tiebreak)",
}

/// A row that was settled.
#[derive(Debug, Clone, Copy, Queryable)]
pub(super) struct Settled {
    /// Its place among the settlements.
    place: i64,
    /// Seconds from the event to now.
    pub age: f64,
    /// A newer status came meanwhile and is due.
    pub is_due_again: bool,
}

impl Settled {
    pub fn place(&self) -> usize {
        usize::try_from(self.place).unwrap_or(usize::MAX)
    }
}

/// Settles those of the rows that are still under the lease, and tells which those were.
pub(super) async fn settle(
    connection: &mut Connection,
    lease: Uuid,
    rows: &[Settlement<'_>],
) -> Result<Vec<Settled>> {
    let settle = Settle {
        parks: rows.iter().map(|row| &row.entry.park_id).collect(),
        drivers: rows.iter().map(|row| &row.entry.driver_id).collect(),
        occurred_at: rows.iter().map(|row| row.entry.occurred_at).collect(),
        tiebreaks: rows.iter().map(|row| row.entry.tiebreak.as_str()).collect(),
        rests: rows.iter().map(|row| row.rest.code()).collect(),
        pauses: rows.iter().map(|row| row.rest.pause()).collect(),
        reported: rows.iter().map(|row| row.reported_on_line).collect(),
        located: rows.iter().map(|row| row.whereabouts != Whereabouts::Unasked).collect(),
        regions: rows.iter().map(|row| row.whereabouts.region()).collect(),
        licenses: rows.iter().map(|row| row.license).collect(),
        formers: rows.iter().map(|row| row.entry.former().is_some()).collect(),
        lease: &lease,
    };
    Ok(settle.load(connection).await?)
}
