//! A message to a driver also goes out through `feeds`, so that the app shows it when it is closed.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::store::{self, Key};
use crate::domains::fleet_communications::metrics::CommunicationsMetrics;
use crate::platform::context::Context;
use crate::platform::database::Database;
use crate::platform::error::{Error, Result};
use crate::platform::ids::{ContractorId, ParkId};
use crate::platform::tasks::{Failure, Outcome, Running, Task, TaskResult};
use crate::upstreams::feeds::{Feeds, Payload, Recipient, channel};

/// What kind of message it is, for the app.
const KIND: &str = "message";

/// Shows one message to its driver.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PushMessage {
    pub contractor_id: ContractorId,
    pub message_id: Uuid,
}

impl Task for PushMessage {
    const KIND: &'static str = "fleet_communications.push_message";
    /// Not the mailings' queue: somebody has just written to somebody.
    const QUEUE: &'static str = "conversations";
}

/// Sends messages to `feeds`.
#[derive(Clone)]
pub(super) struct Push {
    pub database: Database,
    pub feeds: Feeds,
    pub metrics: CommunicationsMetrics,
}

impl Push {
    /// Runs the task. It may run again: `feeds` delivers once for each message.
    pub async fn run(self, running: Running<PushMessage>) -> TaskResult {
        let Some(park) = &running.park else {
            return Err(Failure::Dead(Error::internal("a message of no park")));
        };
        let outcome = self.push(&running.context, park, &running.task).await;
        self.metrics.push(outcome.as_ref().unwrap_or(&"failed"));
        outcome?;
        Ok(Outcome::Done)
    }

    /// What became of it.
    async fn push(
        &self,
        context: &Context,
        park: &ParkId,
        task: &PushMessage,
    ) -> Result<&'static str> {
        let PushMessage { contractor_id, message_id } = task;
        let key = Key { park, contractor: contractor_id };
        let read = async |connection: &_| store::for_push(connection, key, *message_id).await;
        let Some((text, was_read)) = self.database.statement(context, read).await? else {
            return Ok("gone");
        };
        if was_read {
            return Ok("read_before");
        }
        let recipient = Recipient { contractor_id: contractor_id.as_str(), text: None };
        let payload = Payload { text: &text, kind: KIND };
        let request_id = format!("message-{message_id}");
        let delivered = self
            .feeds
            .create(context, &request_id, park, &[recipient], &payload, None)
            .await
            .map_err(|error| error.into_error("feeds_unavailable"))?;
        let rejected = delivered.rejected.contains_key(&channel(park, contractor_id.as_str()));
        Ok(if rejected { "rejected" } else { "sent" })
    }
}
