//! The statements of a worker. They run on its lane, each a transaction of its own; calls that come
//! while one is under way go out together as the next.
//!
//! All that touch a claimed task name its token, and none waits for a lock longer than a lane does.
//!
//! Their plans must not depend on what the table held when they were made. So the claimed rows are
//! looked up one by one (a lateral sub-select that locks cannot be turned round), and changed by the
//! `ctid` of the row that was locked. `lease_until IS NOT NULL` says the same as `state = 'running'`
//! (the table holds it to that), but no partial index answers to it: one that held few rows once was
//! read from end to end, with all its dead entries.

use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Double, Jsonb, Nullable, SmallInt, Text};
use diesel_async::RunQueryDsl;

use super::fronts::Tags;
use crate::platform::database::{BatchedStatement, Connection, prepared_statement};

/// Beyond it an interval may not be representable.
const LONGEST_PAUSE: Duration = Duration::from_hours(365 * 24);
/// Nothing else runs on it.
const LANE: &str = "tasks";
/// Plans are made when the table may be empty and are kept while it grows: only those that follow
/// an index are ever right.
const PLANNER: &str = " -c enable_seqscan=off -c enable_bitmapscan=off -c enable_sort=off \
     -c enable_hashjoin=off -c enable_mergejoin=off";

/// A claim on a task: void as soon as the task has another token or another state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Claim {
    pub id: i64,
    pub token: i64,
}

/// A task that was claimed, with what its handler needs.
#[derive(Debug, Clone, Queryable)]
pub(super) struct Claimed {
    pub id: i64,
    pub token: i64,
    pub kind: String,
    pub park_id: String,
    pub priority: i16,
    pub attempt: i16,
    pub max_attempts: i16,
    pub traceparent: String,
    pub payload: serde_json::Value,
    /// Seconds between being ready and being claimed.
    pub waited: f64,
}

impl Claimed {
    pub fn claim(&self) -> Claim {
        Claim { id: self.id, token: self.token }
    }
}

prepared_statement! {
    /// Claims tasks. By `ctid`, for the rows are locked by the same statement; nothing but `ctid`
    /// may stand in the outer condition, or an index is read from end to end for it.
    struct ClaimStatement<'a> returns (
        BigInt, BigInt, Text, Text, SmallInt, SmallInt, SmallInt, Text, Jsonb, Double
    );
    "UPDATE task_queue.tasks SET state = 'running', attempt = attempt + 1, token = token + 1, \
     lease_until = clock_timestamp() + make_interval(secs => ",
    lease: f64 => Double,
    ") WHERE ctid = ANY(ARRAY(SELECT line.ctid FROM UNNEST(",
    fronts: &'a [i64] => Array<BigInt>,
    ") WITH ORDINALITY AS p(front, place) CROSS JOIN LATERAL (\
       SELECT t.ctid FROM task_queue.tasks t WHERE t.state = 'ready' \
       AND t.priority = p.place - 1 AND t.tag >= p.front AND t.queue = ",
    queue: &'a str => Text, " AND t.kind = ANY(",
    kinds: &'a [&'static str] => Array<Text>,
    ") ORDER BY t.queue, t.priority, t.tag, t.id LIMIT ",
    limit: i64 => BigInt, " FOR UPDATE SKIP LOCKED) line LIMIT ",
    limit_of_all: i64 => BigInt,
    ")) RETURNING id, token, kind, park_id, priority, attempt, max_attempts, traceparent, payload, \
     extract(epoch FROM clock_timestamp() - run_at)::float8",
}

/// Claims up to `limit` ready tasks of these kinds.
#[derive(Debug, Clone)]
pub(super) struct ClaimTasks {
    pub queue: &'static str,
    pub kinds: Vec<&'static str>,
    pub fronts: Tags,
    pub limit: usize,
    pub lease: Duration,
}

impl BatchedStatement for ClaimTasks {
    type Input = Self;
    type Output = Vec<Claimed>;
    type Key = ();

    const NAME: &'static str = "task_claim";
    const LANE: &'static str = LANE;
    const LANE_OPTIONS: &'static str = PLANNER;
    const MAX: usize = 1;
    const REPEATABLE: bool = false;

    fn key(_: &Self) -> Option<()> {
        None
    }

    async fn run(mut connection: &Connection, inputs: &[Self]) -> QueryResult<Vec<Vec<Claimed>>> {
        let mut outputs = Vec::with_capacity(inputs.len());
        for input in inputs {
            let limit = i64::try_from(input.limit).unwrap_or(i64::MAX);
            let statement = ClaimStatement {
                lease: input.lease.as_secs_f64(),
                fronts: &input.fronts,
                queue: input.queue,
                kinds: &input.kinds,
                limit,
                limit_of_all: limit,
            };
            outputs.push(statement.load(&mut connection).await?);
        }
        Ok(outputs)
    }
}

/// Which of `claims` are in `ids`.
fn held(claims: impl Iterator<Item = Claim>, ids: &[i64]) -> Vec<bool> {
    claims.map(|claim| ids.contains(&claim.id)).collect()
}

/// The rows `c` of claims `i` that still hold, locked with `$lock`.
macro_rules! held_claims {
    ($lock:literal) => {
        concat!(
            " CROSS JOIN LATERAL (SELECT t.ctid FROM task_queue.tasks t \
             WHERE t.id = i.id AND t.token = i.token AND t.lease_until IS NOT NULL ",
            $lock,
            ") c"
        )
    };
}

prepared_statement! {
    struct RenewStatement<'a> returns BigInt;
    "UPDATE task_queue.tasks SET lease_until = clock_timestamp() + make_interval(secs => ",
    lease: f64 => Double,
    ") WHERE ctid = ANY(ARRAY(SELECT c.ctid FROM UNNEST(",
    ids: Vec<i64> => Array<BigInt>, ", ",
    tokens: &'a [i64] => Array<BigInt>,
    concat!(") AS i(id, token)", held_claims!("FOR NO KEY UPDATE"), ")) RETURNING id"),
}

/// Renews the lease of a claim; says whether it still holds.
pub(super) struct RenewLease;

impl BatchedStatement for RenewLease {
    type Input = (Claim, Duration);
    type Output = bool;
    type Key = i64;

    const NAME: &'static str = "task_renew";
    const LANE: &'static str = LANE;
    const LANE_OPTIONS: &'static str = PLANNER;
    const MAX: usize = 256;
    const REPEATABLE: bool = true;

    fn key((claim, _): &Self::Input) -> Option<i64> {
        Some(claim.id)
    }

    async fn run(mut connection: &Connection, inputs: &[Self::Input]) -> QueryResult<Vec<bool>> {
        let lease = inputs.first().map_or(0.0, |(_, lease)| lease.as_secs_f64());
        let tokens: Vec<i64> = inputs.iter().map(|(claim, _)| claim.token).collect();
        let ids = inputs.iter().map(|(claim, _)| claim.id).collect();
        let statement = RenewStatement { lease, ids, tokens: &tokens };
        let ids: Vec<i64> = statement.load(&mut connection).await?;
        Ok(held(inputs.iter().map(|(claim, _)| *claim), &ids))
    }
}

prepared_statement! {
    struct CompleteStatement<'a> returns BigInt;
    "DELETE FROM task_queue.tasks WHERE ctid = ANY(ARRAY(SELECT c.ctid FROM UNNEST(",
    ids: &'a [i64] => Array<BigInt>, ", ",
    tokens: &'a [i64] => Array<BigInt>,
    concat!(") AS i(id, token)", held_claims!("FOR UPDATE"), ")) RETURNING id"),
}

/// Removes a task that is done; says whether the claim still held.
pub(super) struct CompleteTask;

impl BatchedStatement for CompleteTask {
    type Input = Claim;
    type Output = bool;
    type Key = i64;

    const NAME: &'static str = "task_complete";
    const LANE: &'static str = LANE;
    const LANE_OPTIONS: &'static str = PLANNER;
    const MAX: usize = 256;
    /// The second finds nothing left, which is said as if the claim were void.
    const REPEATABLE: bool = false;

    fn key(claim: &Claim) -> Option<i64> {
        Some(claim.id)
    }

    async fn run(mut connection: &Connection, inputs: &[Claim]) -> QueryResult<Vec<bool>> {
        let ids: Vec<i64> = inputs.iter().map(|claim| claim.id).collect();
        let tokens: Vec<i64> = inputs.iter().map(|claim| claim.token).collect();
        let statement = CompleteStatement { ids: &ids, tokens: &tokens };
        let ids: Vec<i64> = statement.load(&mut connection).await?;
        Ok(held(inputs.iter().copied(), &ids))
    }
}

/// What becomes of a task that is not done.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PutBack {
    pub claim: Claim,
    pub to: To,
    /// The attempts that count from now on.
    pub attempt: i16,
    /// Why: a code and a text.
    pub error: Option<(String, String)>,
    /// Where the look for the queue's front begins.
    pub hint: i64,
}

/// Where a task goes back to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum To {
    /// It waits this long first.
    Scheduled(Duration),
    /// The head of its queue: it was interrupted.
    Front,
    /// The end of its park's line.
    Line,
    /// Nowhere.
    Dead,
}

prepared_statement! {
    struct PutBackStatement<'a> returns BigInt;
    "UPDATE task_queue.tasks t SET state = i.state, attempt = i.attempt, lease_until = NULL, \
     run_at = CASE WHEN i.interrupted THEN t.run_at ELSE clock_timestamp() + make_interval(secs => i.pause) END, \
     died_at = CASE WHEN i.state = 'dead' THEN clock_timestamp() END, \
     error_code = COALESCE(i.code, t.error_code), error = COALESCE(i.text, t.error), \
     tag = CASE WHEN i.state = 'ready' THEN (SELECT CASE WHEN i.interrupted THEN l.front ELSE l.last + 1 END \
       FROM task_queue.line_end(t.queue, t.priority, t.park_id, i.hint) l) ELSE t.tag END \
     FROM UNNEST(",
    ids: Vec<i64> => Array<BigInt>, ", ",
    tokens: Vec<i64> => Array<BigInt>, ", ",
    states: Vec<&'static str> => Array<Text>, ", ",
    attempts: Vec<i16> => Array<SmallInt>, ", ",
    pauses: Vec<f64> => Array<Double>, ", ",
    interrupted: Vec<bool> => Array<Bool>, ", ",
    codes: Vec<Option<&'a str>> => Array<Nullable<Text>>, ", ",
    texts: Vec<Option<&'a str>> => Array<Nullable<Text>>, ", ",
    hints: Vec<i64> => Array<BigInt>,
    concat!(
        ") AS i(id, token, state, attempt, pause, interrupted, code, text, hint)",
        held_claims!("FOR NO KEY UPDATE"),
        " WHERE t.ctid = c.ctid RETURNING t.id"
    ),
}

/// Puts a task back, or aside for good; says whether the claim still held.
pub(super) struct PutBackTask;

impl BatchedStatement for PutBackTask {
    type Input = PutBack;
    type Output = bool;
    type Key = i64;

    const NAME: &'static str = "task_put_back";
    const LANE: &'static str = LANE;
    const LANE_OPTIONS: &'static str = PLANNER;
    const MAX: usize = 256;
    /// As with [`CompleteTask`].
    const REPEATABLE: bool = false;

    fn key(input: &PutBack) -> Option<i64> {
        Some(input.claim.id)
    }

    async fn run(mut connection: &Connection, inputs: &[PutBack]) -> QueryResult<Vec<bool>> {
        let texts = |of: fn(&(String, String)) -> &String| {
            inputs
                .iter()
                .map(|input| input.error.as_ref().map(|error| of(error).as_str()))
                .collect()
        };
        let statement = PutBackStatement {
            ids: inputs.iter().map(|input| input.claim.id).collect(),
            tokens: inputs.iter().map(|input| input.claim.token).collect(),
            states: inputs.iter().map(|input| input.to.state()).collect(),
            attempts: inputs.iter().map(|input| input.attempt).collect(),
            pauses: inputs.iter().map(|input| input.to.pause().as_secs_f64()).collect(),
            interrupted: inputs.iter().map(|input| input.to == To::Front).collect(),
            codes: texts(|(code, _)| code),
            texts: texts(|(_, text)| text),
            hints: inputs.iter().map(|input| input.hint).collect(),
        };
        let ids: Vec<i64> = statement.load(&mut connection).await?;
        Ok(held(inputs.iter().map(|input| input.claim), &ids))
    }
}

impl To {
    fn state(self) -> &'static str {
        match self {
            Self::Scheduled(_) => "scheduled",
            Self::Front | Self::Line => "ready",
            Self::Dead => "dead",
        }
    }

    fn pause(self) -> Duration {
        match self {
            Self::Scheduled(pause) => pause.min(LONGEST_PAUSE),
            Self::Front | Self::Line | Self::Dead => Duration::ZERO,
        }
    }
}
