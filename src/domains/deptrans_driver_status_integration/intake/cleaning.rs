//! Removes statuses that rest for long, and old dead letters. One instance at a time cleans; the
//! others pass.

use std::time::Duration;

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Bool, Integer};
use diesel_async::RunQueryDsl;

use super::settings::IntakeSettings;
use crate::platform::context::Context;
use crate::platform::database::{Connection, Database};
use crate::platform::error::Result;
use crate::platform::shutdown::Shutdown;

/// How often it is cleaned; each process begins at a random part of it.
const EVERY: Duration = Duration::from_mins(10);
/// One batch takes no longer.
const PATIENCE: Duration = Duration::from_secs(20);
/// Rows of one batch, and batches of one round.
const BATCH: i64 = 5_000;
const BATCHES: usize = 200;
/// Between two batches others have their turn.
const BREATH: Duration = Duration::from_millis(20);

/// Held, to the end of a batch, by the one that cleans.
const ALONE: &str =
    "SELECT pg_try_advisory_xact_lock(hashtextextended('deptrans intake', 0)) AS held";
/// Whoever the regulator believes on line stays ten times as long: his going off line must be told.
/// There is no index for it, which each event would have to change; a round reads the table once, and
/// once more for each batch. The conditions stand twice: a row may be upserted in between.
const FORGET_STATUSES: &str = "DELETE FROM deptrans.status_queue WHERE ctid = ANY(ARRAY(\
       SELECT ctid FROM deptrans.status_queue WHERE due_at IS NULL \
         AND occurred_at < now() - make_interval(hours => \
           CASE WHEN reported_on_line THEN 10 * $1 ELSE $1 END) LIMIT $2)) \
     AND due_at IS NULL AND occurred_at < now() - make_interval(hours => $1)";
const FORGET_LETTERS: &str = "DELETE FROM deptrans.dead_letters WHERE id IN (\
     SELECT id FROM deptrans.dead_letters WHERE received_at < now() - make_interval(days => $1) \
     ORDER BY received_at LIMIT $2)";

#[derive(QueryableByName)]
struct Held {
    #[diesel(sql_type = Bool)]
    held: bool,
}

/// Cleans until the process stops.
pub(super) async fn run(database: Database, settings: IntakeSettings, stop: Shutdown) {
    let mut pause = EVERY.mul_f64(0.1 * rand::random::<f64>());
    while !stop.wait_or(pause).await {
        pause = EVERY;
        let hours = i32::from(settings.status_hours);
        let days = i32::from(settings.dead_letter_days);
        for (what, sql, age) in
            [("statuses", FORGET_STATUSES, hours), ("dead letters", FORGET_LETTERS, days)]
        {
            match round(&database, sql, age, &stop).await {
                Ok(0) => {}
                Ok(rows) => tracing::info!(what, rows, "old rows were cleaned away"),
                Err(error) => {
                    let (code, cause) = (error.code(), error.chain());
                    tracing::warn!(what, code, cause, "old rows are not cleaned away for now");
                }
            }
        }
    }
}

/// One round of a statement; how many rows went.
async fn round(database: &Database, sql: &str, age: i32, stop: &Shutdown) -> Result<usize> {
    let mut rows = 0;
    for _ in 0..BATCHES {
        let context = Context::background("deptrans intake", PATIENCE);
        let removed = database
            .transaction(&context, async |connection| remove(connection, sql, age).await)
            .await?;
        rows += removed;
        if removed == 0 || stop.wait_or(BREATH).await {
            break;
        }
    }
    Ok(rows)
}

async fn remove(connection: &mut Connection, sql: &str, age: i32) -> Result<usize> {
    let alone: Held = diesel::sql_query(ALONE).get_result(connection).await?;
    if !alone.held {
        return Ok(0);
    }
    let remove = diesel::sql_query(sql).bind::<Integer, _>(age).bind::<BigInt, _>(BATCH);
    Ok(remove.execute(connection).await?)
}
