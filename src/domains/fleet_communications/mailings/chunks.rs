//! SQL of a mailing's chunks and recipients. The caller holds the mailing's lock
//! ([`store::lock`](super::store::lock)); every statement names the park.
//!
//! A mailing fills these tables within seconds, before anybody counts their rows. So the statements that
//! look for a chunk's members are planned anew each time (no `.prepared()`): a plan made while they were
//! empty would read all of them for each chunk. It takes a round trip for a thousand drivers.

use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Integer, Nullable, Text};
use diesel_async::RunQueryDsl;

use super::audience::Position;
use super::store::{MailingRow, mailing_columns};
use crate::platform::database::{Connection, Prepare};
use crate::platform::error::{Error, Result};
use crate::platform::ids::ParkId;

/// A mailing of a park.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key<'a> {
    pub park: &'a ParkId,
    pub id: &'a str,
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = Integer)]
    chunk: i32,
}

/// Adds whoever is not in the mailing yet, and the chunk if somebody was added; references are looked at
/// when all of it is done.
const ADD: &str = concat!(
    "WITH added AS (INSERT INTO fleet_communications.mailing_recipients \
       (park_id, mailing_id, contractor_id, chunk) \
       SELECT $1, $2, g.contractor_id, $3 FROM UNNEST($4) AS g(contractor_id) \
       ON CONFLICT (park_id, mailing_id, contractor_id) DO NOTHING RETURNING 1), \
     counted AS MATERIALIZED (SELECT count(*) AS added FROM added), \
     chunk AS (INSERT INTO fleet_communications.mailing_chunks (park_id, mailing_id, chunk, size) \
       SELECT $1, $2, $3, counted.added FROM counted WHERE counted.added > 0) \
     UPDATE fleet_communications.mailings SET selected = selected + counted.added, \
       next_chunk = next_chunk + 1, next_page = $5, \
       selected_at = CASE WHEN $5 IS NULL THEN now() END, error = NULL, updated_at = now() \
     FROM counted WHERE park_id = $1 AND id = $2 RETURNING counted.added, ",
    mailing_columns!()
);

#[derive(QueryableByName)]
struct Added {
    #[diesel(sql_type = BigInt)]
    added: i64,
    #[diesel(embed)]
    mailing: MailingRow,
}

/// Stores a page of recipients as a chunk; whoever stands in the mailing already is passed over. How
/// many were added, and the mailing as it is now.
pub(super) async fn add(
    mut connection: &Connection,
    key: Key<'_>,
    chunk: i32,
    contractors: &[String],
    next: Option<&Position>,
) -> Result<(i64, MailingRow)> {
    let next = next.map(serde_json::to_string).transpose().map_err(Error::internal)?;
    let add = diesel::sql_query(ADD)
        .bind::<Text, _>(key.park.as_str())
        .bind::<Text, _>(key.id)
        .bind::<Integer, _>(chunk)
        .bind::<Array<Text>, _>(contractors)
        .bind::<Nullable<Text>, _>(next);
    let Added { added, mailing } = add.prepared().get_result(&mut connection).await?;
    Ok((added, mailing))
}

/// Forgets where the selection stands, so that it begins anew.
pub(super) async fn select_anew(mut connection: &Connection, key: Key<'_>) -> Result<()> {
    let sql = "UPDATE fleet_communications.mailings SET next_page = NULL, updated_at = now() \
         WHERE park_id = $1 AND id = $2 AND selected_at IS NULL";
    diesel::sql_query(sql)
        .bind::<Text, _>(key.park.as_str())
        .bind::<Text, _>(key.id)
        .prepared()
        .execute(&mut connection)
        .await?;
    Ok(())
}

/// The columns of a [`Chunk`] of the mailing `$1`, `$2` from `c`, which has its number.
macro_rules! chunk_columns {
    () => {
        "c.chunk, ARRAY(SELECT r.contractor_id FROM fleet_communications.mailing_recipients r \
           WHERE r.park_id = $1 AND r.mailing_id = $2 AND r.chunk = c.chunk \
           ORDER BY r.contractor_id) AS members"
    };
}

const BEGIN: &str = concat!(
    "WITH c AS (UPDATE fleet_communications.mailing_chunks SET state = 'sending' \
       WHERE park_id = $1 AND mailing_id = $2 AND chunk = (SELECT min(chunk) \
         FROM fleet_communications.mailing_chunks WHERE park_id = $1 AND mailing_id = $2 \
         AND state IN ('waiting', 'sending')) RETURNING chunk) SELECT ",
    chunk_columns!(),
    " FROM c"
);
const IN_FLIGHT: &str = concat!(
    "SELECT ",
    chunk_columns!(),
    " FROM fleet_communications.mailing_chunks c WHERE c.park_id = $1 AND c.mailing_id = $2 \
     AND c.state = 'sending' ORDER BY c.chunk LIMIT 1"
);

/// A chunk that is to be handed over.
#[derive(QueryableByName)]
pub(super) struct Chunk {
    #[diesel(sql_type = Integer)]
    pub chunk: i32,
    /// Always in the same order.
    #[diesel(sql_type = Array<Text>)]
    pub members: Vec<String>,
}

/// Marks the next chunk as handed over: one that was handed over before without an outcome comes
/// first. `None` when every chunk has its outcome.
pub(super) async fn begin_next(mut connection: &Connection, key: Key<'_>) -> Result<Option<Chunk>> {
    let query = diesel::sql_query(BEGIN).bind::<Text, _>(key.park.as_str()).bind::<Text, _>(key.id);
    Ok(query.get_result(&mut connection).await.optional()?)
}

/// The chunk that was handed over and has no outcome, if there is one.
pub(super) async fn in_flight(mut connection: &Connection, key: Key<'_>) -> Result<Option<Chunk>> {
    let query =
        diesel::sql_query(IN_FLIGHT).bind::<Text, _>(key.park.as_str()).bind::<Text, _>(key.id);
    Ok(query.get_result(&mut connection).await.optional()?)
}

const TO_RECALL: &str = "SELECT chunk FROM fleet_communications.mailing_chunks \
     WHERE park_id = $1 AND mailing_id = $2 AND state = 'sent' AND sent > 0 AND NOT recall_done LIMIT 1";

/// Whether there is a chunk that `feeds` is to take back.
pub(super) async fn is_to_recall(mut connection: &Connection, key: Key<'_>) -> Result<bool> {
    let query =
        diesel::sql_query(TO_RECALL).bind::<Text, _>(key.park.as_str()).bind::<Text, _>(key.id);
    let found: Option<Number> = query.prepared().get_result(&mut connection).await.optional()?;
    Ok(found.is_some())
}

/// A driver whose app does not take the message, and why.
pub(super) struct Rejection {
    pub contractor_id: String,
    pub code: String,
}

/// Rejected are `$4`, with their codes in `$5`; who has an outcome keeps it.
const SETTLE: &str = "WITH failed AS (UPDATE fleet_communications.mailing_recipients r \
       SET status = 'failed', error = g.code FROM UNNEST($4, $5) AS g(contractor_id, code) \
       WHERE r.park_id = $1 AND r.mailing_id = $2 AND r.chunk = $3 \
       AND r.contractor_id = g.contractor_id AND r.status = 'selected' RETURNING 1), \
     sent AS (UPDATE fleet_communications.mailing_recipients r SET status = 'sent' \
       WHERE r.park_id = $1 AND r.mailing_id = $2 AND r.chunk = $3 \
       AND r.contractor_id NOT IN (SELECT UNNEST($4)) AND r.status = 'selected' RETURNING 1), \
     counted AS MATERIALIZED (SELECT (SELECT count(*) FROM sent) AS sent, \
       (SELECT count(*) FROM failed) AS failed), \
     chunk AS (UPDATE fleet_communications.mailing_chunks c SET state = 'sent', sent = counted.sent \
       FROM counted WHERE c.park_id = $1 AND c.mailing_id = $2 AND c.chunk = $3 AND c.state = 'sending') \
     UPDATE fleet_communications.mailings m SET sent = m.sent + counted.sent, \
       failed = m.failed + counted.failed, error = NULL, updated_at = now() \
     FROM counted WHERE m.park_id = $1 AND m.id = $2 RETURNING counted.sent, counted.failed";
const COUNT: &str = "UPDATE fleet_communications.mailings SET skipped = skipped + $3, \
     recalled = recalled + $4, error = NULL, updated_at = now() WHERE park_id = $1 AND id = $2";

/// By how many drivers the counts of a mailing rise.
#[derive(Debug, Clone, Copy, Default)]
pub(in super::super) struct Rises {
    pub sent: i64,
    pub failed: i64,
    pub skipped: i64,
    pub recalled: i64,
}

#[derive(QueryableByName)]
struct Settled {
    #[diesel(sql_type = BigInt)]
    sent: i64,
    #[diesel(sql_type = BigInt)]
    failed: i64,
}

/// Writes the outcome of a chunk; nothing where its mailing is gone.
pub(super) async fn settle(
    mut connection: &Connection,
    key: Key<'_>,
    chunk: i32,
    rejections: &[Rejection],
) -> Result<Rises> {
    let ids: Vec<&str> = rejections.iter().map(|one| one.contractor_id.as_str()).collect();
    let codes: Vec<&str> = rejections.iter().map(|one| one.code.as_str()).collect();
    let settle = diesel::sql_query(SETTLE)
        .bind::<Text, _>(key.park.as_str())
        .bind::<Text, _>(key.id)
        .bind::<Integer, _>(chunk)
        .bind::<Array<Text>, _>(ids)
        .bind::<Array<Text>, _>(codes);
    let settled = settle.get_result(&mut connection).await.optional()?;
    let rises = |Settled { sent, failed }| Rises { sent, failed, ..Rises::default() };
    Ok(settled.map(rises).unwrap_or_default())
}

const BEGIN_RECALL: &str = "UPDATE fleet_communications.mailing_chunks SET recalls = recalls + 1 \
     WHERE park_id = $1 AND mailing_id = $2 AND chunk = (SELECT min(chunk) \
       FROM fleet_communications.mailing_chunks WHERE park_id = $1 AND mailing_id = $2 \
       AND state = 'sent' AND sent > 0 AND NOT recall_done) RETURNING chunk";

/// Notes that `feeds` is asked to take the next chunk back. `feeds` counts only once whom it took it
/// from: after an answer that was lost, the second says less.
pub(super) async fn begin_recall(mut connection: &Connection, key: Key<'_>) -> Result<Option<i32>> {
    let query =
        diesel::sql_query(BEGIN_RECALL).bind::<Text, _>(key.park.as_str()).bind::<Text, _>(key.id);
    let begun: Option<Number> = query.prepared().get_result(&mut connection).await.optional()?;
    Ok(begun.map(|number| number.chunk))
}

const RECALLED: &str = "UPDATE fleet_communications.mailing_chunks c SET recall_done = true, \
     recalled = LEAST(c.sent, c.recalled + $4) \
     FROM (SELECT recalled FROM fleet_communications.mailing_chunks \
       WHERE park_id = $1 AND mailing_id = $2 AND chunk = $3) AS before \
     WHERE c.park_id = $1 AND c.mailing_id = $2 AND c.chunk = $3 AND NOT c.recall_done \
     RETURNING c.recalled - before.recalled AS chunk";

/// Writes that `feeds` took back a chunk's messages from `removed` drivers.
pub(super) async fn recalled(
    mut connection: &Connection,
    key: Key<'_>,
    chunk: i32,
    removed: u32,
) -> Result<Rises> {
    let query = diesel::sql_query(RECALLED)
        .bind::<Text, _>(key.park.as_str())
        .bind::<Text, _>(key.id)
        .bind::<Integer, _>(chunk)
        .bind::<Integer, _>(i32::try_from(removed).map_err(Error::internal)?);
    let rise: Option<Number> = query.prepared().get_result(&mut connection).await.optional()?;
    let recalled = rise.map_or(0, |number| i64::from(number.chunk));
    count(connection, key, 0, recalled).await
}

/// Adds to skipped and recalled.
async fn count(
    mut connection: &Connection,
    key: Key<'_>,
    skipped: i64,
    recalled: i64,
) -> Result<Rises> {
    diesel::sql_query(COUNT)
        .bind::<Text, _>(key.park.as_str())
        .bind::<Text, _>(key.id)
        .bind::<BigInt, _>(skipped)
        .bind::<BigInt, _>(recalled)
        .prepared()
        .execute(&mut connection)
        .await?;
    Ok(Rises { skipped, recalled, ..Rises::default() })
}

const DROP: &str = "WITH dropped AS (UPDATE fleet_communications.mailing_chunks \
       SET state = 'dropped' WHERE park_id = $1 AND mailing_id = $2 AND state = 'waiting' \
       RETURNING size) SELECT COALESCE(sum(size), 0)::bigint AS count FROM dropped";

/// Stops every chunk that was not handed over; how many drivers are spared.
pub(super) async fn drop_waiting(mut connection: &Connection, key: Key<'_>) -> Result<Rises> {
    let query = diesel::sql_query(DROP).bind::<Text, _>(key.park.as_str()).bind::<Text, _>(key.id);
    let dropped: Count = query.prepared().get_result(&mut connection).await?;
    count(connection, key, dropped.count, 0).await
}

const PENDING: &str = "SELECT \
       COALESCE(sum(size) FILTER (WHERE state = 'sending'), 0)::bigint AS in_flight, \
       COALESCE(sum(sent) FILTER (WHERE state = 'sent' AND NOT recall_done), 0)::bigint AS sent, \
       COALESCE(sum(sent - recalled) FILTER (WHERE recall_done AND recalls > 1), 0)::bigint AS unknown \
     FROM fleet_communications.mailing_chunks WHERE park_id = $1 AND mailing_id = $2";

/// Drivers of a cancelled mailing of whom it is not known yet whether they keep the message.
#[derive(Debug, QueryableByName)]
pub(super) struct Pending {
    /// It was handed over, without an outcome so far.
    #[diesel(sql_type = BigInt)]
    pub in_flight: i64,
    /// They have it, and it was not taken back so far.
    #[diesel(sql_type = BigInt)]
    pub sent: i64,
    /// An answer on their chunk was lost: they may or may not keep it.
    #[diesel(sql_type = BigInt)]
    pub unknown: i64,
}

/// Of how many drivers of a cancelled mailing the outcome is open.
pub(super) async fn pending(mut connection: &Connection, key: Key<'_>) -> Result<Pending> {
    let query =
        diesel::sql_query(PENDING).bind::<Text, _>(key.park.as_str()).bind::<Text, _>(key.id);
    Ok(query.prepared().get_result(&mut connection).await?)
}
