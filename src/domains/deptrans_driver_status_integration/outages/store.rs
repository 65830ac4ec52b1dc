//! SQL of outages.

use diesel::sql_types::{BigInt, Bool, Double, Nullable, Timestamptz};
use diesel::{OptionalExtension as _, QueryableByName};
use diesel_async::RunQueryDsl;
use jiff::Timestamp;
use jiff_diesel::{NullableTimestamp, Timestamp as SqlTimestamp, ToDiesel as _};
use serde::Serialize;

use crate::platform::database::{Connection, Moment, Prepare as _};
use crate::platform::error::Result;

/// While an outage lasts, its queue is counted so often by one of the instances, in seconds.
const COUNT_EVERY: f64 = 5.0;

/// A time in which the regulator could not be told.
#[derive(Debug, Serialize, QueryableByName, utoipa::ToSchema)]
pub(super) struct Outage {
    #[diesel(sql_type = BigInt)]
    #[serde(skip)]
    id: i64,
    /// The first call that failed.
    #[diesel(sql_type = Timestamptz, deserialize_as = SqlTimestamp)]
    #[schema(value_type = String, format = DateTime)]
    from_at: Timestamp,
    /// The first call that was answered again; absent while it lasts.
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = NullableTimestamp)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    to_at: Option<Timestamp>,
    /// Drivers whose newest status waited, at most.
    #[diesel(sql_type = BigInt)]
    #[schema(minimum = 0)]
    longest_queue: i64,
    /// Statuses that were replaced by newer ones of the same drivers before they could be sent.
    #[diesel(sql_type = BigInt)]
    #[schema(minimum = 0)]
    superseded: i64,
    /// When nothing waited any more of what had waited when it ended.
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = NullableTimestamp)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    caught_up_at: Option<Timestamp>,
}

/// Where a page ended.
pub(super) type Position = (Moment, i64);

const LIST: &str = "SELECT id, from_at, to_at, longest_queue, superseded, caught_up_at \
     FROM deptrans.krt_outages WHERE $1 IS NULL OR (from_at, id) < ($1, $2) \
     ORDER BY from_at DESC, id DESC LIMIT $3";

/// Outages before a position, the newest first.
pub(super) async fn list(
    mut connection: &Connection,
    before: Option<Position>,
    limit: u32,
) -> Result<(Vec<Outage>, Option<Position>)> {
    let (before_at, before_id) = before.unzip();
    let mut items: Vec<Outage> = diesel::sql_query(LIST)
        .bind::<Nullable<Timestamptz>, _>(before_at.map(|at: Moment| at.0.to_diesel()))
        .bind::<Nullable<BigInt>, _>(before_id)
        .bind::<BigInt, _>(i64::from(limit) + 1)
        .prepared()
        .load(&mut connection)
        .await?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let is_more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| is_more).map(|last| (Moment(last.from_at), last.id));
    Ok((items, next))
}

/// Begins an outage that is not yet open, unless an instance had an answer not long ago; one that is open
/// began earlier if this instance knows better. A row that is written for the first time has no `xmax`.
const OPEN: &str = "INSERT INTO deptrans.krt_outages AS o (from_at) \
     SELECT GREATEST(clock_timestamp() - make_interval(secs => $1), answered_at) FROM deptrans.krt_pace \
     WHERE answered_at < clock_timestamp() - make_interval(secs => $2) \
     ON CONFLICT ((true)) WHERE to_at IS NULL DO UPDATE SET from_at = excluded.from_at \
       WHERE o.from_at > excluded.from_at \
     RETURNING o.xmax = 0 AS began";

#[derive(QueryableByName)]
struct Opened {
    #[diesel(sql_type = Bool)]
    began: bool,
}

/// KRT has failed this instance since `failing` seconds; no outage begins when it answered another one
/// in the last `grace` seconds. Whether one began.
pub(super) async fn open(mut connection: &Connection, failing: f64, grace: f64) -> Result<bool> {
    let open = diesel::sql_query(OPEN).bind::<Double, _>(failing).bind::<Double, _>(grace);
    let opened: Option<Opened> = open.prepared().get_result(&mut connection).await.optional()?;
    Ok(opened.is_some_and(|opened| opened.began))
}

/// Tells the other instances of the last answer, and ends the open outage: with the first answer behind
/// its beginning that this instance knows of.
const CLOSE: &str = "WITH told AS (UPDATE deptrans.krt_pace SET \
       answered_at = GREATEST(answered_at, clock_timestamp() - make_interval(secs => $1))) \
     UPDATE deptrans.krt_outages SET to_at = \
       CASE WHEN clock_timestamp() - make_interval(secs => $2) > from_at \
         THEN clock_timestamp() - make_interval(secs => $2) \
         ELSE clock_timestamp() - make_interval(secs => $1) END, \
       counted_at = clock_timestamp(), longest_queue = GREATEST(longest_queue, \
         (SELECT count(*) FROM deptrans.status_queue WHERE due_at IS NOT NULL)) \
     WHERE to_at IS NULL AND from_at < clock_timestamp() - make_interval(secs => $1)";

/// KRT answered this instance: last so many seconds ago, and first again so many. Whether an outage
/// ended by that.
pub(super) async fn close(mut connection: &Connection, last: f64, first: f64) -> Result<bool> {
    let close = diesel::sql_query(CLOSE).bind::<Double, _>(last).bind::<Double, _>(first);
    Ok(close.prepared().execute(&mut connection).await? > 0)
}

const COUNT: &str = "UPDATE deptrans.krt_outages SET counted_at = clock_timestamp(), \
       longest_queue = GREATEST(longest_queue, \
         (SELECT count(*) FROM deptrans.status_queue WHERE due_at IS NOT NULL)) \
     WHERE to_at IS NULL AND counted_at < clock_timestamp() - make_interval(secs => $1)";
const CATCH_UP: &str = "UPDATE deptrans.krt_outages o SET caught_up_at = clock_timestamp() \
     WHERE o.to_at IS NOT NULL AND o.caught_up_at IS NULL AND NOT EXISTS (\
       SELECT FROM deptrans.status_queue q WHERE q.due_at IS NOT NULL AND q.queued_at <= o.to_at)";
const STATE: &str = "SELECT EXISTS (SELECT FROM deptrans.krt_outages WHERE to_at IS NULL) AS is_open, \
     EXISTS (SELECT FROM deptrans.krt_outages WHERE to_at IS NOT NULL AND caught_up_at IS NULL) \
       AS is_behind";

/// How outages are.
#[derive(Debug, Clone, Copy, Default, QueryableByName)]
pub(super) struct State {
    /// One is open.
    #[diesel(sql_type = Bool)]
    pub is_open: bool,
    /// One is over, and what waited then is not yet sent.
    #[diesel(sql_type = Bool)]
    pub is_behind: bool,
}

/// Counts the queue of the open outage, notes that what waited is sent, and tells how outages are.
pub(super) async fn follow(mut connection: &Connection) -> Result<State> {
    let state: State = diesel::sql_query(STATE).prepared().get_result(&mut connection).await?;
    // These two are not prepared: what they look for has no parameters, so that PostgreSQL would keep a plan
    // that it made while the queue was empty.
    if state.is_open {
        let count = diesel::sql_query(COUNT).bind::<Double, _>(COUNT_EVERY);
        count.execute(&mut connection).await?;
    }
    if state.is_behind {
        diesel::sql_query(CATCH_UP).execute(&mut connection).await?;
    }
    Ok(state)
}
