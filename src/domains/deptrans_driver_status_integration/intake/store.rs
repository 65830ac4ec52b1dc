//! SQL of the intake: the newest status of each driver, and what could not be read.

use diesel::Queryable;
use diesel::sql_types::{Array, BigInt, Binary, Integer, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use jiff_diesel::{Timestamp as SqlTimestamp, ToDiesel};
use uuid::Uuid;

use super::event::StatusEvent;
use crate::platform::database::{Connection, PackedId, prepared_statement};
use crate::platform::error::Result;

prepared_statement! {
    /// Keeps the newest status of each driver. Who waits already keeps his place and whoever took him
    /// his lease; who rests is due at once. What waited and was replaced is counted in an outage that
    /// is open. The drivers must be distinct and in one order, so that two batches never wait for
    /// each other crosswise.
    struct KeepNewest<'a> returns (BigInt, BigInt);
    "WITH changed AS (\
       INSERT INTO deptrans.status_queue AS q \
         (park_id, driver_id, status, occurred_at, tiebreak, queued_at, due_at) \
       SELECT park_id, driver_id, status::deptrans.driver_status, occurred_at, tiebreak, now(), now() \
       FROM UNNEST(",
    parks: Vec<&'a PackedId> => Array<Binary>, ", ",
    drivers: Vec<&'a PackedId> => Array<Binary>, ", ",
    statuses: Vec<&'a str> => Array<Text>, ", ",
    occurred_at: Vec<SqlTimestamp> => Array<Timestamptz>, ", ",
    tiebreaks: Vec<&'a str> => Array<Text>,
    ") AS e(park_id, driver_id, status, occurred_at, tiebreak) \
       ON CONFLICT (park_id, driver_id) DO UPDATE SET status = excluded.status, \
         occurred_at = excluded.occurred_at, tiebreak = excluded.tiebreak, \
         queued_at = COALESCE(q.queued_at, excluded.queued_at), \
         due_at = COALESCE(q.due_at, excluded.due_at), \
         attempts = CASE WHEN q.due_at IS NULL THEN 0 ELSE q.attempts END, \
         replaced = CASE WHEN q.due_at IS NULL THEN 0 ELSE q.replaced + 1 END \
       WHERE (excluded.occurred_at, excluded.tiebreak) > (q.occurred_at, q.tiebreak) \
       RETURNING replaced), \
     counted AS MATERIALIZED (\
       SELECT count(*) AS accepted, count(*) FILTER (WHERE replaced > 0) AS replaced FROM changed), \
     outage AS (\
       UPDATE deptrans.krt_outages o SET superseded = o.superseded + n FROM (\
         SELECT replaced + CASE WHEN accepted > 0 THEN ",
    merged: i64 => BigInt,
    " ELSE 0 END AS n FROM counted) c WHERE o.to_at IS NULL AND n > 0) \
     SELECT accepted, replaced FROM counted",
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Queryable)]
pub struct Kept {
    /// Drivers whose newest status it brought.
    pub accepted: i64,
    /// Of them, those whose status before still waited to be sent.
    pub replaced: i64,
}

/// Keeps the newest statuses; `events` are those of distinct drivers, in the order of their keys.
/// `merged` is how many older ones of the same drivers came with them.
///
/// # Errors
/// The database fails.
pub async fn keep_newest(
    mut connection: &Connection,
    events: &[&StatusEvent],
    merged: usize,
) -> Result<Kept> {
    let statement = KeepNewest {
        parks: events.iter().map(|event| &event.park_id).collect(),
        drivers: events.iter().map(|event| &event.driver_id).collect(),
        statuses: events.iter().map(|event| event.status.word()).collect(),
        occurred_at: events.iter().map(|event| event.occurred_at.to_diesel()).collect(),
        tiebreaks: events.iter().map(|event| event.tiebreak.as_str()).collect(),
        merged: i64::try_from(merged).unwrap_or(i64::MAX),
    };
    Ok(statement.get_result(&mut connection).await?)
}

/// What could not be read, where it came from, and why.
pub struct DeadLetter {
    /// A stable word and what it means; nothing of the body.
    pub reason: String,
    /// Its place in Kafka.
    pub partition: i32,
    /// Its place in the partition.
    pub offset: i64,
    /// The body, sealed about the letter's id.
    pub id: Uuid,
    /// The body as it came, cut short where it is long.
    pub sealed: Vec<u8>,
}

prepared_statement! {
    /// Keeps letters; one that is there already stays as it is.
    struct KeepLetters<'a> returns BigInt;
    "WITH kept AS (INSERT INTO deptrans.dead_letters \
       (id, received_at, topic, partition, \"offset\", reason, body) \
     SELECT id, now(), ",
    topic: &'a str => Text, ", partition, \"offset\", reason, body FROM UNNEST(",
    ids: Vec<Uuid> => Array<SqlUuid>, ", ",
    partitions: Vec<i32> => Array<Integer>, ", ",
    offsets: Vec<i64> => Array<BigInt>, ", ",
    reasons: Vec<&'a str> => Array<Text>, ", ",
    bodies: Vec<&'a [u8]> => Array<Binary>,
    ") AS l(id, partition, \"offset\", reason, body) \
     ORDER BY partition, \"offset\" \
     ON CONFLICT (topic, partition, \"offset\") DO NOTHING RETURNING 1) SELECT count(*) FROM kept",
}

/// Keeps what could not be read; what was kept before is not kept again. Returns how many are new.
///
/// # Errors
/// The database fails.
pub async fn keep_letters(
    mut connection: &Connection,
    topic: &str,
    letters: &[DeadLetter],
) -> Result<i64> {
    let statement = KeepLetters {
        topic,
        ids: letters.iter().map(|letter| letter.id).collect(),
        partitions: letters.iter().map(|letter| letter.partition).collect(),
        offsets: letters.iter().map(|letter| letter.offset).collect(),
        reasons: letters.iter().map(|letter| letter.reason.as_str()).collect(),
        bodies: letters.iter().map(|letter| letter.sealed.as_slice()).collect(),
    };
    Ok(statement.get_result(&mut connection).await?)
}
