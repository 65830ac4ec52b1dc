//! What every instance does for the queue beside running tasks. Each step is one short statement
//! that passes over what another instance has locked, so any number of instances may do it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Double, Integer, Nullable, SmallInt, Text};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use futures_util::{FutureExt, try_join};

use super::fronts::Tags;
use super::registry::Queue;
use super::task::PRIORITIES;
use super::{Inner, WAKE_UPS};
use crate::platform::context::Context;
use crate::platform::database::{Cleaning, Connection, Prepare, Signal};
use crate::platform::error::Result;

/// One step takes no longer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Rows in one statement.
const BATCH: i64 = 1_000;
/// Batches in one round.
const MOST_BATCHES: usize = 100;
/// Looks from the very start take at most this share of the time, as one in so many.
const SHARE: u32 = 100;
const SAMPLE_EVERY: Duration = Duration::from_secs(15);
/// Rows of one queue that are counted.
const MOST_COUNTED: i64 = 50_000;
/// The first pause between rounds; it doubles up to `tasks.poll_ms`.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
/// While tasks are claimed, rounds come so many times as often.
const BUSY: u32 = 4;
/// The longest pause while the database fails.
const LAST_PAUSE: Duration = Duration::from_secs(5);

/// Lets scheduled tasks of these queues in whose time has come, each behind its park's last, and
/// wakes whoever works on them. `hints` has a tag for each queue and priority.
const PROMOTE: &str = "WITH due AS (\
       SELECT ctid AS row, queue, priority, park_id, run_at FROM task_queue.tasks \
       WHERE state = 'scheduled' AND run_at <= clock_timestamp() AND queue = ANY($1) \
       ORDER BY run_at LIMIT $5 FOR UPDATE SKIP LOCKED), \
     lines AS MATERIALIZED (SELECT d.queue, d.priority, d.park_id, l.last \
       FROM (SELECT DISTINCT queue, priority, park_id FROM due) d \
       JOIN UNNEST($1, $2, $3) AS h(queue, priority, hint) USING (queue, priority) \
       CROSS JOIN LATERAL task_queue.line_end(d.queue, d.priority, d.park_id, h.hint) l), \
     placed AS (SELECT due.row, lines.last + row_number() OVER \
         (PARTITION BY due.queue, due.priority, due.park_id ORDER BY due.run_at) AS tag \
       FROM due JOIN lines USING (queue, priority, park_id)), \
     moved AS (UPDATE task_queue.tasks t SET state = 'ready', tag = placed.tag \
       FROM placed WHERE t.ctid = placed.row RETURNING t.queue) \
     SELECT queue, count(*) AS tasks, pg_notify($4, queue)::text IS NOT NULL AS done \
     FROM moved GROUP BY queue";

/// Takes tasks from workers that did not renew their lease. A row that a worker's own transaction
/// holds (a fence) is passed over, and one that was renewed or completed meanwhile is not found.
const RESCUE: &str = "UPDATE task_queue.tasks SET lease_until = NULL, \
       state = CASE WHEN attempt >= max_attempts THEN 'dead' ELSE 'scheduled' END, \
       died_at = CASE WHEN attempt >= max_attempts THEN clock_timestamp() END, \
       run_at = clock_timestamp() + make_interval(secs => \
         LEAST($1 * power(2, LEAST(GREATEST(attempt, 1), 32) - 1), $2) * (0.5 + random() / 2)), \
       error_code = 'task_worker_lost', error = 'The worker stopped without a word.' \
     WHERE ctid = ANY(ARRAY(SELECT ctid FROM task_queue.tasks \
       WHERE state = 'running' AND lease_until < clock_timestamp() \
       LIMIT $3 FOR UPDATE SKIP LOCKED)) \
     RETURNING queue, 1::bigint AS tasks, state = 'dead' AS done";

/// The smallest ready tag of each priority from a given one on; the clock where there is none.
const FRONT: &str = "SELECT COALESCE((SELECT t.tag FROM task_queue.tasks t \
       WHERE t.state = 'ready' AND t.queue = $1 AND t.priority = p.place - 1 AND t.tag >= p.front \
       AND t.kind = ANY($2) ORDER BY t.queue, t.priority, t.tag LIMIT 1), \
       (extract(epoch FROM clock_timestamp()) * 1000000)::bigint) AS tag \
     FROM UNNEST($3) WITH ORDINALITY AS p(front, place) ORDER BY p.place";

const CLEAN: &str = "DELETE FROM task_queue.tasks WHERE ctid = ANY(ARRAY(\
     SELECT ctid FROM task_queue.tasks \
     WHERE state = 'dead' AND died_at < clock_timestamp() - make_interval(hours => $1) \
     LIMIT $2 FOR UPDATE SKIP LOCKED))";

/// As with the workers' statements: what the table held when statistics were made says nothing of
/// what it holds now, and its dead rows are many while the vacuum horizon is held. Rows are changed by
/// the `ctid` that was locked in the same statement.
const PLANNER: &str = "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; \
     SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off";

/// Ready tasks a queue, from where claims begin, and scheduled and dead ones together, each up to a
/// limit: no more is ever read. What runs is known to the processes that run it.
const SAMPLE: &str = "SELECT h.queue, 'ready' AS state, sum(r.tasks)::bigint AS tasks, \
       max(r.oldest) AS oldest \
     FROM UNNEST($1, $2, $3) AS h(queue, priority, hint) CROSS JOIN LATERAL (\
       SELECT count(*) AS tasks, \
       extract(epoch FROM clock_timestamp() - min(run_at))::float8 AS oldest \
       FROM (SELECT t.run_at FROM task_queue.tasks t WHERE t.state = 'ready' AND t.queue = h.queue \
         AND t.priority = h.priority AND t.tag >= h.hint \
         ORDER BY t.queue, t.priority, t.tag LIMIT $4) t) r GROUP BY h.queue \
     UNION ALL SELECT t.queue, t.state, count(*), NULL FROM (\
       (SELECT queue, state FROM task_queue.tasks WHERE state = 'scheduled' LIMIT $4) UNION ALL \
       (SELECT queue, state FROM task_queue.tasks WHERE state = 'dead' LIMIT $4)) t \
     GROUP BY t.queue, t.state";

#[derive(QueryableByName)]
struct Moved {
    #[diesel(sql_type = Text)]
    queue: String,
    #[diesel(sql_type = BigInt)]
    tasks: i64,
    #[diesel(sql_type = Bool)]
    done: bool,
}

#[derive(QueryableByName)]
struct Front {
    #[diesel(sql_type = BigInt)]
    tag: i64,
}

#[derive(QueryableByName)]
struct Sampled {
    #[diesel(sql_type = Text)]
    queue: String,
    #[diesel(sql_type = Text)]
    state: String,
    #[diesel(sql_type = BigInt)]
    tasks: i64,
    #[diesel(sql_type = Nullable<Double>)]
    oldest: Option<f64>,
}

/// Wakes this process's workers when somebody enqueued something; until the database is closed.
pub(super) async fn listen(inner: Arc<Inner>) {
    let mut signals = inner.database.subscribe(WAKE_UPS);
    loop {
        let signal = tokio::select! {
            () = inner.shutdown.wait() => return,
            signal = signals.next() => signal,
        };
        match signal {
            Some(Signal::Notified(queue)) => inner.registry.wake(Some(&queue)),
            Some(Signal::MayHaveMissed) => inner.registry.wake(None),
            None => return,
        }
    }
}

/// Runs until the process stops.
pub(super) async fn keep(inner: Arc<Inner>) {
    let mut keeper = Keeper {
        rescue: Turn::every(inner.settings.heartbeat()),
        sample: Turn::every(SAMPLE_EVERY),
        full_looks: BTreeMap::new(),
        inner,
    };
    let usual = keeper.inner.settings.poll();
    let mut changes = keeper.inner.registry.changes();
    let shutdown = keeper.inner.shutdown.clone();
    let mut pause = FIRST_PAUSE;
    loop {
        let round = keeper.round().await;
        let longest = match keeper.inner.note(round) {
            Ok(true) => usual / BUSY,
            Ok(false) => usual,
            Err(_) => LAST_PAUSE.max(usual),
        };
        pause = (pause * 2).min(longest);
        let jitter = 0.5 + 0.5 * rand::random::<f64>();
        tokio::select! {
            () = shutdown.wait() => return,
            // Of a new queue nothing is known: the first rounds follow each other quickly.
            news = changes.changed() => {
                if news.is_err() {
                    return;
                }
                pause = FIRST_PAUSE;
            }
            () = tokio::time::sleep(pause.mul_f64(jitter)) => {}
        }
    }
}

/// Removes tasks that were dead for so long.
pub(super) fn cleaning(hours: i32) -> Cleaning {
    Cleaning::by("task_queue.tasks", move |connection, limit| {
        remove_dead(connection, hours, limit).boxed()
    })
}

async fn remove_dead(connection: &mut Connection, hours: i32, limit: i64) -> Result<usize> {
    connection.batch_execute(PLANNER).await?;
    let clean = diesel::sql_query(CLEAN).bind::<Integer, _>(hours).bind::<BigInt, _>(limit);
    Ok(clean.execute(connection).await?)
}

struct Keeper {
    inner: Arc<Inner>,
    rescue: Turn,
    sample: Turn,
    full_looks: BTreeMap<&'static str, FullLook>,
}

impl Keeper {
    /// Says whether any queue is busy.
    async fn round(&mut self) -> Result<bool> {
        let queues = self.inner.registry.queues();
        self.promote(&queues).await?;
        let mut busy = false;
        for queue in &queues {
            busy |= queue.busy.swap(false, Ordering::Relaxed);
            self.look(queue).await?;
        }
        if self.rescue.has_come() {
            self.rescue().await?;
        }
        if self.sample.has_come() {
            self.sample(&queues).await?;
        }
        Ok(busy)
    }

    /// One statement, in a transaction of its own; it is sent right behind what the planner is told.
    async fn step<T>(&self, work: impl AsyncFnOnce(&Connection) -> QueryResult<T>) -> Result<T> {
        let context = Context::background("task keeper", PATIENCE);
        let database = &self.inner.database;
        database
            .transaction(&context, async |connection| {
                let mut planner = &*connection;
                let ((), done) = try_join!(planner.batch_execute(PLANNER), work(connection))?;
                Ok(done)
            })
            .await
    }

    async fn promote(&self, queues: &[Arc<Queue>]) -> Result<()> {
        let (names, priorities, hints) = fronts_of(queues);
        for _ in 0..MOST_BATCHES {
            let moved: Vec<Moved> = self
                .step(async |mut connection| {
                    let promote = diesel::sql_query(PROMOTE)
                        .bind::<Array<Text>, _>(&names)
                        .bind::<Array<SmallInt>, _>(&priorities)
                        .bind::<Array<BigInt>, _>(&hints)
                        .bind::<Text, _>(WAKE_UPS)
                        .bind::<BigInt, _>(BATCH);
                    promote.prepared().load(&mut connection).await
                })
                .await?;
            let total: i64 = moved.iter().map(|moved| moved.tasks).sum();
            for moved in &moved {
                self.inner.registry.wake(Some(&moved.queue));
            }
            if total < BATCH {
                break;
            }
        }
        Ok(())
    }

    async fn rescue(&self) -> Result<()> {
        let settings = &self.inner.settings;
        let longest = Duration::from_millis(settings.backoff_max_ms);
        for _ in 0..MOST_BATCHES {
            let rescued: Vec<Moved> = self
                .step(async |mut connection| {
                    let rescue = diesel::sql_query(RESCUE)
                        .bind::<Double, _>(settings.backoff(1).as_secs_f64())
                        .bind::<Double, _>(longest.as_secs_f64())
                        .bind::<BigInt, _>(BATCH);
                    rescue.prepared().load(&mut connection).await
                })
                .await?;
            for one in &rescued {
                self.inner.metrics.rescued.with_label_values(&[&one.queue]).inc();
            }
            let dead = rescued.iter().filter(|one| one.done).count();
            if !rescued.is_empty() {
                let count = rescued.len();
                tracing::warn!(count, dead, "took tasks from workers that stopped without a word");
            }
            if i64::try_from(rescued.len()).is_ok_and(|count| count < BATCH) {
                break;
            }
        }
        Ok(())
    }

    /// Finds where claims begin: from the very start when that may be afforded, else from where they
    /// begin now.
    async fn look(&mut self, queue: &Queue) -> Result<()> {
        let last = self.full_looks.get(queue.name).copied();
        let full = last.is_none_or(|last| last.next <= Instant::now());
        let before = queue.fronts.in_use();
        let from: Tags = if full { [0; PRIORITIES] } else { before };
        let kinds = queue.kinds();
        let mut took = Duration::ZERO;
        let found: Vec<Front> = self
            .step(async |mut connection| {
                let started = Instant::now();
                let front = diesel::sql_query(FRONT)
                    .bind::<Text, _>(queue.name)
                    .bind::<Array<Text>, _>(&kinds)
                    .bind::<Array<BigInt>, _>(from.as_slice());
                let found = front.prepared().load(&mut connection).await;
                took = started.elapsed();
                found
            })
            .await?;
        if full {
            let usual = last.map_or(took, |last| last.took.min(took));
            self.full_looks
                .insert(queue.name, FullLook { took, next: Instant::now() + usual * SHARE });
        }
        let found: Vec<i64> = found.into_iter().map(|front| front.tag).collect();
        let Ok(found) = Tags::try_from(found) else { return Ok(()) };
        queue.fronts.note(found);
        if found.iter().zip(before).any(|(found, before)| *found < before) {
            queue.wake();
        }
        Ok(())
    }

    async fn sample(&self, queues: &[Arc<Queue>]) -> Result<()> {
        let (names, priorities, hints) = fronts_of(queues);
        let sampled: Vec<Sampled> = self
            .step(async |mut connection| {
                let sample = diesel::sql_query(SAMPLE)
                    .bind::<Array<Text>, _>(&names)
                    .bind::<Array<SmallInt>, _>(&priorities)
                    .bind::<Array<BigInt>, _>(&hints)
                    .bind::<BigInt, _>(MOST_COUNTED);
                sample.prepared().load(&mut connection).await
            })
            .await?;
        let metrics = &self.inner.metrics;
        // What is not found is none.
        metrics.depth.reset();
        for name in &names {
            for state in ["ready", "scheduled", "dead"] {
                metrics.depth.with_label_values(&[name, state]).set(0);
            }
        }
        for one in &sampled {
            metrics.depth.with_label_values(&[&one.queue, &one.state]).set(one.tasks);
            if one.state == "ready" {
                #[allow(clippy::cast_possible_truncation, reason = "whole seconds will do")]
                let oldest = one.oldest.unwrap_or_default().max(0.0) as i64;
                metrics.oldest.with_label_values(&[&one.queue]).set(oldest);
            }
        }
        Ok(())
    }
}

/// A look at a queue from its very start.
#[derive(Clone, Copy)]
struct FullLook {
    took: Duration,
    /// When there may be another. Of the last two looks the quicker one counts: one that PostgreSQL kept
    /// waiting for a second would put the next off for minutes, and with it what is found by no other.
    next: Instant,
}

/// Where claims begin: a queue, a priority and a tag in each place.
fn fronts_of(queues: &[Arc<Queue>]) -> (Vec<&'static str>, Vec<i16>, Vec<i64>) {
    let (mut names, mut priorities, mut tags) = (Vec::new(), Vec::new(), Vec::new());
    for queue in queues {
        for (priority, tag) in (0_i16..).zip(queue.fronts.in_use()) {
            names.push(queue.name);
            priorities.push(priority);
            tags.push(tag);
        }
    }
    (names, priorities, tags)
}

/// Work that is due now and then; the first time at once.
struct Turn {
    every: Duration,
    next: Instant,
}

impl Turn {
    fn every(every: Duration) -> Self {
        Self { every, next: Instant::now() }
    }

    fn has_come(&mut self) -> bool {
        let now = Instant::now();
        if now < self.next {
            return false;
        }
        self.next = now + self.every.mul_f64(0.75 + 0.5 * rand::random::<f64>());
        true
    }
}
