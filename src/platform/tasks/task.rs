//! What a task is, and how one is asked for.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::platform::ids::ParkId;

/// A piece of work that outlives the process: a struct whose fields, stored as JSON, say what is to
/// be done. It carries ids only and nothing personal: what it is about is read when it runs.
///
/// A task may run more than once (a worker may die after the work and before it says so): the work
/// is idempotent, or is done in the transaction that [`Running::complete_in`] is called in.
///
/// [`Running::complete_in`]: super::Running::complete_in
pub trait Task: Serialize + DeserializeOwned + 'static {
    /// Its name in the table, on the command line and in metrics. It promises what the fields mean:
    /// tasks that wait were stored under it, perhaps by the previous release. New fields are
    /// optional; another meaning is another kind, whose handler is released before it is enqueued.
    const KIND: &'static str;
    /// The queue it waits in. Queues do not wait for each other.
    const QUEUE: &'static str;
    /// Failures before it is dead.
    const MAX_ATTEMPTS: i16 = 20;
    /// How long one attempt may take; then it counts as failed.
    const TIME_LIMIT: Duration = Duration::from_mins(1);
}

/// Within a queue, whatever is ready with a higher priority goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Priority {
    /// Before all others: somebody waits for it.
    High,
    /// As most.
    #[default]
    Normal,
    /// When there is nothing else to do.
    Low,
}

/// How many priorities there are.
pub(super) const PRIORITIES: usize = 3;

impl Priority {
    pub(super) fn code(self) -> i16 {
        match self {
            Self::High => 0,
            Self::Normal => 1,
            Self::Low => 2,
        }
    }
}

/// A task to be enqueued.
#[derive(Debug, Clone)]
pub struct NewTask<T> {
    pub(super) task: T,
    pub(super) park: Option<ParkId>,
    pub(super) unique_key: Option<String>,
    pub(super) run_at: Option<Timestamp>,
    pub(super) priority: Priority,
}

impl<T: Task> NewTask<T> {
    /// A task that is ready at once, belongs to no park, and may be there many times.
    pub fn new(task: T) -> Self {
        Self { task, park: None, unique_key: None, run_at: None, priority: Priority::default() }
    }

    /// Whose it is: parks take turns.
    #[must_use]
    pub fn of_park(mut self, park: &ParkId) -> Self {
        self.park = Some(park.clone());
        self
    }

    /// At most one task of this kind and key is there at a time, waiting or running; a second one is
    /// not enqueued. Mind that the first may be running already and past the point where it would
    /// have seen what the second is for: its handler looks again before it ends.
    #[must_use]
    pub fn unique(mut self, key: impl Into<String>) -> Self {
        self.unique_key = Some(key.into());
        self
    }

    /// Not before this, by the database's clock.
    #[must_use]
    pub fn run_at(mut self, at: Timestamp) -> Self {
        self.run_at = Some(at);
        self
    }

    /// Before or after others.
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }
}

/// The number of a task in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(pub i64);

impl std::fmt::Display for TaskId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
