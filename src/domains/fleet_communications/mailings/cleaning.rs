//! Recipients go when their mailing has been over for long; later the mailing itself, and then what was left
//! of its template, if that was deleted.

use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Integer, Text};
use diesel_async::RunQueryDsl;
use futures_util::FutureExt;

use crate::domains::fleet_communications::settings::CommunicationsSettings;
use crate::platform::database::{Cleaning, Connection, Prepare};
use crate::platform::error::Result;

/// Mailings of a batch: each may have hundreds of chunks.
const MAILINGS: i64 = 100;

/// Mailings that are over, under their locks: one that was resumed is none any more, and nobody changes
/// recipients. One that somebody else has is passed over.
macro_rules! over {
    () => {
        "SELECT ctid AS row, park_id, id FROM fleet_communications.mailings \
         WHERE finished_at < now() - make_interval(days => $1) AND recipients_removed_at IS NULL \
         AND selected > 0 ORDER BY finished_at LIMIT 100 FOR NO KEY UPDATE SKIP LOCKED"
    };
}

/// The inner limit has each mailing's recipients looked up by their key.
const RECIPIENTS: &str = concat!(
    "DELETE FROM fleet_communications.mailing_recipients WHERE ctid = ANY(ARRAY(SELECT r.row FROM (",
    over!(),
    ") m CROSS JOIN LATERAL (SELECT r.ctid AS row FROM fleet_communications.mailing_recipients r \
       WHERE r.park_id = m.park_id AND r.mailing_id = m.id LIMIT $2) r LIMIT $2))"
);
/// Those of whom nobody is left are not looked at again.
const NOTE: &str = concat!(
    "UPDATE fleet_communications.mailings SET recipients_removed_at = now() \
     WHERE ctid = ANY(ARRAY(SELECT m.row FROM (",
    over!(),
    ") m WHERE NOT EXISTS (SELECT FROM fleet_communications.mailing_recipients r \
       WHERE r.park_id = m.park_id AND r.mailing_id = m.id)))"
);

/// Takes mailings of whom no recipient is left, as the statements above do.
const TAKE_ENDED: &str = "SELECT park_id, id FROM fleet_communications.mailings \
     WHERE finished_at < now() - make_interval(days => $1) \
       AND (recipients_removed_at IS NOT NULL OR selected = 0) \
     ORDER BY finished_at LIMIT $2 FOR UPDATE SKIP LOCKED";
const CHUNKS: &str = "DELETE FROM fleet_communications.mailing_chunks c USING UNNEST($1, $2) AS k(park_id, id) \
     WHERE c.park_id = k.park_id AND c.mailing_id = k.id";
const ENDED: &str = "DELETE FROM fleet_communications.mailings m USING UNNEST($1, $2) AS k(park_id, id) \
     WHERE m.park_id = k.park_id AND m.id = k.id";
/// A deleted template stays while the history shows a mailing of it. Nobody orders one of it any more.
const TEMPLATES: &str = "DELETE FROM fleet_communications.mailing_templates WHERE ctid = ANY(ARRAY(\
     SELECT t.ctid FROM fleet_communications.mailing_templates t \
     WHERE t.deleted_at < now() - make_interval(days => $1) AND NOT EXISTS (\
       SELECT FROM fleet_communications.mailings m \
       WHERE m.park_id = t.park_id AND m.template_id = t.id) \
     ORDER BY t.deleted_at LIMIT $2 FOR UPDATE SKIP LOCKED))";

#[derive(QueryableByName)]
struct Ended {
    #[diesel(sql_type = Text)]
    park_id: String,
    #[diesel(sql_type = Text)]
    id: String,
}

/// Recipients, mailings and deleted templates, each with its own age. What refers to another goes first.
pub(in super::super) fn cleanings(settings: &CommunicationsSettings) -> Vec<Cleaning> {
    let (recipient_days, mailing_days) = (settings.recipient_days, settings.mailing_days);
    vec![
        Cleaning::by("fleet_communications.mailing_recipients", move |connection, limit| {
            forget_recipients(connection, recipient_days, limit).boxed()
        }),
        Cleaning::by("fleet_communications.mailings", move |connection, limit| {
            forget_mailings(connection, mailing_days, limit).boxed()
        })
        .in_batches_of(MAILINGS),
        Cleaning::by_statement("fleet_communications.mailing_templates", TEMPLATES, mailing_days),
    ]
}

async fn forget_recipients(mut connection: &Connection, days: i32, limit: i64) -> Result<usize> {
    let remove = diesel::sql_query(RECIPIENTS).bind::<Integer, _>(days).bind::<BigInt, _>(limit);
    let removed = remove.prepared().execute(&mut connection).await?;
    let note = diesel::sql_query(NOTE).bind::<Integer, _>(days);
    note.prepared().execute(&mut connection).await?;
    Ok(removed)
}

/// Removes up to `limit` mailings with their chunks.
async fn forget_mailings(mut connection: &Connection, days: i32, limit: i64) -> Result<usize> {
    let take = diesel::sql_query(TAKE_ENDED).bind::<Integer, _>(days).bind::<BigInt, _>(limit);
    let ended: Vec<Ended> = take.prepared().load(&mut connection).await?;
    if ended.is_empty() {
        return Ok(0);
    }
    let (parks, ids): (Vec<_>, Vec<_>) =
        ended.into_iter().map(|mailing| (mailing.park_id, mailing.id)).unzip();
    let chunks = diesel::sql_query(CHUNKS).bind::<Array<Text>, _>(&parks);
    chunks.bind::<Array<Text>, _>(&ids).prepared().execute(&mut connection).await?;
    let mailings = diesel::sql_query(ENDED).bind::<Array<Text>, _>(&parks);
    Ok(mailings.bind::<Array<Text>, _>(&ids).prepared().execute(&mut connection).await?)
}
