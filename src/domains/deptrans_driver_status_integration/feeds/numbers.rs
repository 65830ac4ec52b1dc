//! The numbers of changes, as whoever writes to a feed takes them.
//!
//! The feed's row is held from the taking to the commit: so numbers become visible in their order, and
//! whoever read up to one has missed none before it. That is also why the statement that takes numbers
//! comes last in its transaction, and why a transaction that writes to both feeds takes `bindings`
//! first. Rows of the feed's table must not be locked before its numbers are taken: all writers lock in
//! the same order then, and none waits for another in a circle.
//!
//! Numbers may be taken and not used; no reader minds a gap.

use diesel::sql_types::{BigInt, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use jiff::Timestamp;
use jiff_diesel::Timestamp as SqlTimestamp;

use crate::platform::database::{Connection, prepared_statement};
use crate::platform::error::Result;

/// The channel on which heads are told; the payload is the feed's name, a space and its last number.
pub const HEADS: &str = "fleet_deptrans_feeds";

/// What pollers follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feed {
    /// Licences and the drivers' ids at the regulator.
    Bindings,
    /// The states of shifts.
    Statuses,
}

impl Feed {
    /// Both, in the order in which a transaction takes their numbers.
    pub const ALL: [Self; 2] = [Self::Bindings, Self::Statuses];

    /// The feed of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|feed| feed.name() == name)
    }

    /// Its name in `deptrans.feeds`, in notifications and in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bindings => "bindings",
            Self::Statuses => "statuses",
        }
    }
}

/// For `concat!` in a statement that writes to a feed: a table expression `feed` of one row, which
/// takes `count` numbers (SQL) of the feed (its name, a literal) and tells of them at the commit. The
/// numbers are `base + 1` to `base + count`, the time of the change is `at`.
macro_rules! numbers_taken {
    ($feed:literal, $count:literal) => {
        concat!(
            "feed AS (UPDATE deptrans.feeds SET last_seq = last_seq + (",
            $count,
            ") WHERE name = '",
            $feed,
            "' RETURNING last_seq - (",
            $count,
            ") AS base, clock_timestamp() AS at, \
             pg_notify('fleet_deptrans_feeds', name || ' ' || last_seq))"
        )
    };
}

pub(in super::super) use numbers_taken;

prepared_statement! {
    struct Take<'a> returns (BigInt, Timestamptz);
    "WITH feed AS (UPDATE deptrans.feeds SET last_seq = last_seq + ",
    count: i64 => BigInt, " WHERE name = ",
    feed: &'a str => Text,
    " RETURNING last_seq - $1 AS base, clock_timestamp() AS at, \
       pg_notify('fleet_deptrans_feeds', name || ' ' || last_seq)) \
     SELECT base, at FROM feed",
}

/// Numbers that were taken.
#[derive(Debug, Clone, Copy)]
pub struct Numbers {
    /// The first is one more.
    pub base: i64,
    /// The time of the change: later than that of every smaller number.
    pub at: Timestamp,
}

/// Takes `count` numbers; the feed's other writers wait from here to the commit. For a statement that
/// cannot take them itself, as [`numbers_taken`] does.
///
/// # Errors
/// The database fails.
pub async fn take_numbers(
    connection: &mut Connection,
    feed: Feed,
    count: usize,
) -> Result<Numbers> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let take = Take { count, feed: feed.name() };
    let (base, at): (i64, SqlTimestamp) = take.get_result(connection).await?;
    Ok(Numbers { base, at: at.to_jiff() })
}
