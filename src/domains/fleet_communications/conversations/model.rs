//! What clients send and see.

use garde::Validate;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// Longest message, in characters; what `feeds` takes, too.
const MAX_TEXT: usize = 4096;

/// A message to be sent.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMessage {
    /// Plain text; not blank.
    #[garde(length(chars, min = 1, max = MAX_TEXT), custom(sayable))]
    #[schema(min_length = 1, max_length = 4096, pattern = "^[^\\u0000]*[^\\u0000\\s][^\\u0000]*$")]
    pub text: String,
}

/// How far a conversation was read.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadMark {
    /// This message of the conversation and all before it were read.
    #[garde(skip)]
    pub up_to_message_id: Uuid,
}

/// Which way a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From the park.
    ToDriver,
    /// From the driver.
    ToPark,
}

/// A message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Message {
    /// Made by the server.
    pub id: Uuid,
    /// Which way it goes.
    pub direction: Direction,
    /// What it says.
    pub text: String,
    /// The dispatcher who wrote it; only dispatchers see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author_id: Option<i64>,
    /// When it was written.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When the other side read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub read_at: Option<Timestamp>,
}

/// A conversation, as the park sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Conversation {
    /// The driver's id within the park.
    pub contractor_id: String,
    /// What was said last, by either side.
    pub last_message: Message,
    /// Messages of the driver that no dispatcher has read.
    pub unread_count: i32,
}

/// The data of a `message` event.
#[derive(Debug, Serialize, ToSchema)]
pub struct MessageEvent<'a> {
    /// Whose conversation it is in.
    pub contractor_id: &'a str,
    /// The message, as it is when the event is sent.
    pub message: &'a Message,
}

/// The data of a `read` event.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReadEvent<'a> {
    /// Whose conversation it is.
    pub contractor_id: &'a str,
    /// Who read.
    pub reader: Reader,
    /// This message, and all of the other side's before it, were read.
    pub up_to_message_id: Uuid,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub read_at: Timestamp,
}

/// Who read a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reader {
    /// A dispatcher.
    Park,
    /// The driver.
    Driver,
}

impl Message {
    /// As the driver sees it: he talks to the park, whoever answers there.
    pub(super) fn for_driver(self) -> Self {
        Self { author_id: None, ..self }
    }
}

impl Reader {
    pub(super) fn is_park(self) -> bool {
        self == Self::Park
    }
}

/// PostgreSQL's text cannot hold U+0000, and a blank message says nothing.
fn sayable<C>(text: &str, _: &C) -> garde::Result {
    if text.contains('\0') {
        return Err(garde::Error::new("must not contain the character U+0000"));
    }
    if text.trim().is_empty() {
        return Err(garde::Error::new("must not be blank"));
    }
    Ok(())
}
