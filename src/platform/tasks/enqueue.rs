//! Enqueuing, in the caller's transaction.

use std::time::{Duration, Instant};

use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Jsonb, Nullable, SmallInt, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use jiff_diesel::{Timestamp as SqlTimestamp, ToDiesel};

use super::task::{NewTask, PRIORITIES, Task, TaskId};
use super::{Tasks, WAKE_UPS};
use crate::platform::context::Context;
use crate::platform::database::{Connection, prepared_statement};
use crate::platform::error::{Error, Kind, Result};

/// Tasks in one statement at most; more take several.
const CHUNK: usize = 5_000;
/// A process notifies a queue at most this often. Workers that have just found something look again
/// by themselves for longer than this.
const NOTIFY_EVERY: Duration = Duration::from_millis(25);
/// Largest stored payload: ids, not documents.
const MOST_BYTES: usize = 64 << 10;

prepared_statement! {
    /// Stores tasks, each behind its park's last. Whoever is idle is notified when the transaction
    /// commits. Keys are taken in one order, so that two batches never wait for each other
    /// crosswise.
    struct EnqueueStatement<'a> returns (BigInt, Nullable<BigInt>, Array<Nullable<BigInt>>, Bool);
    "WITH given AS MATERIALIZED (SELECT * FROM UNNEST(",
    payloads: Vec<serde_json::Value> => Array<Jsonb>, ", ",
    parks: Vec<&'a str> => Array<Text>, ", ",
    keys: Vec<Option<&'a str>> => Array<Nullable<Text>>, ", ",
    priorities: Vec<i16> => Array<SmallInt>, ", ",
    run_at: Vec<Option<SqlTimestamp>> => Array<Nullable<Timestamptz>>,
    ") WITH ORDINALITY AS g(payload, park_id, unique_key, priority, run_at, place)), \
     lines AS MATERIALIZED (SELECT d.priority, d.park_id, l.front, l.last, l.idle \
       FROM (SELECT DISTINCT priority, park_id FROM given) d \
       CROSS JOIN LATERAL task_queue.line_end(",
    queue: &'a str => Text, ", d.priority, d.park_id, (",
    hints: &'a [i64] => Array<BigInt>,
    "::bigint[])[d.priority + 1]) l), \
     made AS (INSERT INTO task_queue.tasks (tag, run_at, priority, max_attempts, state, queue, kind, \
       park_id, unique_key, traceparent, payload) \
       SELECT l.last + row_number() OVER (PARTITION BY g.priority, g.park_id ORDER BY g.place), \
       GREATEST(g.run_at, clock_timestamp()), g.priority, ",
    max_attempts: i16 => SmallInt,
    ", CASE WHEN g.run_at > clock_timestamp() THEN 'scheduled' ELSE 'ready' END, ",
    stored_queue: &'a str => Text, ", ",
    kind: &'a str => Text, ", g.park_id, g.unique_key, ",
    traceparent: &'a str => Text,
    ", g.payload FROM given g JOIN lines l USING (priority, park_id) \
       ORDER BY g.unique_key NULLS FIRST, g.place \
       ON CONFLICT (kind, unique_key) WHERE unique_key IS NOT NULL AND state <> 'dead' DO NOTHING \
       RETURNING id, state) \
     SELECT count(*), min(id), ARRAY[\
       (SELECT min(front) FROM lines WHERE priority = 0), \
       (SELECT min(front) FROM lines WHERE priority = 1), \
       (SELECT min(front) FROM lines WHERE priority = 2)], \
     CASE WHEN bool_or(state = 'ready') AND (SELECT bool_or(idle) FROM lines) AND ",
    may_notify: bool => Bool, " THEN pg_notify(",
    channel: &'a str => Text, ", ",
    notified_queue: &'a str => Text,
    ")::text IS NOT NULL ELSE false END FROM made",
}

#[derive(Queryable)]
struct Made {
    count: i64,
    first: Option<i64>,
    fronts: Vec<Option<i64>>,
    notified: bool,
}

impl Tasks {
    /// Enqueues a task with the transaction of `connection`: it is there when that commits. Returns
    /// its number, or `None` when a task with its unique key is there already.
    ///
    /// # Errors
    /// The payload is too large or holds U+0000, which `jsonb` cannot; the database fails.
    pub async fn enqueue<T: Task>(
        &self,
        connection: &Connection,
        context: &Context,
        task: NewTask<T>,
    ) -> Result<Option<TaskId>> {
        let made = self.store(connection, context, std::slice::from_ref(&task)).await?;
        Ok(made.first.map(TaskId))
    }

    /// Enqueues many at once; a park's own are in the order given. Returns how many there were that
    /// no unique key kept out.
    ///
    /// # Errors
    /// As [`Tasks::enqueue`].
    pub async fn enqueue_all<T: Task>(
        &self,
        connection: &Connection,
        context: &Context,
        tasks: &[NewTask<T>],
    ) -> Result<usize> {
        let mut count = 0;
        for chunk in tasks.chunks(CHUNK) {
            let made = self.store(connection, context, chunk).await?;
            count += usize::try_from(made.count).unwrap_or_default();
        }
        Ok(count)
    }

    async fn store<T: Task>(
        &self,
        mut connection: &Connection,
        context: &Context,
        tasks: &[NewTask<T>],
    ) -> Result<Made> {
        let payloads = tasks.iter().map(|new| payload_of(&new.task)).collect::<Result<_>>()?;
        let (hints, may_notify) = self.before_enqueuing(T::QUEUE);
        let traceparent = context.trace.to_string();
        let statement = EnqueueStatement {
            payloads,
            parks: tasks.iter().map(|new| new.park.as_ref().map_or("", |id| id.as_str())).collect(),
            keys: tasks.iter().map(|new| new.unique_key.as_deref()).collect(),
            priorities: tasks.iter().map(|new| new.priority.code()).collect(),
            run_at: tasks.iter().map(|new| new.run_at.map(ToDiesel::to_diesel)).collect(),
            queue: T::QUEUE,
            hints: &hints,
            max_attempts: T::MAX_ATTEMPTS,
            stored_queue: T::QUEUE,
            kind: T::KIND,
            traceparent: &traceparent,
            may_notify,
            channel: WAKE_UPS,
            notified_queue: T::QUEUE,
        };
        let made: Made = statement.get_result(&mut connection).await?;
        self.after_enqueuing(T::QUEUE, &made);
        self.0.metrics.enqueued(T::KIND, made.count);
        Ok(made)
    }

    fn before_enqueuing(&self, queue: &'static str) -> ([i64; PRIORITIES], bool) {
        let mut known = self.0.enqueuing();
        let seen = known.entry(queue).or_default();
        (seen.hints, seen.notified.is_none_or(|at| at.elapsed() >= NOTIFY_EVERY))
    }

    fn after_enqueuing(&self, queue: &'static str, made: &Made) {
        let mut known = self.0.enqueuing();
        let seen = known.entry(queue).or_default();
        for (hint, front) in seen.hints.iter_mut().zip(&made.fronts) {
            *hint = front.unwrap_or(*hint);
        }
        if made.notified {
            seen.notified = Some(Instant::now());
        }
    }
}

/// What a process remembers of a queue it enqueues to.
#[derive(Debug, Default)]
pub(super) struct Seen {
    hints: [i64; PRIORITIES],
    notified: Option<Instant>,
}

fn payload_of<T: Task>(task: &T) -> Result<serde_json::Value> {
    let refused = |cause: String| {
        Error::new(Kind::Internal, "task_not_storable", "A background task cannot be stored.")
            .with_source(format!("{}: {cause}", T::KIND))
    };
    let payload = serde_json::to_value(task).map_err(|error| refused(error.to_string()))?;
    let text = payload.to_string();
    if text.len() > MOST_BYTES {
        return Err(refused(format!("{} bytes", text.len())));
    }
    if holds_nul(&payload) {
        return Err(refused("U+0000 in it".to_owned()));
    }
    Ok(payload)
}

/// Whether U+0000 stands anywhere in it: `jsonb` refuses it, and the transaction with it.
fn holds_nul(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::String(text) => text.contains('\0'),
        serde_json::Value::Array(items) => items.iter().any(holds_nul),
        serde_json::Value::Object(members) => {
            members.iter().any(|(name, value)| name.contains('\0') || holds_nul(value))
        }
        _ => false,
    }
}
