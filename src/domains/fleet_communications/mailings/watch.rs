//! Finds mailings that are open and have no task any more: theirs died with the process that ran its
//! last attempt, or a person discarded it. They are given up, and can be resumed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use diesel::sql_types::{BigInt, Text};
use diesel_async::RunQueryDsl;
use serde::{Deserialize, Serialize};

use super::sending::{SendMailing, give_up};
use crate::domains::fleet_communications::Tools;
use crate::platform::database::Connection;
use crate::platform::error::{Error, Result};
use crate::platform::ids::ParkId;
use crate::platform::tasks::{Outcome, Running, Task, TaskResult};

const EVERY: Duration = Duration::from_mins(1);
/// Mailings looked at in one turn, those that nothing happened to for longest first.
const BATCH: i64 = 1_000;

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
}

const OPEN: &str = "SELECT park_id, id FROM fleet_communications.mailings \
     WHERE status IN ('created', 'scheduled', 'sending') AND updated_at < now() - interval '1 minute' \
     ORDER BY updated_at LIMIT $1";

async fn watch(tools: &Tools, running: &Running<WatchMailings>) -> TaskResult {
    let lost = async |connection: &mut Connection| lost(tools, connection).await;
    for (id, park) in tools.database.transaction(&running.context, lost).await? {
        let give_up = async |connection: &mut Connection| {
            // A task that came meanwhile (a retry) is not lost.
            let live = tools.tasks.live::<SendMailing>(connection, &[&id]).await?;
            Ok(live.is_empty() && give_up(connection, &park, &id, "task_lost").await?)
        };
        if tools.database.transaction(&running.context, give_up).await? {
            tools.metrics.mailing("failed");
            tracing::error!(mailing = id, "a mailing's task is gone; the mailing is given up");
        }
    }
    Ok(Outcome::Done)
}

/// Open mailings without a task.
async fn lost(tools: &Tools, connection: &mut Connection) -> Result<HashMap<String, ParkId>> {
    let query = diesel::sql_query(OPEN).bind::<BigInt, _>(BATCH);
    let open: Vec<Open> = query.load(connection).await?;
    let park = |open: Open| Ok((open.id, ParkId::try_from(open.park_id).map_err(Error::internal)?));
    let mut open: HashMap<String, ParkId> = open.into_iter().map(park).collect::<Result<_>>()?;
    let ids: Vec<&str> = open.keys().map(String::as_str).collect();
    for live in tools.tasks.live::<SendMailing>(connection, &ids).await? {
        open.remove(&live);
    }
    Ok(open)
}
