//! SQL of conversations. Every statement names the park.
//!
//! Whoever writes an event takes the park's row of `park_streams` first and keeps it until the commit:
//! that orders the events, and makes counters exact.

use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel::{OptionalExtension, Queryable};
use diesel_async::RunQueryDsl;
use futures_util::try_join;
use jiff_diesel::Timestamp as SqlTimestamp;
use uuid::Uuid;

use super::model::{Conversation, Direction, Message, Reader};
use crate::platform::database::{Connection, prepared_statement};
use crate::platform::error::Result;
use crate::platform::ids::{ContractorId, ParkId};

/// The channel on which a park's streams are woken; the payload is the event's number and the park.
pub(super) const WAKE_UPS: &str = "fleet_conversations";

/// A page ends early when its texts reach this: a thousand of the longest would be 16 MB.
const PAGE_BYTES: i64 = 1 << 20;

/// A conversation's key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key<'a> {
    pub park: &'a ParkId,
    pub contractor: &'a ContractorId,
}

/// A message about to be written.
pub(super) struct Draft<'a> {
    pub id: Uuid,
    pub text: &'a str,
    /// The dispatcher; `None` when the driver writes.
    pub author_id: Option<i64>,
}

prepared_statement! {
    struct HasConversation<'a> returns Bool;
    "SELECT EXISTS (SELECT FROM fleet_communications.conversations WHERE park_id = ",
    park: &'a str => Text, " AND contractor_id = ",
    contractor: &'a str => Text, ")",
}

prepared_statement! {
    /// Numbers a message and writes it with its event; whoever watches is told at the commit.
    struct WriteMessage<'a> returns Timestamptz;
    "WITH stream AS (\
       INSERT INTO fleet_communications.park_streams AS s (park_id, last_seq) VALUES (",
    park: &'a str => Text,
    ", 1) ON CONFLICT (park_id) DO UPDATE SET last_seq = s.last_seq + 1 \
       RETURNING last_seq AS seq, clock_timestamp() AS at), \
     talk AS (\
       INSERT INTO fleet_communications.conversations AS c \
         (park_id, contractor_id, last_seq, park_unread, driver_unread) SELECT $1, ",
    contractor: &'a str => Text, ", seq, (",
    to_park: bool => Bool,
    ")::int, (NOT $3)::int FROM stream \
       ON CONFLICT (park_id, contractor_id) DO UPDATE SET last_seq = excluded.last_seq, \
         park_unread = c.park_unread + excluded.park_unread, \
         driver_unread = c.driver_unread + excluded.driver_unread), \
     message AS (\
       INSERT INTO fleet_communications.messages \
         (park_id, contractor_id, seq, id, to_park, text, author_id, created_at) \
       SELECT $1, $2, seq, ",
    id: Uuid => SqlUuid, ", $3, ",
    text: &'a str => Text, ", ",
    author_id: Option<i64> => Nullable<BigInt>,
    ", at FROM stream), \
     event AS (\
       INSERT INTO fleet_communications.events (park_id, seq, contractor_id, kind, created_at) \
       SELECT $1, seq, $2, 'message', at FROM stream), \
     told AS (SELECT pg_notify(",
    channel: &'a str => Text, ", seq || ' ' || $1) FROM stream) \
     SELECT stream.at FROM stream, told",
}

prepared_statement! {
    /// Whether a message is there, and whether it or one before it was not read yet.
    struct Unread<'a> returns Bool;
    "SELECT EXISTS (SELECT FROM fleet_communications.messages u WHERE u.park_id = m.park_id \
       AND u.contractor_id = m.contractor_id AND u.to_park = ",
    to_park: bool => Bool,
    " AND u.read_at IS NULL AND u.seq <= m.seq) \
     FROM fleet_communications.messages m WHERE m.park_id = ",
    park: &'a str => Text, " AND m.contractor_id = ",
    contractor: &'a str => Text, " AND m.id = ",
    id: Uuid => SqlUuid, "",
}

prepared_statement! {
    /// Takes the park's stream without an event.
    struct LockStream<'a> returns BigInt;
    "SELECT last_seq FROM fleet_communications.park_streams WHERE park_id = ",
    park: &'a str => Text, " FOR UPDATE",
}

prepared_statement! {
    /// Marks what was not read, and tells of it if there was something. The park's stream is locked
    /// by an earlier statement, so that this one sees all that committed before.
    struct MarkRead<'a> returns BigInt;
    "WITH now AS MATERIALIZED (SELECT clock_timestamp() AS at), \
     marked AS (\
       UPDATE fleet_communications.messages m SET read_at = now.at \
       FROM now, fleet_communications.messages t \
       WHERE t.park_id = ",
    park: &'a str => Text, " AND t.contractor_id = ",
    contractor: &'a str => Text, " AND t.id = ",
    id: Uuid => SqlUuid,
    " AND m.park_id = $1 AND m.contractor_id = $2 AND m.to_park = ",
    by_park: bool => Bool,
    " AND m.read_at IS NULL AND m.seq <= t.seq RETURNING m.seq), \
     counted AS MATERIALIZED (SELECT count(*) AS n FROM marked), \
     talk AS (\
       UPDATE fleet_communications.conversations \
       SET park_unread = park_unread - CASE WHEN $4 THEN n::int ELSE 0 END, \
         driver_unread = driver_unread - CASE WHEN $4 THEN 0 ELSE n::int END \
       FROM counted WHERE park_id = $1 AND contractor_id = $2 AND n > 0), \
     stream AS (\
       UPDATE fleet_communications.park_streams SET last_seq = last_seq + 1 \
       FROM counted WHERE park_id = $1 AND n > 0 RETURNING last_seq AS seq), \
     event AS (\
       INSERT INTO fleet_communications.events \
         (park_id, seq, contractor_id, kind, created_at, by_park, up_to) \
       SELECT $1, seq, $2, 'read', at, $4, $3 FROM stream, now), \
     told AS (SELECT pg_notify(",
    channel: &'a str => Text,
    ", seq || ' ' || $1) FROM stream) \
     SELECT n FROM counted LEFT JOIN told ON true",
}

/// The columns of [`MessageRow`], of a message `m`.
macro_rules! message_columns {
    () => {
        "m.id, m.to_park, m.text, m.author_id, m.created_at, m.read_at"
    };
}

type MessageColumns = (SqlUuid, Bool, Text, Nullable<BigInt>, Timestamptz, Nullable<Timestamptz>);

#[derive(Queryable)]
struct MessageRow {
    id: Uuid,
    to_park: bool,
    text: String,
    author_id: Option<i64>,
    created_at: SqlTimestamp,
    read_at: Option<SqlTimestamp>,
}

impl From<MessageRow> for Message {
    fn from(row: MessageRow) -> Self {
        Self {
            id: row.id,
            direction: if row.to_park { Direction::ToPark } else { Direction::ToDriver },
            text: row.text,
            author_id: row.author_id,
            created_at: row.created_at.to_jiff(),
            read_at: row.read_at.map(SqlTimestamp::to_jiff),
        }
    }
}

prepared_statement! {
    /// A page of messages before a number, the newest first, that ends early when it is heavy; each
    /// with how many were found.
    struct MessagePage<'a> returns (MessageColumns, BigInt);
    concat!("SELECT ", message_columns!(), ", found FROM (\
       SELECT p.*, count(*) OVER () AS found, \
         sum(octet_length(p.text)) OVER (ORDER BY p.seq DESC) - octet_length(p.text) AS before \
       FROM (SELECT * FROM fleet_communications.messages WHERE park_id = "),
    park: &'a str => Text, " AND contractor_id = ",
    contractor: &'a str => Text, " AND seq < ",
    before: i64 => BigInt, " ORDER BY seq DESC LIMIT ",
    limit: i64 => BigInt, ") p) m WHERE before < ",
    bytes: i64 => BigInt, " ORDER BY m.seq DESC",
}

prepared_statement! {
    struct SeqOf<'a> returns BigInt;
    "SELECT seq FROM fleet_communications.messages WHERE park_id = ",
    park: &'a str => Text, " AND contractor_id = ",
    contractor: &'a str => Text, " AND id = ",
    id: Uuid => SqlUuid, "",
}

prepared_statement! {
    /// A page of a park's conversations behind (unread, number of the last message), each with how
    /// many were found.
    struct ConversationPage<'a> returns (Text, Integer, BigInt, MessageColumns, BigInt);
    concat!("SELECT m.contractor_id, m.park_unread, m.seq, ", message_columns!(), ", found FROM (\
       SELECT p.*, count(*) OVER () AS found, \
         sum(octet_length(p.text)) OVER (ORDER BY p.park_unread > 0 DESC, p.seq DESC) \
           - octet_length(p.text) AS before \
       FROM (SELECT c.park_unread, l.* FROM (\
         SELECT * FROM fleet_communications.conversations WHERE park_id = "),
    park: &'a str => Text, " AND ((park_unread > 0), last_seq) < (",
    unread: bool => Bool, ", ",
    before: i64 => BigInt, ") ORDER BY (park_unread > 0) DESC, last_seq DESC LIMIT ",
    limit: i64 => BigInt,
    ") c JOIN fleet_communications.messages l ON l.park_id = c.park_id \
         AND l.contractor_id = c.contractor_id AND l.seq = c.last_seq) p) m WHERE before < ",
    bytes: i64 => BigInt, " ORDER BY m.park_unread > 0 DESC, m.seq DESC",
}

prepared_statement! {
    /// A message to the driver, and whether he has read it.
    struct ForPush<'a> returns (Text, Bool);
    "SELECT text, read_at IS NOT NULL FROM fleet_communications.messages WHERE park_id = ",
    park: &'a str => Text, " AND contractor_id = ",
    contractor: &'a str => Text, " AND id = ",
    id: Uuid => SqlUuid, " AND NOT to_park",
}

/// Whether there is such a conversation.
pub(super) async fn has_conversation(mut connection: &Connection, key: Key<'_>) -> Result<bool> {
    let statement =
        HasConversation { park: key.park.as_str(), contractor: key.contractor.as_str() };
    Ok(statement.get_result(&mut connection).await?)
}

/// Writes a message, and the conversation if it is the first. The park's other writers wait from here
/// to the commit.
pub(super) async fn write(
    mut connection: &Connection,
    key: Key<'_>,
    draft: &Draft<'_>,
) -> Result<Message> {
    let to_park = draft.author_id.is_none();
    let statement = WriteMessage {
        park: key.park.as_str(),
        contractor: key.contractor.as_str(),
        to_park,
        id: draft.id,
        text: draft.text,
        author_id: draft.author_id,
        channel: WAKE_UPS,
    };
    let created_at: SqlTimestamp = statement.get_result(&mut connection).await?;
    let row = MessageRow {
        id: draft.id,
        to_park,
        text: draft.text.to_owned(),
        author_id: draft.author_id,
        created_at,
        read_at: None,
    };
    Ok(row.into())
}

/// Whether this message of the other side, or one before it, was not read yet; `None` when there is no
/// such message.
pub(super) async fn is_unread(
    mut connection: &Connection,
    key: Key<'_>,
    reader: Reader,
    up_to: Uuid,
) -> Result<Option<bool>> {
    let (park, contractor) = (key.park.as_str(), key.contractor.as_str());
    let unread = Unread { to_park: reader.is_park(), park, contractor, id: up_to };
    Ok(unread.get_result(&mut connection).await.optional()?)
}

/// Marks the other side's messages up to this one as read.
pub(super) async fn mark_read(
    connection: &Connection,
    key: Key<'_>,
    reader: Reader,
    up_to: Uuid,
) -> Result<()> {
    let (park, contractor) = (key.park.as_str(), key.contractor.as_str());
    let lock = LockStream { park };
    let mark =
        MarkRead { park, contractor, id: up_to, by_park: reader.is_park(), channel: WAKE_UPS };
    // Sent together: the second begins when the first has the lock.
    let (_, _): (i64, i64) =
        try_join!(lock.get_result(&mut &*connection), mark.get_result(&mut &*connection))?;
    Ok(())
}

/// The number of a message.
pub(super) async fn seq_of(
    mut connection: &Connection,
    key: Key<'_>,
    id: Uuid,
) -> Result<Option<i64>> {
    let statement = SeqOf { park: key.park.as_str(), contractor: key.contractor.as_str(), id };
    Ok(statement.get_result(&mut connection).await.optional()?)
}

/// Up to `limit` messages numbered below `before`, the newest first, and whether more follow.
pub(super) async fn messages(
    mut connection: &Connection,
    key: Key<'_>,
    before: i64,
    limit: u32,
) -> Result<(Vec<Message>, bool)> {
    let statement = MessagePage {
        park: key.park.as_str(),
        contractor: key.contractor.as_str(),
        before,
        limit: i64::from(limit) + 1,
        bytes: PAGE_BYTES,
    };
    let rows: Vec<(MessageRow, i64)> = statement.load(&mut connection).await?;
    let found = rows.iter().map(|(_, found)| *found).max().unwrap_or(0);
    let page: Vec<Message> =
        rows.into_iter().take(limit as usize).map(|(row, _)| row.into()).collect();
    let more = found > i64::try_from(page.len()).unwrap_or(i64::MAX);
    Ok((page, more))
}

/// Where a list of conversations ended: whether the last had something unread, and its number.
pub(super) type ListPosition = (bool, i64);

/// Up to `limit` of the park's conversations behind `after`, and where the next page begins.
pub(super) async fn conversations(
    mut connection: &Connection,
    park: &ParkId,
    after: Option<ListPosition>,
    limit: u32,
) -> Result<(Vec<Conversation>, Option<ListPosition>)> {
    let (unread, before) = after.unwrap_or((true, i64::MAX));
    let statement = ConversationPage {
        park: park.as_str(),
        unread,
        before,
        limit: i64::from(limit) + 1,
        bytes: PAGE_BYTES,
    };
    let rows: Vec<(String, i32, i64, MessageRow, i64)> = statement.load(&mut connection).await?;
    let found = rows.iter().map(|row| row.4).max().unwrap_or(0);
    let mut last = None;
    let mut page = Vec::new();
    for (contractor_id, unread_count, seq, message, _) in rows.into_iter().take(limit as usize) {
        last = Some((unread_count > 0, seq));
        page.push(Conversation { contractor_id, last_message: message.into(), unread_count });
    }
    let more = found > i64::try_from(page.len()).unwrap_or(i64::MAX);
    Ok((page, last.filter(|_| more)))
}

/// The text of a message to the driver, and whether he has read it.
pub(super) async fn for_push(
    mut connection: &Connection,
    key: Key<'_>,
    id: Uuid,
) -> Result<Option<(String, bool)>> {
    let statement = ForPush { park: key.park.as_str(), contractor: key.contractor.as_str(), id };
    Ok(statement.get_result(&mut connection).await.optional()?)
}
