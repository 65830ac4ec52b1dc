//! The rules. Plain values in and out.

use futures_util::try_join;
use uuid::Uuid;

use super::Conversations;
use super::model::{Conversation, Message, Reader};
use super::push::PushMessage;
use super::store::{self, Draft, Key, ListPosition};
use super::stream::EventStream;
use crate::domains::fleet_communications::NAME;
use crate::platform::conditions::IdempotentCall;
use crate::platform::context::Context;
use crate::platform::database::idempotency::Guard;
use crate::platform::database::{Connection, PackedId};
use crate::platform::error::{Error, Kind, Result};
use crate::platform::ids::ContractorId;
use crate::platform::ids::ParkId;
use crate::platform::tasks::NewTask;
use crate::upstreams::parks::DriverFilter;

/// The code inside of a first message to a driver of whom nothing is known.
const FIRST_MESSAGE: &str = "conversation_not_begun";

impl Conversations {
    /// A dispatcher writes to a driver. The first message of a conversation is preceded by a question
    /// to `parks`: whether the driver is the park's.
    pub(super) async fn write_to_driver(
        &self,
        context: &Context,
        key: Key<'_>,
        author_id: i64,
        text: &str,
        call: Option<IdempotentCall>,
    ) -> Result<Message> {
        let author_id = Some(author_id);
        match self.write(context, key, author_id, text, call, false).await {
            Err(error) if error.code() == FIRST_MESSAGE => {
                self.must_be_the_parks(context, key).await?;
                self.write(context, key, author_id, text, call, true).await
            }
            outcome => outcome,
        }
    }

    /// A driver writes to his park, which the auth proxy vouches for.
    pub(super) async fn write_to_park(
        &self,
        context: &Context,
        key: Key<'_>,
        text: &str,
        call: Option<IdempotentCall>,
    ) -> Result<Message> {
        self.write(context, key, None, text, call, true).await
    }

    /// Messages of a conversation before one of them, the newest first, and the last one's id where
    /// more follow. A page of long messages may hold fewer than `limit`.
    pub(super) async fn messages(
        &self,
        context: &Context,
        key: Key<'_>,
        reader: Reader,
        before: Option<Uuid>,
        limit: u32,
    ) -> Result<(Vec<Message>, Option<Uuid>)> {
        let read = async |connection: &_| {
            let before = match before {
                Some(id) => store::seq_of(connection, key, id).await?.ok_or_else(bad_cursor)?,
                None => i64::MAX,
            };
            let (page, more) = store::messages(connection, key, before, limit).await?;
            // Where nobody wrote yet, a driver has nothing to read; for a dispatcher it is nowhere.
            if page.is_empty() && before == i64::MAX && reader.is_park() {
                let detail = "This park has no conversation with such a contractor.";
                return Err(Error::not_found("conversation_not_found", detail));
            }
            Ok((page, more))
        };
        let (mut page, more) = self.tools.database.statement(context, read).await?;
        if !reader.is_park() {
            page = page.into_iter().map(Message::for_driver).collect();
        }
        let next = page.last().filter(|_| more).map(|message| message.id);
        Ok((page, next))
    }

    /// The park's conversations: those with something unread first, then the most recent.
    pub(super) async fn list(
        &self,
        context: &Context,
        park: &ParkId,
        after: Option<ListPosition>,
        limit: u32,
    ) -> Result<(Vec<Conversation>, Option<ListPosition>)> {
        let read =
            async |connection: &_| store::conversations(connection, park, after, limit).await;
        self.tools.database.statement(context, read).await
    }

    /// Marks the other side's messages up to one as read. Repeating it, or marking less, changes
    /// nothing.
    pub(super) async fn mark_read(
        &self,
        context: &Context,
        key: Key<'_>,
        reader: Reader,
        up_to: Uuid,
    ) -> Result<()> {
        let database = &self.tools.database;
        let look = async |connection: &_| store::is_unread(connection, key, reader, up_to).await;
        let is_unread = database.statement(context, look).await?.ok_or_else(|| {
            let detail = "This conversation has no such message.";
            Error::not_found("message_not_found", detail)
        })?;
        if !is_unread {
            // Most marks are repeated ones: nobody waits for them.
            return Ok(());
        }
        let mark = async |connection: &mut Connection| {
            store::mark_read(connection, key, reader, up_to).await
        };
        database.transaction(context, mark).await
    }

    /// A stream of the park's events behind `last_seen`, or from now on.
    pub(super) async fn watch(
        &self,
        context: &Context,
        park: &ParkId,
        last_seen: Option<i64>,
    ) -> Result<EventStream> {
        // The place comes first: what is notified from here on wakes it.
        let seat = self.hub.sit(park)?;
        let head = self.reader.head(context, park).await?;
        seat.raise(head);
        let position = last_seen.unwrap_or(head);
        let (reader, stop) = (self.reader.clone(), self.shutdown.clone());
        let settings = &self.tools.settings.conversations;
        Ok(EventStream::new(reader, seat, stop, settings, position, last_seen.is_some()))
    }

    async fn write(
        &self,
        context: &Context,
        key: Key<'_>,
        author_id: Option<i64>,
        text: &str,
        call: Option<IdempotentCall>,
        may_begin: bool,
    ) -> Result<Message> {
        let subject = (PackedId::new(key.park.as_str()), PackedId::new(key.contractor.as_str()));
        let guard = Guard { call, domain: NAME, subject: Some((&subject.0, &subject.1)) };
        let draft = Draft { id: Uuid::now_v7(), text, author_id };
        let mut written = false;
        let work = async |connection: &mut Connection| {
            must_have_begun(connection, key, may_begin).await?;
            // What is written is the last, for the park's other writers wait from there on.
            let ((), message) = try_join!(
                self.push(connection, context, key, &draft),
                store::write(connection, key, &draft),
            )?;
            written = true;
            Ok(message)
        };
        let message = self.tools.database.once(context, guard, work).await?;
        if written {
            let metrics = &self.tools.metrics;
            let to_driver = author_id.is_some();
            let direction =
                if to_driver { &metrics.messages_to_driver } else { &metrics.messages_to_park };
            direction.inc();
        }
        Ok(message)
    }

    /// Has a message to a driver shown to him.
    async fn push(
        &self,
        connection: &Connection,
        context: &Context,
        key: Key<'_>,
        draft: &Draft<'_>,
    ) -> Result<()> {
        if draft.author_id.is_none() {
            return Ok(());
        }
        let (contractor_id, message_id) = (key.contractor.clone(), draft.id);
        let task = NewTask::new(PushMessage { contractor_id, message_id }).of_park(key.park);
        self.tools.tasks.enqueue(connection, context, task).await?;
        Ok(())
    }

    async fn must_be_the_parks(&self, context: &Context, key: Key<'_>) -> Result<()> {
        let ids = [key.contractor.as_str().to_owned()];
        let filter = DriverFilter { ids: &ids, ..DriverFilter::default() };
        let page = self
            .tools
            .parks
            .drivers(context, key.park, &filter, None)
            .await
            .map_err(|error| error.into_error("parks_unavailable"))?;
        if page.driver_profiles.iter().any(|driver| driver.id == key.contractor.as_str()) {
            return Ok(());
        }
        let detail = "This park has no such contractor.";
        Err(Error::not_found("contractor_not_found", detail))
    }
}

/// Fails with [`FIRST_MESSAGE`] where there is no conversation and none may begin.
async fn must_have_begun(connection: &Connection, key: Key<'_>, may_begin: bool) -> Result<()> {
    if may_begin || store::has_conversation(connection, key).await? {
        return Ok(());
    }
    Err(Error::not_found(FIRST_MESSAGE, "There is no conversation yet."))
}

/// A contractor's id as a driver's identity header gives it.
pub(super) fn contractor(driver_profile_id: &str) -> Result<ContractorId> {
    ContractorId::parse(driver_profile_id).map_err(Error::internal)
}

fn bad_cursor() -> Error {
    Error::new(
        Kind::InvalidInput,
        "invalid_cursor",
        "cursor must be a next_cursor that this list gave out.",
    )
}
