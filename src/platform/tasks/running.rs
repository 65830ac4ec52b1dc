//! What a handler gets, and what it answers.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::BigInt;
use diesel_async::RunQueryDsl;

use super::statements::Claim;
use crate::platform::context::Context;
use crate::platform::database::{Connection, prepared_statement};
use crate::platform::error::{Error, Kind, Result};
use crate::platform::ids::ParkId;

/// A task under way.
#[derive(Debug)]
pub struct Running<T> {
    /// What is to be done.
    pub task: T,
    /// The time limit of the attempt, and the trace of whoever enqueued it.
    pub context: Context,
    /// The park it was enqueued for.
    pub park: Option<ParkId>,
    /// Which attempt this is, from 1; the last is `max_attempts`.
    pub attempt: i16,
    /// After so many failures it is dead.
    pub max_attempts: i16,
    pub(super) lease: Lease,
}

/// The handler's hold on its task.
#[derive(Debug, Clone)]
pub(super) struct Lease {
    pub claim: Claim,
    /// Whether a transaction was told to complete it.
    pub completed: Rc<Cell<bool>>,
}

/// What became of an attempt that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything is done; the task goes.
    Done,
    /// Not yet: the same task again after this pause. The attempt does not count.
    Snooze(Duration),
    /// A slice of long work is done: the same task again, at once but at the end of its park's line.
    /// Attempts count from the beginning.
    Continue,
}

/// Why an attempt failed. Every platform error is one that may pass, so `?` makes it a [`Retry`]; its
/// `retry_after` is the least that is waited.
///
/// [`Retry`]: Failure::Retry
#[derive(Debug)]
pub enum Failure {
    /// It may pass: again after a pause that grows, until the attempts are used up.
    Retry(Error),
    /// It never will: the task is dead at once, and a person decides.
    Dead(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Retry(error)
    }
}

/// What a handler returns.
pub type TaskResult = std::result::Result<Outcome, Failure>;

prepared_statement! {
    struct FenceStatement<'a> returns BigInt;
    "SELECT t.id FROM task_queue.tasks t WHERE t.state = 'running' AND t.id = ",
    id: i64 => BigInt, " AND t.token = ",
    token: &'a i64 => BigInt, " FOR KEY SHARE",
}

prepared_statement! {
    struct CompleteInStatement<'a> returns BigInt;
    "DELETE FROM task_queue.tasks t WHERE t.state = 'running' AND t.id = ",
    id: i64 => BigInt, " AND t.token = ",
    token: &'a i64 => BigInt, " RETURNING t.id",
}

impl<T> Running<T> {
    /// Makes sure, inside a transaction of the handler's, that the task is still this worker's, and
    /// that nobody takes it over before that transaction ends: what it writes is written once. Called
    /// first in the transaction; what does not need to know may be sent right behind it, as the
    /// transaction fails with it. Heartbeats go on meanwhile.
    ///
    /// # Errors
    /// `task_lease_lost`: another worker may have done the work; roll back. The database fails.
    pub async fn fence(&self, mut connection: &Connection) -> Result<()> {
        let Claim { id, token } = self.lease.claim;
        let fence = FenceStatement { id, token: &token };
        let held: Option<i64> = fence.get_result(&mut connection).await.optional()?;
        held.map(|_| ()).ok_or_else(lease_lost)
    }

    /// Completes the task in the handler's own transaction, together with its work: both take effect
    /// once, or neither does. Called last in the transaction; then the handler returns
    /// [`Outcome::Done`].
    ///
    /// # Errors
    /// As [`Running::fence`].
    pub async fn complete_in(&self, mut connection: &Connection) -> Result<()> {
        let Claim { id, token } = self.lease.claim;
        let complete = CompleteInStatement { id, token: &token };
        let held: Option<i64> = complete.get_result(&mut connection).await.optional()?;
        held.ok_or_else(lease_lost)?;
        self.lease.completed.set(true);
        Ok(())
    }
}

fn lease_lost() -> Error {
    let detail = "The background task was taken over by another worker.";
    Error::new(Kind::Conflict, LEASE_LOST, detail)
}

/// The code of a task that is somebody else's now.
pub(super) const LEASE_LOST: &str = "task_lease_lost";

/// Longest error text that is kept, in characters.
const MOST_TEXT: usize = 500;

/// An error's code and outward text as they are stored. The cause stays out: it may quote what
/// somebody sent.
pub(super) fn stored_error(error: &Error) -> (String, String) {
    (clean(error.code()), clean(error.detail()))
}

/// PostgreSQL's texts hold no U+0000.
fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c == '\0' { char::REPLACEMENT_CHARACTER } else { c })
        .take(MOST_TEXT)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_errors_are_short_clean_and_without_their_cause() {
        let detail = format!("a\0b{}", "я".repeat(1000));
        let error = Error::new(Kind::Internal, "some_code", detail).with_source("+79990000001");
        let (code, text) = stored_error(&error);
        assert_eq!(code, "some_code");
        assert!(text.starts_with("a\u{fffd}b"), "{text}");
        assert_eq!(text.chars().count(), MOST_TEXT);
    }
}
