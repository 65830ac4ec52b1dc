//! Finds mailings that are open and have no task any more: theirs died with the process that ran its
//! last attempt, or a person discarded it. They are given up, and can be resumed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use diesel::sql_types::{BigInt, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use jiff_diesel::Timestamp as SqlTimestamp;
use serde::{Deserialize, Serialize};

use super::sending::{SendMailing, give_up};
use super::store;
use crate::domains::fleet_communications::Tools;
use crate::platform::database::Connection;
use crate::platform::error::{Error, Result};
use crate::platform::ids::ParkId;
use crate::platform::tasks::{Outcome, Running, Task, TaskResult};

const EVERY: Duration = Duration::from_mins(1);
/// Mailings in one statement, and how many of those there may be: most mailings that wait for their
/// time have a task, and must not hide one that has none.
const BATCH: i64 = 1_000;
const MOST_BATCHES: usize = 100;

#[derive(Debug, Serialize, Deserialize)]
struct WatchMailings {}

impl Task for WatchMailings {
    const KIND: &'static str = "communications.watch_mailings";
    const QUEUE: &'static str = "communications_upkeep";
}

pub(super) fn register(tools: &Arc<Tools>) {
    let work = Arc::clone(tools);
    tools.tasks.handle(move |running: Running<WatchMailings>| {
        let tools = Arc::clone(&work);
        async move { watch(&tools, &running).await }
    });
    tools.tasks.every("communications.watch_mailings", EVERY, || WatchMailings {});
}

#[derive(diesel::QueryableByName)]
struct Open {
    #[diesel(sql_type = Text)]
    park_id: String,
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = Timestamptz)]
    updated_at: SqlTimestamp,
}

/// Where a batch ended.
type Position = (SqlTimestamp, String);

const OPEN: &str = "SELECT park_id, id, updated_at FROM fleet_communications.mailings \
     WHERE status IN ('created', 'scheduled', 'sending') AND updated_at < now() - interval '1 minute' \
     AND ($2 IS NULL OR (updated_at, id) > ($2, $3)) ORDER BY updated_at, id LIMIT $1";

async fn watch(tools: &Tools, running: &Running<WatchMailings>) -> TaskResult {
    let mut after = None;
    for _ in 0..MOST_BATCHES {
        let lost = async |connection: &_| lost(tools, connection, after).await;
        let (found, next) = tools.database.statement(&running.context, lost).await?;
        for (id, park) in found {
            give_up_lost(tools, running, &park, &id).await?;
        }
        if next.is_none() {
            break;
        }
        after = next;
    }
    Ok(Outcome::Done)
}

async fn give_up_lost(
    tools: &Tools,
    running: &Running<WatchMailings>,
    park: &ParkId,
    id: &str,
) -> Result<()> {
    let give_up = async |connection: &mut Connection| {
        // Whoever resumes a mailing holds its lock: behind it, a task that came meanwhile is seen.
        store::lock(connection, park, id).await?;
        let live = tools.tasks.live::<SendMailing>(connection, &[id]).await?;
        Ok(live.is_empty() && give_up(connection, park, id, "task_lost").await?)
    };
    if tools.database.transaction(&running.context, give_up).await? {
        tools.metrics.mailing("failed");
        tracing::error!(mailing = id, "a mailing's task is gone; the mailing is given up");
    }
    Ok(())
}

/// Open mailings of a batch that have no task, and where the batch ended, if there may be more.
async fn lost(
    tools: &Tools,
    mut connection: &Connection,
    after: Option<Position>,
) -> Result<(HashMap<String, ParkId>, Option<Position>)> {
    let (after_at, after_id) = after.unzip();
    let query = diesel::sql_query(OPEN)
        .bind::<BigInt, _>(BATCH)
        .bind::<Nullable<Timestamptz>, _>(after_at)
        .bind::<Nullable<Text>, _>(after_id);
    // Not prepared: a plan for any position cannot begin at one in the index.
    let open: Vec<Open> = query.load(&mut connection).await?;
    let is_full = i64::try_from(open.len()).is_ok_and(|count| count >= BATCH);
    let next = open.last().filter(|_| is_full).map(|last| (last.updated_at, last.id.clone()));
    let park = |open: Open| Ok((open.id, ParkId::try_from(open.park_id).map_err(Error::internal)?));
    let mut open: HashMap<String, ParkId> = open.into_iter().map(park).collect::<Result<_>>()?;
    let ids: Vec<&str> = open.keys().map(String::as_str).collect();
    for live in tools.tasks.live::<SendMailing>(connection, &ids).await? {
        open.remove(&live);
    }
    Ok((open, next))
}
