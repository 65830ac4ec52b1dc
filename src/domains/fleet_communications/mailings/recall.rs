//! The task that takes back what went out of a cancelled mailing.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::chunks::{self, Key, Rises};
use super::{request_id, store};
use crate::domains::fleet_communications::Tools;
use crate::platform::database::Connection;
use crate::platform::error::{Error, Result};
use crate::platform::ids::ParkId;
use crate::platform::tasks::{Failure, NewTask, Outcome, Priority, Running, Task, TaskResult};

/// Takes back a cancelled mailing of the task's park.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct RecallMailing {
    mailing_id: String,
}

impl Task for RecallMailing {
    const KIND: &'static str = "communications.recall_mailing";
    const QUEUE: &'static str = "mailings";
    /// With pauses of up to an hour: about a week. A message that stays is worse than a late recall.
    const MAX_ATTEMPTS: i16 = 180;
    const TIME_LIMIT: Duration = Duration::from_mins(2);
}

impl RecallMailing {
    /// At most one of a mailing is there at a time. It goes before what is to be sent: the dispatcher
    /// waits, and each minute more drivers read the message.
    pub fn task(park: &ParkId, mailing: &str) -> NewTask<Self> {
        NewTask::new(Self { mailing_id: mailing.to_owned() })
            .of_park(park)
            .unique(mailing)
            .priority(Priority::High)
    }
}

pub(super) fn register(tools: &Arc<Tools>) {
    let tools = Arc::clone(tools);
    tools.clone().tasks.handle(move |running: Running<RecallMailing>| {
        let tools = Arc::clone(&tools);
        async move { recall(&tools, &running).await }
    });
}

async fn recall(tools: &Tools, running: &Running<RecallMailing>) -> TaskResult {
    let Some(park) = &running.park else {
        return Err(Failure::Dead(Error::internal("a task of no park")));
    };
    let id = running.task.mailing_id.as_str();
    let until = Instant::now() + tools.settings.mailing_slice();
    let mut taken_back = None;
    loop {
        let Some(chunk) = write(tools, running, park, taken_back.take(), Then::Next).await? else {
            return Ok(Outcome::Done);
        };
        let removed = tools.feeds.remove(&running.context, &request_id(id, chunk)).await;
        let removed = removed.map_err(|error| error.into_error("feeds_unavailable"))?;
        taken_back = Some((chunk, removed));
        if Instant::now() >= until {
            write(tools, running, park, taken_back.take(), Then::Yield).await?;
            return Ok(Outcome::Continue);
        }
    }
}

/// What comes after a chunk.
#[derive(Clone, Copy)]
enum Then {
    Next,
    /// Others have their turn.
    Yield,
}

/// Writes what was taken back of a chunk, and names the next; without one the task is complete.
async fn write(
    tools: &Tools,
    running: &Running<RecallMailing>,
    park: &ParkId,
    taken_back: Option<(i32, u32)>,
    then: Then,
) -> Result<Option<i32>> {
    let id = running.task.mailing_id.as_str();
    let mut rises = Rises::default();
    let work = async |connection: &mut Connection| {
        store::lock_fenced(running, connection, park, id).await?;
        let key = Key { park, id };
        if let Some((chunk, removed)) = taken_back {
            rises = chunks::recalled(connection, key, chunk, removed).await?;
        }
        if let Then::Yield = then {
            return Ok(None);
        }
        let next = chunks::begin_recall(connection, key).await?;
        if next.is_none() {
            running.complete_in(connection).await?;
        }
        Ok(next)
    };
    let next = tools.database.transaction(&running.context, work).await?;
    tools.metrics.rises(&rises);
    Ok(next)
}
