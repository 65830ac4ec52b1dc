//! Which events and messages go when they are old.

use std::collections::BTreeSet;

use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Integer, Text};
use diesel_async::RunQueryDsl;
use futures_util::FutureExt;

use super::settings::ConversationSettings;
use crate::platform::database::{Cleaning, Connection, Prepare};
use crate::platform::error::Result;

/// A stream that is behind what is removed learns it by the gap in the numbers.
const EVENTS: &str = "DELETE FROM fleet_communications.events WHERE (park_id, seq) IN \
     (SELECT park_id, seq FROM fleet_communications.events \
      WHERE created_at < now() - make_interval(days => $1) ORDER BY created_at LIMIT $2)";

/// The oldest messages, for the statements below.
macro_rules! oldest {
    () => {
        "SELECT ctid AS row, park_id FROM fleet_communications.messages \
         WHERE created_at < now() - make_interval(days => $1) ORDER BY created_at LIMIT $2"
    };
}

/// Takes the streams of their parks, always in one order: whoever writes a message or a read mark waits,
/// and counters are exact.
const TAKE_STREAMS: &str = concat!(
    "SELECT s.park_id FROM fleet_communications.park_streams s WHERE s.park_id IN \
       (SELECT o.park_id FROM (",
    oldest!(),
    ") o) ORDER BY s.park_id FOR UPDATE"
);
/// Of the parks whose streams were taken: which messages are the oldest may have changed. Under these
/// locks nobody moves a message.
const MESSAGES: &str = concat!(
    "DELETE FROM fleet_communications.messages WHERE ctid = ANY(ARRAY(SELECT o.row FROM (",
    oldest!(),
    ") o WHERE o.park_id = ANY($3))) RETURNING park_id, contractor_id"
);
/// Of these conversations, those without a message end; the others keep their last message and count
/// what is unread of those that are left.
const SETTLE: &str = "WITH talks AS MATERIALIZED (\
       SELECT k.park_id, k.contractor_id, l.last_seq, u.to_park, u.to_driver \
       FROM UNNEST($1, $2) AS k(park_id, contractor_id) \
       CROSS JOIN LATERAL (SELECT max(m.seq) AS last_seq FROM fleet_communications.messages m \
         WHERE m.park_id = k.park_id AND m.contractor_id = k.contractor_id) l \
       CROSS JOIN LATERAL (SELECT count(*) FILTER (WHERE m.to_park)::int AS to_park, \
           count(*) FILTER (WHERE NOT m.to_park)::int AS to_driver \
         FROM fleet_communications.messages m WHERE m.park_id = k.park_id \
           AND m.contractor_id = k.contractor_id AND m.read_at IS NULL) u), \
     ended AS (DELETE FROM fleet_communications.conversations c USING talks t \
       WHERE t.last_seq IS NULL AND c.park_id = t.park_id AND c.contractor_id = t.contractor_id) \
     UPDATE fleet_communications.conversations c SET last_seq = t.last_seq, \
       park_unread = t.to_park, driver_unread = t.to_driver \
     FROM talks t WHERE t.last_seq IS NOT NULL \
       AND c.park_id = t.park_id AND c.contractor_id = t.contractor_id \
       AND (c.last_seq, c.park_unread, c.driver_unread) <> (t.last_seq, t.to_park, t.to_driver)";

#[derive(QueryableByName)]
struct Park {
    #[diesel(sql_type = Text)]
    park_id: String,
}

#[derive(QueryableByName)]
struct Talk {
    #[diesel(sql_type = Text)]
    park_id: String,
    #[diesel(sql_type = Text)]
    contractor_id: String,
}

/// Events that no stream is to resume from any more, and old messages.
pub(in super::super) fn cleanings(settings: &ConversationSettings) -> Vec<Cleaning> {
    let message_days = settings.message_days;
    vec![
        Cleaning::by_statement("fleet_communications.events", EVENTS, settings.event_days),
        Cleaning::by("fleet_communications.messages", move |connection, limit| {
            forget(connection, message_days, limit).boxed()
        }),
    ]
}

/// Removes up to `limit` messages, and conversations of which nothing is left.
async fn forget(mut connection: &Connection, days: i32, limit: i64) -> Result<usize> {
    let take = diesel::sql_query(TAKE_STREAMS).bind::<Integer, _>(days).bind::<BigInt, _>(limit);
    let parks: Vec<Park> = take.prepared().load(&mut connection).await?;
    if parks.is_empty() {
        return Ok(0);
    }
    let parks: Vec<String> = parks.into_iter().map(|park| park.park_id).collect();
    let remove = diesel::sql_query(MESSAGES)
        .bind::<Integer, _>(days)
        .bind::<BigInt, _>(limit)
        .bind::<Array<Text>, _>(parks);
    let gone: Vec<Talk> = remove.prepared().load(&mut connection).await?;
    let count = gone.len();
    let talks: BTreeSet<_> =
        gone.into_iter().map(|talk| (talk.park_id, talk.contractor_id)).collect();
    let (parks, contractors): (Vec<_>, Vec<_>) = talks.into_iter().unzip();
    let settle =
        diesel::sql_query(SETTLE).bind::<Array<Text>, _>(parks).bind::<Array<Text>, _>(contractors);
    settle.prepared().execute(&mut connection).await?;
    Ok(count)
}
