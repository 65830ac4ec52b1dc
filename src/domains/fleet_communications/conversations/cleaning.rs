//! Removes events that no stream is to resume from any more.

use std::time::Duration;

use diesel::sql_types::{BigInt, Integer};
use diesel_async::RunQueryDsl;
use serde::{Deserialize, Serialize};

use crate::platform::database::Database;
use crate::platform::tasks::{Outcome, Running, Task, TaskResult};

/// How often it is done.
pub(super) const EVERY: Duration = Duration::from_hours(1);
/// Rows of one statement, and statements before others have their turn.
const BATCH: i64 = 1_000;
const BATCHES: usize = 50;

/// A stream that is behind what is removed learns it by the gap in the numbers.
const CLEAN: &str = "DELETE FROM fleet_communications.events WHERE (park_id, seq) IN \
     (SELECT park_id, seq FROM fleet_communications.events \
      WHERE created_at < now() - make_interval(days => $1) ORDER BY created_at LIMIT $2)";

/// Removes old events.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CleanEvents {}

impl Task for CleanEvents {
    const KIND: &'static str = "fleet_communications.clean_events";
    const QUEUE: &'static str = "conversations";
}

/// Runs the task.
pub(super) async fn run(
    database: Database,
    days: i32,
    running: Running<CleanEvents>,
) -> TaskResult {
    for _ in 0..BATCHES {
        let removed = database
            .transaction(&running.context, async |connection| {
                let clean =
                    diesel::sql_query(CLEAN).bind::<Integer, _>(days).bind::<BigInt, _>(BATCH);
                Ok(clean.execute(connection).await?)
            })
            .await?;
        if removed == 0 {
            return Ok(Outcome::Done);
        }
    }
    Ok(Outcome::Continue)
}
