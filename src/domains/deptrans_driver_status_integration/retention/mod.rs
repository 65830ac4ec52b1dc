//! For how long shift states are kept: the history, and states of which nothing was heard any more.
//!
//! A state that is too old becomes a tombstone first, so that pollers learn that it is gone.

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Integer, Timestamptz};
use diesel_async::RunQueryDsl;
use futures_util::FutureExt;
use jiff_diesel::ToDiesel as _;

use super::feeds::{Feed, take_numbers};
use crate::platform::database::{Cleaning, Connection, Prepare as _};
use crate::platform::error::Result;

const FORGET_HISTORY: &str = "DELETE FROM deptrans.session_status_history WHERE ctid = ANY(ARRAY(\
     SELECT ctid FROM deptrans.session_status_history \
     WHERE recorded_at < now() - make_interval(days => $1) ORDER BY recorded_at LIMIT $2))";
/// Of `seq` that of `updated_at` is the order too. A state that still holds is shown by `occurred_at`.
const ANY_STALE: &str = "SELECT count(*) AS rows FROM (SELECT FROM deptrans.session_statuses \
     WHERE session_status IS NOT NULL AND updated_at < now() - make_interval(days => $1) \
       AND occurred_at < now() - make_interval(days => $1) LIMIT $2) s";
const BURY: &str = "WITH stale AS (SELECT driver_license_pd_id, row_number() OVER (ORDER BY seq) AS place \
       FROM deptrans.session_statuses \
       WHERE session_status IS NOT NULL AND updated_at < now() - make_interval(days => $1) \
         AND occurred_at < now() - make_interval(days => $1) ORDER BY seq LIMIT $2) \
     UPDATE deptrans.session_statuses s SET seq = $3 + stale.place, updated_at = $4, \
       session_status = NULL, ended_at = NULL \
     FROM stale WHERE s.driver_license_pd_id = stale.driver_license_pd_id";

#[derive(QueryableByName)]
struct Rows {
    #[diesel(sql_type = BigInt)]
    rows: i64,
}

/// States and history are kept for `days`.
pub(super) fn cleanings(days: u8) -> Vec<Cleaning> {
    let days = i32::from(days);
    vec![
        Cleaning::by_statement("deptrans.session_status_history", FORGET_HISTORY, days),
        Cleaning::by("deptrans.stale_statuses", move |connection, limit| {
            bury(connection, days, limit).boxed()
        }),
    ]
}

/// Makes up to `limit` states tombstones.
async fn bury(connection: &mut Connection, days: i32, limit: i64) -> Result<usize> {
    let any = diesel::sql_query(ANY_STALE).bind::<Integer, _>(days).bind::<BigInt, _>(limit);
    let stale = any.prepared().get_result::<Rows>(connection).await?.rows;
    let Some(count) = usize::try_from(stale).ok().filter(|count| *count > 0) else { return Ok(0) };
    let numbers = take_numbers(connection, Feed::Statuses, count).await?;
    let bury = diesel::sql_query(BURY)
        .bind::<Integer, _>(days)
        .bind::<BigInt, _>(stale)
        .bind::<BigInt, _>(numbers.base)
        .bind::<Timestamptz, _>(numbers.at.to_diesel());
    Ok(bury.prepared().execute(connection).await?)
}
