//! The kinds this process has handlers for, by queue.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use tokio::sync::watch;

use super::fronts::Fronts;
use super::running::{Failure, Lease, Running, TaskResult};
use super::statements::Claimed;
use super::task::Task;
use crate::platform::context::Context;
use crate::platform::error::{Error, Kind};
use crate::platform::ids::ParkId;

/// Makes the work of one attempt, on the thread that runs it.
type Begin = dyn Fn(Claimed, Context, Lease) -> LocalBoxFuture<'static, TaskResult> + Send + Sync;

/// Runs the tasks of one kind.
#[derive(Clone)]
pub(super) struct Handler {
    pub kind: &'static str,
    pub time_limit: Duration,
    pub begin: Arc<Begin>,
}

impl Handler {
    pub fn of<T: Task, W>(work: impl Fn(Running<T>) -> W + Send + Sync + 'static) -> Self
    where
        W: Future<Output = TaskResult> + 'static,
    {
        let begin = move |claimed: Claimed, context, lease| match serde_json::from_value::<T>(
            claimed.payload,
        ) {
            Ok(task) => work(Running {
                task,
                context,
                park: ParkId::parse(&claimed.park_id).ok(),
                attempt: claimed.attempt,
                max_attempts: claimed.max_attempts,
                lease,
            })
            .boxed_local(),
            Err(_) => std::future::ready(Err(Failure::Dead(unreadable()))).boxed_local(),
        };
        Self { kind: T::KIND, time_limit: T::TIME_LIMIT, begin: Arc::new(begin) }
    }
}

/// What serde says may quote the payload.
fn unreadable() -> Error {
    let detail = "The stored fields are not those of this kind of task.";
    Error::new(Kind::Internal, "task_unreadable", detail)
}

/// A queue that this process works on.
pub(super) struct Queue {
    pub name: &'static str,
    handlers: Mutex<BTreeMap<&'static str, Handler>>,
    pub fronts: Fronts,
    /// Whether something was claimed since the keeper looked last.
    pub busy: AtomicBool,
    /// Grows when there may be something to claim.
    wake: watch::Sender<u64>,
}

impl Queue {
    fn handlers(&self) -> MutexGuard<'_, BTreeMap<&'static str, Handler>> {
        self.handlers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn handler(&self, kind: &str) -> Option<Handler> {
        self.handlers().get(kind).cloned()
    }

    pub fn kinds(&self) -> Vec<&'static str> {
        self.handlers().keys().copied().collect()
    }

    pub fn wake(&self) {
        self.wake.send_modify(|round| *round += 1);
    }

    pub fn wake_ups(&self) -> watch::Receiver<u64> {
        self.wake.subscribe()
    }
}

/// All queues of the process.
#[derive(Default)]
pub(super) struct Registry {
    queues: Mutex<BTreeMap<&'static str, Arc<Queue>>>,
    changed: watch::Sender<u64>,
}

impl Registry {
    pub fn add(&self, queue: &'static str, handler: Handler) {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = queues.entry(queue).or_insert_with(|| {
            Arc::new(Queue {
                name: queue,
                handlers: Mutex::default(),
                fronts: Fronts::default(),
                busy: AtomicBool::new(false),
                wake: watch::Sender::new(0),
            })
        });
        queue.handlers().insert(handler.kind, handler);
        // Its tasks may have been passed over so far.
        queue.fronts.reset();
        queue.wake();
        drop(queues);
        self.changed.send_modify(|round| *round += 1);
    }

    pub fn queues(&self) -> Vec<Arc<Queue>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Wakes whoever works on that queue here, or on any.
    pub fn wake(&self, name: Option<&str>) {
        for queue in self.queues() {
            if name.is_none_or(|name| name == queue.name) {
                queue.wake();
            }
        }
    }

    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}
