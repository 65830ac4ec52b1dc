//! Work that is due again and again, once for all instances.
//!
//! Every instance with the schedule knows when it is due from the table. Taking a tick is a
//! conditional update, and the task is enqueued in the same transaction: whoever is first takes it,
//! and a session that is ended in between leaves it to the next. A tick that nobody could take is
//! caught up once, not as often as it was missed.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::{Array, Bool, Double, Text};
use diesel_async::RunQueryDsl;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, try_join};

use super::task::{NewTask, Task};
use super::{Inner, Tasks};
use crate::platform::context::Context;
use crate::platform::database::{Connection, Prepare};
use crate::platform::error::Result;

/// One look takes no longer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest sleep: by then the table is looked at anyhow.
const LONGEST: Duration = Duration::from_mins(1);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(5);

/// Knows the schedule; the first tick of a new one is due at once.
const ENSURE: &str = "INSERT INTO task_queue.schedules AS s (name, every, next_at) \
     VALUES ($1, make_interval(secs => $2), clock_timestamp()) \
     ON CONFLICT (name) DO UPDATE SET every = excluded.every, \
     next_at = LEAST(s.next_at, clock_timestamp() + excluded.every) WHERE s.every <> excluded.every";
/// Takes the tick, if it is due, and passes over those that were missed.
const TAKE: &str = "UPDATE task_queue.schedules SET next_at = next_at + every * \
       (floor(extract(epoch FROM clock_timestamp() - next_at) / extract(epoch FROM every)) + 1)::float8 \
     WHERE name = $1 AND next_at <= clock_timestamp()";
const WAIT: &str = "SELECT GREATEST(extract(epoch FROM next_at - clock_timestamp()), 0)::float8 AS \
     seconds FROM task_queue.schedules WHERE name = $1";

#[derive(QueryableByName)]
struct Wait {
    #[diesel(sql_type = Double)]
    seconds: f64,
}

/// A schedule as an operator sees it.
#[derive(Debug, Clone, QueryableByName)]
pub struct StoredSchedule {
    /// Its name.
    #[diesel(sql_type = Text)]
    pub name: String,
    /// Seconds from one tick to the next.
    #[diesel(sql_type = Double)]
    pub every: f64,
    /// Seconds until the next; less than none when nobody took it.
    #[diesel(sql_type = Double)]
    pub due_in: f64,
    /// Its tick is due, and no process that runs has it.
    #[diesel(sql_type = Bool)]
    pub is_abandoned: bool,
}

/// Whoever has a schedule looks at least each [`LONGEST`], so a tick that is overdue for longer is nobody's.
const ABANDONED: &str = "next_at < clock_timestamp() - interval '5 minutes'";

impl StoredSchedule {
    /// All schedules.
    ///
    /// # Errors
    /// The database fails.
    pub async fn all(connection: &mut Connection) -> Result<Vec<Self>> {
        let sql = format!(
            "SELECT name, extract(epoch FROM every)::float8 AS every, \
             extract(epoch FROM next_at - clock_timestamp())::float8 AS due_in, \
             {ABANDONED} AS is_abandoned FROM task_queue.schedules ORDER BY name"
        );
        Ok(diesel::sql_query(sql).load(connection).await?)
    }

    /// Removes those of these that are abandoned; how many they were. A process that knows one makes it
    /// anew, due at once.
    ///
    /// # Errors
    /// The database fails.
    pub async fn discard(connection: &mut Connection, names: &[String]) -> Result<usize> {
        let sql = format!("DELETE FROM task_queue.schedules WHERE name = ANY($1) AND {ABANDONED}");
        Ok(diesel::sql_query(sql).bind::<Array<Text>, _>(names).execute(connection).await?)
    }
}

/// Enqueues the task of a tick.
type Enqueue = dyn for<'a> Fn(&'a Tasks, &'a Connection, &'a Context) -> BoxFuture<'a, Result<()>>
    + Send
    + Sync;

impl Tasks {
    /// Enqueues the task that `make` makes, now and then again each time `every` has passed, however
    /// many instances do so under this name. While the task of an earlier tick waits or runs, a tick
    /// passes without another. Of several calls with one name, the first counts.
    pub fn every<T: Task + Send + Sync>(
        &self,
        name: &'static str,
        every: Duration,
        make: impl Fn() -> T + Send + Sync + 'static,
    ) {
        let mut running = self.0.schedules.lock().unwrap_or_else(PoisonError::into_inner);
        // A domain that is started anew comes again.
        if !running.insert(name) {
            return;
        }
        drop(running);
        let enqueue: Arc<Enqueue> = Arc::new(move |tasks, connection, context| {
            let task = NewTask::new(make()).unique(format!("schedule {name}"));
            async move { tasks.enqueue(connection, context, task).await.map(|_| ()) }.boxed()
        });
        self.0.runtime.spawn(run(self.clone(), name, every, enqueue));
    }
}

async fn run(tasks: Tasks, name: &'static str, every: Duration, enqueue: Arc<Enqueue>) {
    let inner: Arc<Inner> = Arc::clone(&tasks.0);
    let mut trouble = FIRST_PAUSE;
    loop {
        let context = Context::background("task schedule", PATIENCE);
        let looked = tick(&tasks, &context, name, every, enqueue.as_ref()).await;
        let pause = if let Ok(wait) = inner.note(looked) {
            trouble = FIRST_PAUSE;
            wait
        } else {
            trouble = (trouble * 2).min(LAST_PAUSE);
            trouble.mul_f64(0.5 + 0.5 * rand::random::<f64>())
        };
        if inner.shutdown.wait_or(pause).await {
            return;
        }
    }
}

/// Takes the tick if it is due; returns how long the next one is away.
async fn tick(
    tasks: &Tasks,
    context: &Context,
    name: &'static str,
    every: Duration,
    enqueue: &Enqueue,
) -> Result<Duration> {
    let database = &tasks.0.database;
    let wait = database
        .transaction(context, async |connection| {
            let (taken, wait) = take(connection, name, every).await?;
            if taken {
                enqueue(tasks, connection, context).await?;
            }
            Ok(wait)
        })
        .await?;
    Ok(Duration::from_secs_f64(wait.seconds.clamp(0.001, LONGEST.as_secs_f64())))
}

/// Whether the tick was due and is ours, and how long the next one is away. The statements are sent
/// together, and run in this order.
async fn take(connection: &Connection, name: &str, every: Duration) -> QueryResult<(bool, Wait)> {
    let ensure =
        diesel::sql_query(ENSURE).bind::<Text, _>(name).bind::<Double, _>(every.as_secs_f64());
    let take = diesel::sql_query(TAKE).bind::<Text, _>(name);
    let wait = diesel::sql_query(WAIT).bind::<Text, _>(name);
    let (_, taken, wait) = try_join!(
        ensure.prepared().execute(&mut &*connection),
        take.prepared().execute(&mut &*connection),
        wait.prepared().get_result(&mut &*connection),
    )?;
    Ok((taken > 0, wait))
}
