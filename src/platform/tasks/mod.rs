//! The durable task queue: work that must be done, later and elsewhere, even if this process dies.
//!
//! A [`Task`] is enqueued in the caller's transaction ([`Tasks::enqueue`]): data and task commit
//! together. Any instance whose domains registered a handler for its kind ([`Tasks::handle`]) claims
//! it, in one short statement that counts the attempt and issues a lease and a fencing token; no
//! transaction is open while the handler runs. Every later statement names the token, so whatever a
//! worker that was stopped, cut off or overtaken still does changes nothing.
//!
//! At least once, and in effect once where the handler says so: [`Running::fence`] and
//! [`Running::complete_in`] tie its writes to its claim.
//!
//! How one could still get it wrong: calls to outside services made twice are the handler's to make
//! idempotent (a key out of the task's fields is the same in every attempt); a task enqueued under
//! the unique key of one that runs already is not kept; a handler that blocks its thread stops its
//! neighbours' heartbeats.
//!
//! `task` (what is enqueued) and `running` (what a handler sees) are the domains' side. `runner`
//! claims and runs, with `statements` on a lane of each thread; `keeper` lets due tasks in, rescues,
//! cleans and measures; `schedule` makes tasks on time. Reasons stand in
//! `docs/decisions/task-queue.md`.

mod admin;
mod enqueue;
mod fronts;
mod keeper;
mod live;
mod metrics;
mod registry;
mod runner;
mod running;
mod schedule;
mod statements;
mod task;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use tokio::runtime::Handle;
use tokio::sync::watch;

pub use admin::{Selection, StoredKind, StoredTask};
pub use running::{Failure, Outcome, Running, TaskResult};
pub use schedule::StoredSchedule;
pub use task::{NewTask, Priority, Task, TaskId};

use self::enqueue::Seen;
use self::metrics::TaskMetrics;
use self::registry::{Handler, Registry};
use crate::platform::config::tasks::TaskSettings;
use crate::platform::database::migrations::Migrations;
use crate::platform::database::{Database, clean};
use crate::platform::error::Error;
use crate::platform::shutdown::Shutdown;
use crate::platform::telemetry::metrics::Metrics;

static EMBEDDED: EmbeddedMigrations = embed_migrations!("migrations/task_queue");

/// The queue's own tables; migrated for every process with a domain that uses tasks.
pub const MIGRATIONS: Migrations = Migrations { schema: "task_queue", embedded: &EMBEDDED };

/// The channel on which enqueuing wakes workers; the payload is the queue's name.
const WAKE_UPS: &str = "fleet_tasks";

/// Beyond the time that running tasks get at the end, how long handing them back may take.
const HAND_BACK: Duration = Duration::from_secs(3);

/// The task queue of one process. Cheap to clone.
#[derive(Clone)]
pub struct Tasks(Arc<Inner>);

struct Inner {
    database: Database,
    settings: TaskSettings,
    metrics: TaskMetrics,
    /// Where cleaning registers its own.
    process_metrics: Metrics,
    shutdown: Shutdown,
    runtime: Handle,
    registry: Registry,
    enqueuing: Mutex<HashMap<&'static str, Seen>>,
    /// Names of the schedules that run.
    schedules: Mutex<BTreeSet<&'static str>>,
    started: Once,
    /// Threads that run tasks.
    threads: watch::Sender<usize>,
    /// Whether the last look at the database failed; said once.
    outage: AtomicBool,
}

impl Tasks {
    /// The queue in `database`. Nothing runs before a handler is registered. `runtime` must be a
    /// multi-thread one that lives as long as the process.
    #[must_use]
    pub fn new(
        settings: TaskSettings,
        database: Database,
        metrics: &Metrics,
        shutdown: Shutdown,
        runtime: Handle,
    ) -> Self {
        Self(Arc::new(Inner {
            database,
            settings,
            metrics: TaskMetrics::register(metrics),
            process_metrics: metrics.clone(),
            shutdown,
            runtime,
            registry: Registry::default(),
            enqueuing: Mutex::default(),
            schedules: Mutex::default(),
            started: Once::new(),
            threads: watch::Sender::new(0),
            outage: AtomicBool::new(false),
        }))
    }

    /// Registers the handler of a kind, in place of an earlier one; from now on this process claims
    /// tasks of that kind. The handler runs on a thread of the queue's own, where upstreams can be
    /// called; it must not block. It is dropped at any await when the lease is lost, the time limit
    /// is reached or the process stops.
    pub fn handle<T, W>(&self, work: impl Fn(Running<T>) -> W + Send + Sync + 'static)
    where
        T: Task,
        W: Future<Output = TaskResult> + 'static,
    {
        let most = self.0.settings.concurrency_of(T::QUEUE);
        self.0.metrics.handles(T::QUEUE, T::KIND, most);
        self.0.registry.add(T::QUEUE, Handler::of(work));
        self.start();
    }

    /// Whether it works on this database.
    #[must_use]
    pub fn is_of(&self, database: &Database) -> bool {
        self.0.database.is_same(database)
    }

    /// Waits, once the process stops, until running tasks have ended or were handed back. Takes
    /// `tasks.stop_ms` and a few seconds at most.
    pub async fn stopped(&self) {
        let mut threads = self.0.threads.subscribe();
        let ended = threads.wait_for(|threads| *threads == 0);
        let limit = self.0.settings.stop() + 2 * HAND_BACK;
        if tokio::time::timeout(limit, ended).await.is_err() {
            tracing::warn!("background tasks did not stop in time; their leases will expire");
        }
    }

    /// Starts threads and keeper, once.
    fn start(&self) {
        self.0.started.call_once(|| {
            runner::start(&self.0);
            self.0.runtime.spawn(keeper::keep(Arc::clone(&self.0)));
            self.0.runtime.spawn(keeper::listen(Arc::clone(&self.0)));
            self.0.runtime.spawn(clean(
                self.0.database.clone(),
                self.0.process_metrics.clone(),
                vec![keeper::cleaning(self.0.settings.dead_retention_hours)],
                self.0.shutdown.clone(),
            ));
        });
    }
}

impl Inner {
    fn enqueuing(&self) -> MutexGuard<'_, HashMap<&'static str, Seen>> {
        self.enqueuing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes whether the database served the queue, and says so when that changed.
    fn note<T>(&self, outcome: Result<T, Error>) -> Result<T, Error> {
        let failed = outcome.is_err();
        let before = self.outage.swap(failed, Ordering::Relaxed);
        match &outcome {
            Err(error) if !before => {
                let (code, cause) = (error.code(), error.chain());
                tracing::warn!(code, cause, "the task queue cannot use its database");
            }
            Ok(_) if before => tracing::info!("the task queue uses its database again"),
            _ => {}
        }
        outcome
    }
}
