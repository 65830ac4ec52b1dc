//! Ordering, showing, cancelling and resuming mailings. No HTTP.

use std::sync::Arc;
use std::time::Duration;

use futures_util::try_join;
use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::audience::Audience;
use super::chunks::{self, Key, Rises};
use super::model::{
    CancelOutcome, Cancelled, Filter, HistoryQuery, MailingOrder, MailingStatus, MailingView,
    Ordered, Preview,
};
use super::recall::RecallMailing;
use super::sending::SendMailing;
use super::store::{self, HistoryPosition, MailingRow, NewMailing};
use super::templates;
use crate::domains::fleet_communications::{NAME, Tools};
use crate::platform::conditions::IdempotentCall;
use crate::platform::context::Context;
use crate::platform::database::Connection;
use crate::platform::database::idempotency::Guard;
use crate::platform::error::{Error, Kind, Result};
use crate::platform::ids::ParkId;

/// A mailing for a time that has just passed goes out at once; one for an earlier time is a mistake.
const TOO_LATE: SignedDuration = SignedDuration::from_hours(1);
/// How long a cancellation waits for what it takes back, and how often it looks.
const CANCEL_WAIT: Duration = Duration::from_secs(3);
const CANCEL_POLL: Duration = Duration::from_millis(50);

/// Mailings and templates of parks.
pub(in super::super) struct Mailings {
    pub(super) tools: Arc<Tools>,
}

/// A dispatcher of a park, who asks.
pub(super) struct Asker {
    pub context: Context,
    pub park: ParkId,
    pub dispatcher_id: i64,
}

impl Mailings {
    pub(super) fn new(tools: Arc<Tools>) -> Self {
        Self { tools }
    }

    /// Orders a mailing: the template, if it is new, the mailing and its task are stored together.
    pub(super) async fn order(
        &self,
        asker: &Asker,
        order: MailingOrder,
        call: Option<IdempotentCall>,
    ) -> Result<Ordered> {
        let mut is_new = false;
        let guard = Guard { call, domain: NAME, subject: None };
        let work = async |connection: &mut Connection| {
            let park = &asker.park;
            let send_at = self.due(connection, order.send_at).await?;
            let (template_id, message, filter) = of_template(connection, asker, &order).await?;
            let id = Uuid::now_v7().to_string();
            let status =
                if send_at.is_some() { MailingStatus::Scheduled } else { MailingStatus::Created };
            let mailing = NewMailing {
                id: &id,
                template_id: &template_id,
                created_by: asker.dispatcher_id,
                status,
                send_at,
                message: &message,
                filter: &filter,
            };
            store::insert(connection, park, &mailing).await?;
            let task = SendMailing::task(park, &id);
            let task = match send_at {
                Some(at) => task.run_at(at),
                None => task,
            };
            self.tools.tasks.enqueue(connection, &asker.context, task).await?;
            is_new = true;
            Ok(Ordered { mailing_id: id, template_id, status })
        };
        let ordered = self.tools.database.once(&asker.context, guard, work).await?;
        if is_new {
            self.tools.metrics.mailing("ordered");
        }
        Ok(ordered)
    }

    /// When a mailing is to go out; `None`: at once. By the clock that its task will wait by: this
    /// machine's may be wrong, and would send it early.
    async fn due(
        &self,
        connection: &Connection,
        send_at: Option<Timestamp>,
    ) -> Result<Option<Timestamp>> {
        let Some(at) = send_at else { return Ok(None) };
        let now = store::now(connection).await?;
        let days = SignedDuration::from_hours(24 * i64::from(self.tools.settings.schedule_days));
        let ahead = at.duration_since(now);
        if ahead < -TOO_LATE {
            return Err(Error::invalid("/send_at", "has passed"));
        }
        if ahead > days {
            let detail = format!("is more than {} days ahead", self.tools.settings.schedule_days);
            return Err(Error::invalid("/send_at", detail));
        }
        Ok((at > now).then_some(at))
    }

    /// How many drivers a filter selects now, and whom each part leaves out.
    pub(super) async fn preview(&self, asker: &Asker, filter: &Filter) -> Result<Preview> {
        Audience::new(filter).preview(&self.tools.parks, &asker.context, &asker.park).await
    }

    /// A mailing of the park.
    pub(super) async fn mailing(&self, asker: &Asker, id: &str) -> Result<MailingView> {
        let read = async |connection: &_| store::find(connection, &asker.park, id).await;
        let found = self.tools.database.statement(&asker.context, read).await?;
        found.ok_or_else(not_found)?.view()
    }

    /// A page of the park's history, newest first, and where the next begins.
    pub(super) async fn history(
        &self,
        asker: &Asker,
        query: &HistoryQuery,
        after: Option<HistoryPosition>,
        limit: u32,
    ) -> Result<(Vec<MailingView>, Option<HistoryPosition>)> {
        let read = async |connection: &_| {
            store::history(connection, &asker.park, query, after, limit).await
        };
        let mut rows = self.tools.database.statement(&asker.context, read).await?;
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let next = rows.last().filter(|_| more).map(MailingRow::position);
        Ok((rows.into_iter().map(MailingRow::view).collect::<Result<_>>()?, next))
    }

    /// Goes on with a mailing that was given up.
    pub(super) async fn retry(&self, asker: &Asker, id: &str) -> Result<MailingView> {
        let work = async |connection: &mut Connection| {
            let row = store::lock(connection, &asker.park, id).await?.ok_or_else(not_found)?;
            if row.status()? != MailingStatus::Failed {
                let detail = "Only a mailing that failed can be sent again.";
                return Err(Error::new(Kind::Conflict, "mailing_not_failed", detail));
            }
            if self.is_closed(connection, &row).await? {
                let detail = "It ended too long ago: its recipients are not kept any more.";
                return Err(Error::new(Kind::Conflict, "mailing_closed", detail));
            }
            let status = MailingStatus::Sending;
            store::set_status(connection, &asker.park, id, status, None).await?;
            let task = SendMailing::task(&asker.park, id);
            self.tools.tasks.enqueue(connection, &asker.context, task).await?;
            store::find(connection, &asker.park, id).await?.ok_or_else(not_found)?.view()
        };
        self.tools.database.transaction(&asker.context, work).await
    }

    /// Stops a mailing, and has `feeds` take back what went out. Waits a little for that, so that
    /// the answer says what was too late; what is not known yet is `pending`.
    pub(super) async fn cancel(&self, asker: &Asker, id: &str) -> Result<Cancelled> {
        let begin = async |connection: &mut Connection| self.stop(connection, asker, id).await;
        if let Some(dropped) = self.tools.database.transaction(&asker.context, begin).await? {
            self.tools.metrics.mailing("cancelled");
            self.tools.metrics.rises(&dropped);
        }
        let wait = CANCEL_WAIT.min(asker.context.deadline.remaining() / 2);
        let until = Instant::now() + wait;
        loop {
            let look = async |connection: &_| outcome(connection, asker, id).await;
            let outcome = self.tools.database.statement(&asker.context, look).await?;
            if outcome.pending == 0 || Instant::now() >= until {
                return Ok(Cancelled { status: MailingStatus::Cancelled, outcome });
            }
            sleep(CANCEL_POLL).await;
        }
    }

    /// Whether nothing of a mailing can be sent any more, for its recipients may be gone.
    async fn is_closed(&self, connection: &Connection, row: &MailingRow) -> Result<bool> {
        let days = i64::from(self.tools.settings.recipient_days);
        let kept = SignedDuration::from_hours(24 * days);
        Ok(row.is_closed(store::now(connection).await?, kept))
    }

    /// Stops what has not gone out and enqueues what takes the rest back, also when it was stopped
    /// before: the task of then may have been given up. How many it stopped, if it did.
    async fn stop(
        &self,
        connection: &Connection,
        asker: &Asker,
        id: &str,
    ) -> Result<Option<Rises>> {
        let park = &asker.park;
        let row = store::lock(connection, park, id).await?.ok_or_else(not_found)?;
        let key = Key { park, id };
        let mut dropped = None;
        if row.status()? != MailingStatus::Cancelled {
            store::set_status(connection, park, id, MailingStatus::Cancelled, None).await?;
            dropped = Some(chunks::drop_waiting(connection, key).await?);
        }
        let tasks = &self.tools.tasks;
        // The sender, if it still lives, sees the cancellation; one that was given up left a chunk.
        let is_left = chunks::in_flight(connection, key).await?.is_some();
        if is_left && !self.is_closed(connection, &row).await? {
            tasks.enqueue(connection, &asker.context, SendMailing::task(park, id)).await?;
        }
        if chunks::is_to_recall(connection, key).await? {
            tasks.enqueue(connection, &asker.context, RecallMailing::task(park, id)).await?;
        }
        Ok(dropped)
    }
}

/// What is to be sent: a saved template, or a new one, which is stored.
async fn of_template(
    connection: &Connection,
    asker: &Asker,
    order: &MailingOrder,
) -> Result<(String, String, Filter)> {
    if let Some(id) = &order.template_id {
        let template = templates::find(connection, &asker.park, id).await?;
        let template = template.ok_or_else(|| {
            Error::new(Kind::NotFound, "template_not_found", "The park has no such template.")
        })?;
        return Ok((id.clone(), template.message.clone(), template.filter()));
    }
    let (Some(message), Some(filter)) = (&order.message, &order.filter) else {
        return Err(Error::invalid("", "give either template_id, or message and filter"));
    };
    let template = templates::insert(connection, asker, message, filter).await?;
    Ok((template.id, message.clone(), filter.clone()))
}

async fn outcome(connection: &Connection, asker: &Asker, id: &str) -> Result<CancelOutcome> {
    let key = Key { park: &asker.park, id };
    let (pending, row) =
        try_join!(chunks::pending(connection, key), store::find(connection, &asker.park, id))?;
    Ok(row.ok_or_else(not_found)?.cancel_outcome(&pending))
}

/// There is no such mailing in the caller's park.
pub(super) fn not_found() -> Error {
    Error::not_found("mailing_not_found", "The park has no such mailing.")
}
