//! Instances of the task queue on one database, and tasks that leave a trace.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use fleet::platform::config::ConfigSource;
use fleet::platform::context::Context;
use fleet::platform::database::{Connection, Database};
use fleet::platform::error::Result;
use fleet::platform::ids::ParkId;
use fleet::platform::shutdown::{self, ShutdownTrigger};
use fleet::platform::tasks::{
    MIGRATIONS, NewTask, Outcome, Running, Selection, StoredTask, Task, TaskId, Tasks,
};
use fleet::platform::telemetry::metrics::Metrics;
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

use crate::support::app::PATIENT;
use crate::support::database::TestDatabase;
use crate::support::eventually;

/// Declares a kind of task that carries a number.
macro_rules! task {
    ($name:ident, $kind:literal, $queue:literal $(, $constant:ident: $type:ty = $value:expr)*) => {
        #[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
        pub struct $name {
            pub number: i64,
        }

        impl fleet::platform::tasks::Task for $name {
            const KIND: &'static str = $kind;
            const QUEUE: &'static str = $queue;
            $(const $constant: $type = $value;)*
        }
    };
}
pub(super) use task;

task!(Note, "note", "notes");
task!(Other, "other", "notes");

/// A task with a text in it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Letter {
    pub text: String,
}

impl Task for Letter {
    const KIND: &'static str = "letter";
    const QUEUE: &'static str = "letters";
}

/// Pauses so short that tests need not wait for them, and a lease that no busy machine outlasts.
const USUAL: &str =
    "[tasks]\npoll_ms = 50\nbackoff_base_ms = 1\nbackoff_max_ms = 20\nstop_ms = 5000\n";

/// A database with the queue's schema and a table for traces.
pub struct World {
    pub test: TestDatabase,
}

impl World {
    pub async fn make() -> Self {
        let test = TestDatabase::create();
        prepare(&test.url()).await;
        Self { test }
    }

    /// An instance with the usual settings.
    pub fn instance(&self) -> Instance {
        Instance::at(&self.test.url(), "")
    }

    /// Its `[tasks]` keys differ.
    pub fn instance_with(&self, keys: &str) -> Instance {
        Instance::at(&self.test.url(), keys)
    }

    /// Tasks that are stored, by state; all for an empty text.
    pub async fn stored(&self, state: &str) -> i64 {
        let counted = "SELECT count(*) FROM task_queue.tasks WHERE $1 = '' OR state = $1";
        self.test.query(counted, &[&state]).await[0].get(0)
    }

    /// Waits until nothing is left but dead tasks.
    pub async fn drained(&self) {
        eventually("all tasks are done or dead", async || {
            self.stored("").await == self.stored("dead").await
        })
        .await;
    }

    /// Traces that handlers left in the database.
    pub async fn traces(&self) -> Vec<i64> {
        let rows = self.test.query("SELECT number FROM traces ORDER BY number", &[]).await;
        rows.iter().map(|row| row.get(0)).collect()
    }
}

/// Migrates the queue's schema, and adds the table for traces.
pub async fn prepare(url: &str) {
    let instance = Instance::at(url, "");
    instance.database.migrate(MIGRATIONS).await.unwrap();
    let sql = "CREATE TABLE IF NOT EXISTS public.traces (number bigint NOT NULL)";
    instance
        .transaction(async |connection| Ok(connection.batch_execute(sql).await?))
        .await
        .unwrap();
}

/// What one process has.
pub struct Instance {
    pub tasks: Tasks,
    pub database: Database,
    pub metrics: Metrics,
    trigger: ShutdownTrigger,
    runtime: Option<Runtime>,
}

impl Instance {
    pub fn at(url: &str, keys: &str) -> Self {
        Self::of(&format!("[database]\nurl = '{url}'\npool_size = 4\n{PATIENT}"), keys)
    }

    pub fn of(database: &str, keys: &str) -> Self {
        let texts = vec![USUAL.to_owned(), format!("[tasks]\n{keys}"), database.to_owned()];
        let config = ConfigSource::load(&ConfigSource::texts(texts)).unwrap();
        let runtime = Runtime::new().unwrap();
        let metrics = Metrics::default();
        let settings = config.section("database").unwrap();
        let database = Database::new(settings, &metrics, runtime.handle().clone()).unwrap();
        let (trigger, shutdown) = shutdown::channel();
        let settings = config.section("tasks").unwrap();
        let handle = runtime.handle().clone();
        let tasks = Tasks::new(settings, database.clone(), &metrics, shutdown, handle);
        Self { tasks, database, metrics, trigger, runtime: Some(runtime) }
    }

    pub async fn transaction<T>(
        &self,
        work: impl AsyncFnOnce(&mut Connection) -> Result<T>,
    ) -> Result<T> {
        self.database.transaction(&context(), work).await
    }

    /// Enqueues in a transaction of its own.
    pub async fn enqueue<T: Task>(&self, task: NewTask<T>) -> Option<TaskId> {
        let enqueue = async |connection: &mut Connection| {
            self.tasks.enqueue(connection, &context(), task).await
        };
        self.transaction(enqueue).await.unwrap()
    }

    pub async fn enqueue_all<T: Task>(&self, tasks: &[NewTask<T>]) -> usize {
        let enqueue = async |connection: &mut Connection| {
            self.tasks.enqueue_all(connection, &context(), tasks).await
        };
        self.transaction(enqueue).await.unwrap()
    }

    /// Registers a handler that notes the tasks' numbers and is done.
    pub fn note_numbers<T: Task + Into<i64>>(&self) -> Numbers {
        let numbers = Numbers::default();
        let noted = numbers.clone();
        self.tasks.handle(move |running: Running<T>| {
            noted.push(running.task.into());
            async { Ok(Outcome::Done) }
        });
        numbers
    }

    /// Registers a handler that notes a task's number when it begins and when it is done. Between,
    /// it waits for one of the gate's permits, of which there are so many, or for the gate's end.
    pub fn note_numbers_behind_a_gate<T: Task + Into<i64>>(
        &self,
        permits: usize,
    ) -> (Arc<Semaphore>, Numbers, Numbers) {
        let gate = Arc::new(Semaphore::new(permits));
        let (begun, done) = (Numbers::default(), Numbers::default());
        let (at_gate, at_begin, at_end) = (Arc::clone(&gate), begun.clone(), done.clone());
        self.tasks.handle(move |running: Running<T>| {
            let number = running.task.into();
            let (gate, done) = (Arc::clone(&at_gate), at_end.clone());
            at_begin.push(number);
            async move {
                if let Ok(permit) = gate.acquire().await {
                    permit.forget();
                }
                done.push(number);
                Ok(Outcome::Done)
            }
        });
        (gate, begun, done)
    }

    /// Registers a handler that leaves a trace in the database, in the transaction that completes
    /// the task.
    pub fn leave_traces(&self) {
        let database = self.database.clone();
        self.tasks.handle(move |running: Running<Note>| {
            let database = database.clone();
            async move {
                let done = database.transaction(&running.context, async |connection| {
                    trace(connection, running.task.number).await?;
                    running.complete_in(connection).await
                });
                done.await?;
                Ok(Outcome::Done)
            }
        });
    }

    pub async fn list(&self, selection: Selection) -> Vec<StoredTask> {
        let list = async |connection: &mut Connection| selection.list(connection, 1000).await;
        self.transaction(list).await.unwrap()
    }

    /// The value of a counter's or gauge's line; 0 when there is none.
    pub fn metric(&self, series: &str) -> u64 {
        let text = self.metrics.render();
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map_or(0, |value| value.parse().expect("a whole number"))
    }

    /// Begins to stop, as SIGTERM does.
    pub fn signal(&self) {
        self.trigger.fire();
    }

    /// Stops it and waits for the end.
    pub async fn stop(&self) {
        self.signal();
        self.tasks.stopped().await;
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.trigger.fire();
        self.database.close();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl From<Note> for i64 {
    fn from(note: Note) -> Self {
        note.number
    }
}

impl From<Other> for i64 {
    fn from(other: Other) -> Self {
        other.number
    }
}

/// Leaves a trace.
pub async fn trace(connection: &mut Connection, number: i64) -> Result<()> {
    let insert = diesel::sql_query("INSERT INTO public.traces VALUES ($1)");
    insert.bind::<diesel::sql_types::BigInt, _>(number).execute(connection).await?;
    Ok(())
}

pub fn context() -> Context {
    Context::background("test", Duration::from_secs(20))
}

pub fn note(number: i64) -> NewTask<Note> {
    NewTask::new(Note { number })
}

pub fn park(name: &str) -> ParkId {
    ParkId::parse(name).unwrap()
}

/// Numbers in the order in which they came, shared with handlers.
#[derive(Clone, Default)]
pub struct Numbers(Arc<Mutex<Vec<i64>>>);

impl Numbers {
    pub fn push(&self, number: i64) {
        self.0.lock().unwrap().push(number);
    }

    pub fn all(&self) -> Vec<i64> {
        self.0.lock().unwrap().clone()
    }

    pub fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    pub async fn reach(&self, count: usize) {
        let what = format!("{count} came");
        eventually(&what, async || self.len() >= count).await;
    }
}
