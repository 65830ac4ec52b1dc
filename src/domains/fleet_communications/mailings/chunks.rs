//! SQL of a mailing's chunks and recipients. The caller holds the mailing's lock
//! ([`store::lock`](super::store::lock)); every statement names the park.

use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Integer, Nullable, Text};
use diesel_async::RunQueryDsl;

use super::audience::Position;
use crate::platform::database::Connection;
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

#[derive(QueryableByName)]
struct Contractor {
    #[diesel(sql_type = Text)]
    contractor_id: String,
}

const ADD_CHUNK: &str = "INSERT INTO fleet_communications.mailing_chunks \
     (park_id, mailing_id, chunk, size) VALUES ($1, $2, $3, 0)";
const ADD_RECIPIENTS: &str = "WITH added AS (INSERT INTO fleet_communications.mailing_recipients \
       (park_id, mailing_id, contractor_id, chunk) \
       SELECT $1, $2, g.id, $3 FROM UNNEST($4::text[]) AS g(id) \
       ON CONFLICT (park_id, mailing_id, contractor_id) DO NOTHING RETURNING 1) \
     SELECT count(*) AS count FROM added";
const SIZE_CHUNK: &str = "UPDATE fleet_communications.mailing_chunks SET size = $4 \
     WHERE park_id = $1 AND mailing_id = $2 AND chunk = $3";
const FORGET_CHUNK: &str = "DELETE FROM fleet_communications.mailing_chunks \
     WHERE park_id = $1 AND mailing_id = $2 AND chunk = $3";
const SELECTED: &str = "UPDATE fleet_communications.mailings SET selected = selected + $3, \
     next_chunk = next_chunk + 1, next_page = $4, updated_at = now(), \
     selected_at = CASE WHEN $4 IS NULL THEN now() END, error = NULL WHERE park_id = $1 AND id = $2";

/// Stores a page of recipients as a chunk; whoever stands in the mailing already is passed over. How
/// many were added.
pub(super) async fn add(
    connection: &mut Connection,
    key: Key<'_>,
    chunk: i32,
    contractors: &[String],
    next: Option<&Position>,
) -> Result<i64> {
    let Key { park, id } = key;
    let chunk_query = |sql: &'static str| {
        diesel::sql_query(sql)
            .bind::<Text, _>(park.as_str().to_owned())
            .bind::<Text, _>(id.to_owned())
            .bind::<Integer, _>(chunk)
    };
    chunk_query(ADD_CHUNK).execute(connection).await?;
    let added: Count = chunk_query(ADD_RECIPIENTS)
        .bind::<Array<Text>, _>(contractors)
        .get_result(connection)
        .await?;
    let size = i32::try_from(added.count).map_err(Error::internal)?;
    if size == 0 {
        chunk_query(FORGET_CHUNK).execute(connection).await?;
    } else {
        chunk_query(SIZE_CHUNK).bind::<Integer, _>(size).execute(connection).await?;
    }
    let next = next.map(serde_json::to_string).transpose().map_err(Error::internal)?;
    diesel::sql_query(SELECTED)
        .bind::<Text, _>(park.as_str())
        .bind::<Text, _>(id)
        .bind::<BigInt, _>(added.count)
        .bind::<Nullable<Text>, _>(next)
        .execute(connection)
        .await?;
    Ok(added.count)
}

/// Forgets where the selection stands, so that it begins anew.
pub(super) async fn select_anew(connection: &mut Connection, key: Key<'_>) -> Result<()> {
    let sql = "UPDATE fleet_communications.mailings SET next_page = NULL, updated_at = now() \
         WHERE park_id = $1 AND id = $2 AND selected_at IS NULL";
    diesel::sql_query(sql)
        .bind::<Text, _>(key.park.as_str())
        .bind::<Text, _>(key.id)
        .execute(connection)
        .await?;
    Ok(())
}

const BEGIN: &str = "UPDATE fleet_communications.mailing_chunks SET state = 'sending' \
     WHERE park_id = $1 AND mailing_id = $2 AND chunk = (SELECT min(chunk) \
       FROM fleet_communications.mailing_chunks WHERE park_id = $1 AND mailing_id = $2 \
       AND state IN ('waiting', 'sending')) RETURNING chunk";

/// Marks the next chunk as handed over: one that was handed over before without an outcome comes
/// first. `None` when every chunk has its outcome.
pub(super) async fn begin_next(connection: &mut Connection, key: Key<'_>) -> Result<Option<i32>> {
    let query = diesel::sql_query(BEGIN).bind::<Text, _>(key.park.as_str()).bind::<Text, _>(key.id);
    let begun: Option<Number> = query.get_result(connection).await.optional()?;
    Ok(begun.map(|number| number.chunk))
}

/// The chunk that was handed over and has no outcome, if there is one.
pub(super) async fn in_flight(connection: &mut Connection, key: Key<'_>) -> Result<Option<i32>> {
    first(connection, key, "state = 'sending'").await
}

/// The next chunk that `feeds` is to take back.
pub(super) async fn to_recall(connection: &mut Connection, key: Key<'_>) -> Result<Option<i32>> {
    first(connection, key, "state = 'sent' AND sent > 0 AND NOT recall_done").await
}

async fn first(
    connection: &mut Connection,
    key: Key<'_>,
    which: &'static str,
) -> Result<Option<i32>> {
    let sql = format!(
        "SELECT chunk FROM fleet_communications.mailing_chunks \
         WHERE park_id = $1 AND mailing_id = $2 AND {which} ORDER BY chunk LIMIT 1"
    );
    let query = diesel::sql_query(sql).bind::<Text, _>(key.park.as_str()).bind::<Text, _>(key.id);
    let found: Option<Number> = query.get_result(connection).await.optional()?;
    Ok(found.map(|number| number.chunk))
}

/// The members of a chunk, always in the same order.
pub(super) async fn members(
    connection: &mut Connection,
    key: Key<'_>,
    chunk: i32,
) -> Result<Vec<String>> {
    let sql = "SELECT contractor_id FROM fleet_communications.mailing_recipients \
         WHERE park_id = $1 AND mailing_id = $2 AND chunk = $3 ORDER BY contractor_id";
    let query = diesel::sql_query(sql)
        .bind::<Text, _>(key.park.as_str())
        .bind::<Text, _>(key.id)
        .bind::<Integer, _>(chunk);
    let members: Vec<Contractor> = query.load(connection).await?;
    Ok(members.into_iter().map(|member| member.contractor_id).collect())
}

/// A driver whose app does not take the message, and why.
pub(super) struct Rejection {
    pub contractor_id: String,
    pub code: String,
}

const REJECT: &str = "UPDATE fleet_communications.mailing_recipients r \
     SET status = 'failed', error = g.code FROM UNNEST($4::text[], $5::text[]) AS g(id, code) \
     WHERE r.park_id = $1 AND r.mailing_id = $2 AND r.chunk = $3 AND r.contractor_id = g.id \
     AND r.status = 'selected'";
const ACCEPT: &str = "UPDATE fleet_communications.mailing_recipients SET status = 'sent' \
     WHERE park_id = $1 AND mailing_id = $2 AND chunk = $3 AND status = 'selected'";
const SETTLE: &str = "UPDATE fleet_communications.mailing_chunks SET state = 'sent', sent = $4 \
     WHERE park_id = $1 AND mailing_id = $2 AND chunk = $3 AND state = 'sending'";
const COUNT: &str = "UPDATE fleet_communications.mailings SET sent = sent + $3, \
     failed = failed + $4, skipped = skipped + $5, recalled = recalled + $6, error = NULL, \
     updated_at = now() WHERE park_id = $1 AND id = $2";

/// By how many drivers the counts of a mailing rise.
#[derive(Debug, Clone, Copy, Default)]
pub(in super::super) struct Rises {
    pub sent: i64,
    pub failed: i64,
    pub skipped: i64,
    pub recalled: i64,
}

/// Writes the outcome of a chunk.
pub(super) async fn settle(
    connection: &mut Connection,
    key: Key<'_>,
    chunk: i32,
    rejections: &[Rejection],
) -> Result<Rises> {
    let of_chunk = |sql: &'static str| {
        diesel::sql_query(sql)
            .bind::<Text, _>(key.park.as_str().to_owned())
            .bind::<Text, _>(key.id.to_owned())
            .bind::<Integer, _>(chunk)
    };
    let mut failed = 0;
    if !rejections.is_empty() {
        let ids: Vec<&str> = rejections.iter().map(|one| one.contractor_id.as_str()).collect();
        let codes: Vec<&str> = rejections.iter().map(|one| one.code.as_str()).collect();
        let query = of_chunk(REJECT).bind::<Array<Text>, _>(ids).bind::<Array<Text>, _>(codes);
        failed = query.execute(connection).await?;
    }
    let sent = of_chunk(ACCEPT).execute(connection).await?;
    let sent = i32::try_from(sent).map_err(Error::internal)?;
    of_chunk(SETTLE).bind::<Integer, _>(sent).execute(connection).await?;
    let failed = i64::try_from(failed).map_err(Error::internal)?;
    let rises = Rises { sent: i64::from(sent), failed, ..Rises::default() };
    count(connection, key, rises).await
}

const BEGIN_RECALL: &str = "UPDATE fleet_communications.mailing_chunks SET recalls = recalls + 1 \
     WHERE park_id = $1 AND mailing_id = $2 AND chunk = (SELECT min(chunk) \
       FROM fleet_communications.mailing_chunks WHERE park_id = $1 AND mailing_id = $2 \
       AND state = 'sent' AND sent > 0 AND NOT recall_done) RETURNING chunk";

/// Notes that `feeds` is asked to take the next chunk back. `feeds` counts only once whom it took it
/// from: after an answer that was lost, the second says less.
pub(super) async fn begin_recall(connection: &mut Connection, key: Key<'_>) -> Result<Option<i32>> {
    let query =
        diesel::sql_query(BEGIN_RECALL).bind::<Text, _>(key.park.as_str()).bind::<Text, _>(key.id);
    let begun: Option<Number> = query.get_result(connection).await.optional()?;
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
    connection: &mut Connection,
    key: Key<'_>,
    chunk: i32,
    removed: u32,
) -> Result<Rises> {
    let query = diesel::sql_query(RECALLED)
        .bind::<Text, _>(key.park.as_str())
        .bind::<Text, _>(key.id)
        .bind::<Integer, _>(chunk)
        .bind::<Integer, _>(i32::try_from(removed).map_err(Error::internal)?);
    let rise: Option<Number> = query.get_result(connection).await.optional()?;
    let recalled = rise.map_or(0, |number| i64::from(number.chunk));
    count(connection, key, Rises { recalled, ..Rises::default() }).await
}

/// Adds to sent, failed, skipped and recalled.
async fn count(connection: &mut Connection, key: Key<'_>, rises: Rises) -> Result<Rises> {
    let Rises { sent, failed, skipped, recalled } = rises;
    diesel::sql_query(COUNT)
        .bind::<Text, _>(key.park.as_str())
        .bind::<Text, _>(key.id)
        .bind::<BigInt, _>(sent)
        .bind::<BigInt, _>(failed)
        .bind::<BigInt, _>(skipped)
        .bind::<BigInt, _>(recalled)
        .execute(connection)
        .await?;
    Ok(rises)
}

const DROP: &str = "WITH dropped AS (UPDATE fleet_communications.mailing_chunks \
       SET state = 'dropped' WHERE park_id = $1 AND mailing_id = $2 AND state = 'waiting' \
       RETURNING size) SELECT COALESCE(sum(size), 0)::bigint AS count FROM dropped";

/// Stops every chunk that was not handed over; how many drivers are spared.
pub(super) async fn drop_waiting(connection: &mut Connection, key: Key<'_>) -> Result<Rises> {
    let query = diesel::sql_query(DROP).bind::<Text, _>(key.park.as_str()).bind::<Text, _>(key.id);
    let dropped: Count = query.get_result(connection).await?;
    count(connection, key, Rises { skipped: dropped.count, ..Rises::default() }).await
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
pub(super) async fn pending(connection: &mut Connection, key: Key<'_>) -> Result<Pending> {
    let query =
        diesel::sql_query(PENDING).bind::<Text, _>(key.park.as_str()).bind::<Text, _>(key.id);
    Ok(query.get_result(connection).await?)
}
