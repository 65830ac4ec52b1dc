//! Cabinets are asked for their state in turn. Instances share the turns: whoever claims a cabinet asks
//! it, once. A question is not a command that anybody waits for, and is not kept.

use std::sync::Arc;
use std::time::{Duration, Instant};

use diesel::sql_types::{BigInt, Double, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use futures_util::future::join_all;
use jiff_diesel::Timestamp as SqlTimestamp;
use uuid::Uuid;

use super::commands::{CommandKind, payload};
use super::line::Line;
use crate::platform::context::{Context, Deadline};
use crate::platform::database::{Connection, Prepare};
use crate::platform::error::Result;

const EVERY: Duration = Duration::from_millis(500);
const LOOKS_FOR_SILENCE: Duration = Duration::from_secs(5);
/// Cabinets that are asked in one round.
const BATCH: i64 = 64;
const PATIENCE: Duration = Duration::from_secs(5);

/// A cabinet that waits for another command is asked later: somebody stands there.
const CLAIM: &str = "WITH due AS (SELECT c.id, EXISTS (SELECT FROM scooter_accumulator.bookings b \
         WHERE b.cabinet_id = c.id AND b.status = 'unknown') AS is_unknown \
       FROM scooter_accumulator.cabinets c WHERE c.poll_at <= clock_timestamp() AND c.free_at <= clock_timestamp() \
       AND NOT EXISTS (SELECT FROM scooter_accumulator.commands k WHERE k.cabinet_id = c.id AND k.status = 'created') \
       ORDER BY c.poll_at LIMIT $1 FOR NO KEY UPDATE OF c SKIP LOCKED) \
     UPDATE scooter_accumulator.cabinets c SET asked = gen_random_uuid(), asked_at = clock_timestamp(), \
       free_at = clock_timestamp() + make_interval(secs => $2), poll_at = clock_timestamp() + make_interval(secs => \
         CASE WHEN due.is_unknown THEN $4 ELSE $3 * (0.95 + 0.1 * random()) END) \
     FROM due WHERE c.id = due.id RETURNING c.id, c.asked, \
       clock_timestamp() + c.clock_ahead_ms * interval '1 millisecond' AS issued_at, \
       clock_timestamp() + c.clock_ahead_ms * interval '1 millisecond' + make_interval(secs => $5) AS expires_at";
const FALL_SILENT: &str = "UPDATE scooter_accumulator.cabinets SET online = false \
     WHERE online AND last_seen_at < clock_timestamp() - make_interval(secs => $1)";

#[derive(diesel::QueryableByName)]
struct Claimed {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = SqlUuid)]
    asked: Uuid,
    #[diesel(sql_type = Timestamptz)]
    issued_at: SqlTimestamp,
    #[diesel(sql_type = Timestamptz)]
    expires_at: SqlTimestamp,
}

/// Asks until the process stops.
pub async fn run(line: Arc<Line>) {
    let mut state = line.mqtt.link();
    let mut up_since: Option<Instant> = None;
    let mut looked = Instant::now();
    let mut told = false;
    loop {
        let is_up = state.borrow_and_update().up;
        up_since = if is_up { up_since.or_else(|| Some(Instant::now())) } else { None };
        let mut more = false;
        if let Some(since) = up_since {
            match ask(&line).await {
                Ok(asked) => {
                    told = false;
                    more = asked;
                }
                Err(error) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(code = error.code(), "no cabinet is asked for its state");
                    }
                }
            }
            // While we could not hear, silence says nothing.
            let hears = since.elapsed() >= line.settings.offline_after();
            if hears && looked.elapsed() >= LOOKS_FOR_SILENCE {
                looked = Instant::now();
                if let Err(error) = fall_silent(&line).await {
                    tracing::warn!(code = error.code(), "silent cabinets were not looked for");
                }
            }
        }
        let pause = if more { EVERY / 10 } else { EVERY };
        tokio::select! {
            () = line.closing.wait() => return,
            () = line.ask.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Asks the cabinets whose turn it is; whether there may be more of them.
async fn ask(line: &Line) -> Result<bool> {
    let context = Context::background("scooter polling", PATIENCE);
    let settings = &line.settings;
    let deadline = Deadline::after(settings.ttl());
    let claim = async |connection: &mut Connection| {
        let query = diesel::sql_query(CLAIM)
            .bind::<BigInt, _>(BATCH)
            .bind::<Double, _>(settings.pace().as_secs_f64())
            .bind::<Double, _>(settings.poll().as_secs_f64())
            .bind::<Double, _>(settings.ask_again().as_secs_f64())
            .bind::<Double, _>(settings.ttl().as_secs_f64());
        Ok(query.prepared().load::<Claimed>(connection).await?)
    };
    let claimed = line.database.transaction(&context, claim).await?;
    let more = i64::try_from(claimed.len()).is_ok_and(|count| count >= BATCH);
    join_all(claimed.iter().map(|claimed| publish(line, claimed, deadline))).await;
    Ok(more)
}

async fn publish(line: &Line, claimed: &Claimed, deadline: Deadline) {
    let Some(topic) = line.topics.commands.topic(&claimed.id) else { return };
    let times = (claimed.issued_at.to_jiff(), claimed.expires_at.to_jiff());
    let kind = CommandKind::GetState;
    let Ok(payload) = payload(claimed.asked, kind, None, None, times) else { return };
    // A question that is lost is asked again in its turn.
    match line.mqtt.publish(&topic, payload, deadline).await {
        Ok(()) => line.metrics.polls.inc(),
        Err(error) => tracing::debug!(%error, "a cabinet was not asked"),
    }
}

async fn fall_silent(line: &Line) -> Result<()> {
    let context = Context::background("scooter polling", PATIENCE);
    let after = line.settings.offline_after().as_secs_f64();
    let work = async |connection: &mut Connection| {
        let query = diesel::sql_query(FALL_SILENT).bind::<Double, _>(after);
        Ok(query.prepared().execute(connection).await?)
    };
    let silent = line.database.transaction(&context, work).await?;
    if silent > 0 {
        tracing::info!(silent, "cabinets are offline: nothing was heard of them");
        line.metrics.turned_offline.inc_by(u64::try_from(silent).unwrap_or(u64::MAX));
    }
    Ok(())
}
