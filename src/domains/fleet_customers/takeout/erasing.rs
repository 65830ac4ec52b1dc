//! The task: an erasure, step by step.
//!
//! Each step is a transaction that begins with the fence and leaves in the tables what the next one, or
//! another worker, goes on from. `personal` is asked between two of them, which may happen twice: to
//! forget twice is to forget, and names are counted when they are struck off our list.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::{batches, tombstones};
use crate::domains::fleet_customers::metrics::CustomerMetrics;
use crate::platform::context::Context;
use crate::platform::database::{Connection, Database, PackedId};
use crate::platform::error::{Error, Kind, Result};
use crate::platform::tasks::{Failure, Outcome, Running, Task, TaskResult};
use crate::upstreams::personal::{Personal, PersonalKind};

/// Batches in one slice of the task; then others of the queue have a turn.
const BATCHES: usize = 20;
/// Tries to set tombstones in one attempt: upserts under way may be slow, and other erasures at it.
const GATE_TRIES: usize = 5;
const GATE_PAUSE: Duration = Duration::from_millis(100);

/// Erases the persons of a request. Whose request it is and whom it is about stand in the tables.
#[derive(Debug, Serialize, Deserialize)]
pub(in super::super) struct EraseCustomers {
    pub erasure_no: i64,
}

impl Task for EraseCustomers {
    const KIND: &'static str = "fleet_customers.erase";
    const QUEUE: &'static str = "fleet_customers";
    /// With the default pauses about a month of `personal` being away.
    const MAX_ATTEMPTS: i16 = 1_000;
    const TIME_LIMIT: Duration = Duration::from_mins(2);
}

/// What the task needs.
pub(in super::super) struct Erasing {
    pub database: Database,
    pub personal: Personal,
    pub metrics: CustomerMetrics,
}

type Erasure = Running<EraseCustomers>;

impl Erasing {
    /// One attempt, or slice, of an erasure.
    pub async fn erase(&self, task: Erasure) -> TaskResult {
        let no = task.task.erasure_no;
        let progress = self
            .database
            .statement(&task.context, async |connection| batches::progress(connection, no).await)
            .await?;
        let Some(progress) = progress else { return Err(Failure::Dead(unknown())) };
        if progress.is_completed {
            return Ok(Outcome::Done);
        }
        if !progress.is_set {
            self.set_tombstones(&task).await?;
        }
        if !progress.rows_erased && !self.erase_rows(&task).await? {
            return Ok(Outcome::Continue);
        }
        if !self.forget_names(&task).await? {
            return Ok(Outcome::Continue);
        }
        self.fenced(&task, async |connection| {
            batches::complete(connection, no).await?;
            task.complete_in(connection).await
        })
        .await?;
        self.metrics.erasures_completed.inc();
        Ok(Outcome::Done)
    }

    /// A transaction that takes effect only while the task is ours.
    async fn fenced<T>(
        &self,
        task: &Erasure,
        work: impl AsyncFnOnce(&mut Connection) -> Result<T>,
    ) -> Result<T> {
        self.database
            .transaction(&task.context, async |connection| {
                task.fence(connection).await?;
                work(connection).await
            })
            .await
    }

    async fn set_tombstones(&self, task: &Erasure) -> Result<()> {
        let no = task.task.erasure_no;
        for _ in 1..GATE_TRIES {
            let set = self.fenced(task, async |connection| tombstones::set(connection, no).await);
            match set.await {
                Err(error) if error.kind() == Kind::Unavailable => {
                    sleep(GATE_PAUSE.mul_f64(0.5 + rand::random::<f64>())).await;
                }
                outcome => return outcome,
            }
        }
        self.fenced(task, async |connection| tombstones::set(connection, no).await).await
    }

    /// Erases our own rows; false when there is more to do than one slice does.
    async fn erase_rows(&self, task: &Erasure) -> Result<bool> {
        let no = task.task.erasure_no;
        let mut customers_left = true;
        for _ in 0..BATCHES {
            if customers_left {
                let erase = async |connection: &mut Connection| {
                    batches::erase_customers(connection, no).await
                };
                let erased = self.fenced(task, erase).await?;
                self.metrics.updates_by_takeout.inc_by(erased.unsigned_abs());
                customers_left = erased == batches::CUSTOMERS;
            } else {
                let forget = async |connection: &mut Connection| {
                    batches::forget_answers(connection, no).await
                };
                if self.fenced(task, forget).await? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Has `personal` forget the names that no other customer has; false when there is more to do than
    /// one slice does.
    async fn forget_names(&self, task: &Erasure) -> Result<bool> {
        let no = task.task.erasure_no;
        let read = async |connection: &mut Connection| batches::names(connection, no).await;
        for _ in 0..BATCHES {
            if self.fenced(task, read).await?.is_empty() {
                return Ok(true);
            }
            // Right before the call: somebody may have taken a name up meanwhile.
            let names = self
                .fenced(task, async |connection| {
                    batches::drop_shared_names(connection, no).await?;
                    batches::names(connection, no).await
                })
                .await?;
            self.forget_in_personal(&task.context, &names).await?;
            let drop = async |connection: &mut Connection| {
                batches::drop_names(connection, no, &names).await
            };
            self.fenced(task, drop).await?;
        }
        Ok(false)
    }

    async fn forget_in_personal(&self, context: &Context, names: &[PackedId]) -> Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        let ids: Vec<String> = names.iter().map(|id| id.text().into_owned()).collect();
        Ok(self.personal.delete(context, PersonalKind::Names, &ids).await?)
    }
}

fn unknown() -> Error {
    Error::new(Kind::Internal, "erasure_unknown", "There is no such erasure in the audit's table.")
}
