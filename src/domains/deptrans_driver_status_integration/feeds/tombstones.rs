//! Removes tombstones that are too old to tell anybody. A cursor from before one that was removed is
//! refused, so that its poller begins anew and misses nothing.

use std::time::Duration;

use diesel::sql_types::{BigInt, Bool, Integer, Text};
use diesel_async::RunQueryDsl;

use super::metrics::FeedsMetrics;
use super::numbers::Feed;
use crate::platform::context::Context;
use crate::platform::database::{Connection, Database, prepared_statement};
use crate::platform::error::Result;
use crate::platform::shutdown::Shutdown;

/// Rows of one transaction; writers of the feed wait for it.
const BATCH: i64 = 1_000;
/// Between two of them.
const BREATH: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(20);
/// One process at a time, by this advisory lock.
const LOCK: i64 = 0x6465_7074_746f_6d62;

prepared_statement! {
    struct TryLock<'a> returns Bool;
    "SELECT pg_try_advisory_xact_lock(",
    key: &'a i64 => BigInt, ")",
}

prepared_statement! {
    /// Takes the feed without a number: its writers wait from here to the commit.
    struct TakeFeed<'a> returns BigInt;
    "SELECT last_seq FROM deptrans.feeds WHERE name = ",
    feed: &'a str => Text, " FOR UPDATE",
}

/// Removes tombstones; the last number among them is what no cursor may lie before any more. The feed
/// was taken by an earlier statement, so that nobody changes one meanwhile.
macro_rules! forget {
    ($name:ident, $feed:literal, $table:literal, $value:literal) => {
        prepared_statement! {
            struct $name<'a> returns BigInt;
            concat!(
                "WITH gone AS (DELETE FROM deptrans.", $table, " WHERE seq IN \
(SELECT seq FROM deptrans.", $table, " WHERE ", $value, " IS NULL \
AND updated_at < now() - make_interval(days => "
            ),
            days: &'a i32 => Integer,
            ") ORDER BY updated_at LIMIT ",
            limit: i64 => BigInt,
            concat!(
                ") RETURNING seq), \
told AS (UPDATE deptrans.feeds SET forgotten_seq = GREATEST(forgotten_seq, \
(SELECT max(seq) FROM gone)) WHERE name = '", $feed, "' \
AND EXISTS (SELECT FROM gone)) \
SELECT count(*) FROM gone"
            ),
        }
    };
}

forget!(ForgetBindings, "bindings", "profiles", "deptrans_id");
forget!(ForgetStatuses, "statuses", "session_statuses", "session_status");

/// Does so until the process stops, which begins it at a random part of the usual pause.
pub async fn forget(
    database: Database,
    days: u32,
    every: Duration,
    metrics: FeedsMetrics,
    stop: Shutdown,
) {
    let days = i32::try_from(days).unwrap_or(i32::MAX);
    let mut pause = every.mul_f64(rand::random::<f64>());
    while !stop.wait_or(pause).await {
        pause = every;
        for feed in Feed::ALL {
            if let Err(error) = round(&database, feed, days, &metrics, &stop).await {
                let (code, cause) = (error.code(), error.chain());
                tracing::warn!(code, cause, "old tombstones of an update feed stay");
            }
        }
    }
}

/// Removes a feed's old tombstones, batch by batch.
async fn round(
    database: &Database,
    feed: Feed,
    days: i32,
    metrics: &FeedsMetrics,
    stop: &Shutdown,
) -> Result<()> {
    loop {
        let context = Context::background("update feeds", PATIENCE);
        let gone = database
            .transaction(&context, async |connection| batch(connection, feed, days).await)
            .await?;
        metrics.forgotten.with_label_values(&[feed.name()]).inc_by(gone.unsigned_abs());
        if gone < BATCH || stop.wait_or(BREATH).await {
            return Ok(());
        }
    }
}

async fn batch(connection: &mut Connection, feed: Feed, days: i32) -> Result<i64> {
    let mine: bool = TryLock { key: &LOCK }.get_result(connection).await?;
    if !mine {
        return Ok(0);
    }
    let _: i64 = TakeFeed { feed: feed.name() }.get_result(connection).await?;
    Ok(match feed {
        Feed::Bindings => {
            ForgetBindings { days: &days, limit: BATCH }.get_result(connection).await?
        }
        Feed::Statuses => {
            ForgetStatuses { days: &days, limit: BATCH }.get_result(connection).await?
        }
    })
}
