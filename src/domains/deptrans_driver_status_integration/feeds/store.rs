//! What the feeds hold, as it is read behind a number.

use diesel::Queryable;
use diesel::sql_types::{Array, BigInt, Binary, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use jiff::Timestamp;
use jiff_diesel::Timestamp as SqlTimestamp;

use super::numbers::Feed;
use crate::platform::database::{Connection, PackedId, prepared_statement};
use crate::platform::error::Result;

prepared_statement! {
    /// Bindings behind a number in their order, each with how far the feed has come; one row without
    /// a binding when there is none.
    struct Bindings<'a> returns (BigInt, BigInt, Nullable<(BigInt, Timestamptz, Binary, Nullable<Binary>)>);
    "SELECT f.last_seq, f.forgotten_seq, \
       p.seq, p.updated_at, p.driver_license_pd_id, p.deptrans_id \
     FROM deptrans.feeds f \
     LEFT JOIN LATERAL (SELECT * FROM deptrans.profiles WHERE seq > ",
    after: i64 => BigInt, " ORDER BY seq LIMIT ",
    limit: i64 => BigInt, ") p ON true WHERE f.name = ",
    feed: &'a str => Text, " ORDER BY p.seq",
}

prepared_statement! {
    /// The same of the states of shifts.
    struct Statuses<'a> returns (BigInt, BigInt, Nullable<(BigInt, Timestamptz, Binary, Nullable<Text>, Nullable<Timestamptz>)>);
    "SELECT f.last_seq, f.forgotten_seq, \
       s.seq, s.updated_at, s.driver_license_pd_id, s.session_status::text, s.ended_at \
     FROM deptrans.feeds f \
     LEFT JOIN LATERAL (SELECT * FROM deptrans.session_statuses WHERE seq > ",
    after: i64 => BigInt, " ORDER BY seq LIMIT ",
    limit: i64 => BigInt, ") s ON true WHERE f.name = ",
    feed: &'a str => Text, " ORDER BY s.seq",
}

prepared_statement! {
    struct LastNumbers<'a> returns (Text, BigInt);
    "SELECT name, last_seq FROM deptrans.feeds WHERE name = ANY(",
    names: &'a [&'a str] => Array<Text>, ")",
}

/// The name and the last number of each feed.
pub async fn last_numbers(mut connection: &Connection) -> Result<Vec<(String, i64)>> {
    let names = Feed::ALL.map(Feed::name);
    Ok(LastNumbers { names: &names }.load(&mut connection).await?)
}

/// Rows of a feed, and how far it had come when they were read.
pub struct Read<R> {
    /// The feed's last number.
    pub last_seq: i64,
    /// The number of the last tombstone that was forgotten.
    pub forgotten_seq: i64,
    /// In the order of their numbers.
    pub rows: Vec<R>,
}

impl<R> Read<R> {
    fn new(rows: Vec<(i64, i64, Option<R>)>) -> Self {
        let (last_seq, forgotten_seq) =
            rows.as_slice().first().map_or((0, 0), |(last, forgotten, _)| (*last, *forgotten));
        Self { last_seq, forgotten_seq, rows: rows.into_iter().filter_map(|row| row.2).collect() }
    }
}

/// A row that pollers follow.
pub trait Followed: Sized + Send + 'static {
    /// Its feed.
    const FEED: Feed;

    /// Up to `limit` rows behind `after`.
    ///
    /// # Errors
    /// The database fails.
    fn read(
        connection: &Connection,
        after: i64,
        limit: i64,
    ) -> impl Future<Output = Result<Read<Self>>> + Send;

    /// The number of its last change.
    fn seq(&self) -> i64;

    /// When that was.
    fn updated_at(&self) -> Timestamp;
}

/// A licence and its driver's id.
#[derive(Queryable)]
pub struct BindingRow {
    seq: i64,
    updated_at: SqlTimestamp,
    pub license: PackedId,
    /// `None`: it was removed.
    pub deptrans_id: Option<PackedId>,
}

impl Followed for BindingRow {
    const FEED: Feed = Feed::Bindings;

    async fn read(mut connection: &Connection, after: i64, limit: i64) -> Result<Read<Self>> {
        let statement = Bindings { after, limit, feed: Self::FEED.name() };
        Ok(Read::new(statement.load(&mut connection).await?))
    }

    fn seq(&self) -> i64 {
        self.seq
    }

    fn updated_at(&self) -> Timestamp {
        self.updated_at.to_jiff()
    }
}

/// A licence and the state of its driver's shift.
#[derive(Queryable)]
pub struct StatusRow {
    seq: i64,
    updated_at: SqlTimestamp,
    pub license: PackedId,
    /// `None`: it was removed.
    pub session_status: Option<String>,
    ended_at: Option<SqlTimestamp>,
}

impl StatusRow {
    pub fn ended_at(&self) -> Option<Timestamp> {
        self.ended_at.map(SqlTimestamp::to_jiff)
    }
}

impl Followed for StatusRow {
    const FEED: Feed = Feed::Statuses;

    async fn read(mut connection: &Connection, after: i64, limit: i64) -> Result<Read<Self>> {
        let statement = Statuses { after, limit, feed: Self::FEED.name() };
        Ok(Read::new(statement.load(&mut connection).await?))
    }

    fn seq(&self) -> i64 {
        self.seq
    }

    fn updated_at(&self) -> Timestamp {
        self.updated_at.to_jiff()
    }
}
