//! For how long shift states are kept: the history, and states of which nothing was heard any more.
//!
//! A state that is too old becomes a tombstone first, so that pollers learn that it is gone. One
//! instance at a time cleans; the others pass.

use std::time::Duration;

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Bool, Integer, Timestamptz};
use diesel_async::RunQueryDsl;
use jiff_diesel::ToDiesel as _;

use super::feeds::{Feed, take_numbers};
use crate::platform::context::Context;
use crate::platform::database::{Connection, Database};
use crate::platform::error::Result;
use crate::platform::shutdown::Shutdown;

/// How often it is cleaned; the first time soon after the start.
const EVERY: Duration = Duration::from_mins(10);
const FIRST: Duration = Duration::from_secs(2);
/// One batch takes no longer.
const PATIENCE: Duration = Duration::from_secs(20);
/// Rows of one batch, and batches of one round.
const BATCH: i64 = 1_000;
const BATCHES: usize = 1_000;
/// Between two batches others have their turn.
const BREATH: Duration = Duration::from_millis(20);

/// Held, to the end of a batch, by the one that cleans.
const ALONE: &str =
    "SELECT pg_try_advisory_xact_lock(hashtextextended('deptrans retention', 0)) AS held";
const FORGET_HISTORY: &str = "DELETE FROM deptrans.session_status_history WHERE ctid = ANY(ARRAY(\
     SELECT ctid FROM deptrans.session_status_history \
     WHERE recorded_at < now() - make_interval(days => $1) ORDER BY recorded_at LIMIT $2))";
/// Of `seq` that of `updated_at` is the order too. A state that still holds is shown by `occurred_at`.
const ANY_STALE: &str = "SELECT count(*) AS rows FROM (SELECT FROM deptrans.session_statuses \
     WHERE session_status IS NOT NULL AND updated_at < now() - make_interval(days => $1) \
       AND occurred_at < now() - make_interval(days => $1) LIMIT $2) s";
const BURY: &str = "WITH stale AS (SELECT driver_license_pd_id, row_number() OVER (ORDER BY seq) AS place \
       FROM deptrans.session_statuses \
       WHERE session_status IS NOT NULL AND updated_at < now() - make_interval(days => $1) \
         AND occurred_at < now() - make_interval(days => $1) ORDER BY seq LIMIT $2) \
     UPDATE deptrans.session_statuses s SET seq = $3 + stale.place, updated_at = $4, \
       session_status = NULL, ended_at = NULL \
     FROM stale WHERE s.driver_license_pd_id = stale.driver_license_pd_id";

#[derive(QueryableByName)]
struct Held {
    #[diesel(sql_type = Bool)]
    held: bool,
}

#[derive(QueryableByName)]
struct Rows {
    #[diesel(sql_type = BigInt)]
    rows: i64,
}

/// Cleans until the process stops. States and history are kept for `days`.
pub(super) async fn run(database: Database, days: u8, stop: Shutdown) {
    let mut pause = FIRST.mul_f64(rand::random::<f64>());
    while !stop.wait_or(pause).await {
        pause = EVERY;
        match round(&database, days, &stop).await {
            Ok((0, 0)) => {}
            Ok((history, states)) => {
                tracing::info!(history, states, "old shift states were cleaned away");
            }
            Err(error) => {
                let (code, cause) = (error.code(), error.chain());
                tracing::warn!(code, cause, "old shift states are not cleaned away for now");
            }
        }
    }
}

/// One round; how many states of the past, and how many that were still shown, went.
async fn round(database: &Database, days: u8, stop: &Shutdown) -> Result<(usize, usize)> {
    let (mut history, mut states) = (0, 0);
    for _ in 0..BATCHES {
        let context = Context::background("deptrans retention", PATIENCE);
        let forgotten = database
            .transaction(&context, async |connection| {
                if alone(connection).await? {
                    forget_history(connection, days).await
                } else {
                    Ok(0)
                }
            })
            .await?;
        let buried = database
            .transaction(&context, async |connection| {
                if alone(connection).await? { bury(connection, days).await } else { Ok(0) }
            })
            .await?;
        history += forgotten;
        states += buried;
        if forgotten + buried == 0 || stop.wait_or(BREATH).await {
            break;
        }
    }
    Ok((history, states))
}

async fn alone(connection: &mut Connection) -> Result<bool> {
    Ok(diesel::sql_query(ALONE).get_result::<Held>(connection).await?.held)
}

async fn forget_history(connection: &mut Connection, days: u8) -> Result<usize> {
    let forget = diesel::sql_query(FORGET_HISTORY)
        .bind::<Integer, _>(i32::from(days))
        .bind::<BigInt, _>(BATCH);
    Ok(forget.execute(connection).await?)
}

async fn bury(connection: &mut Connection, days: u8) -> Result<usize> {
    let any =
        diesel::sql_query(ANY_STALE).bind::<Integer, _>(i32::from(days)).bind::<BigInt, _>(BATCH);
    let stale = any.get_result::<Rows>(connection).await?.rows;
    let Some(count) = usize::try_from(stale).ok().filter(|count| *count > 0) else { return Ok(0) };
    let numbers = take_numbers(connection, Feed::Statuses, count).await?;
    let bury = diesel::sql_query(BURY)
        .bind::<Integer, _>(i32::from(days))
        .bind::<BigInt, _>(stale)
        .bind::<BigInt, _>(numbers.base)
        .bind::<Timestamptz, _>(numbers.at.to_diesel());
    Ok(bury.execute(connection).await?)
}
