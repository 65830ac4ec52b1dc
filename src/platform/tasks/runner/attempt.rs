//! One attempt at one task, and what is stored of it.

use std::cell::Cell;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::{Instant, sleep, timeout};
use tracing::Instrument;

use super::{PATIENCE, Worker};
use crate::platform::context::{Context, Deadline};
use crate::platform::error::{Error, Kind, Result};
use crate::platform::tasks::registry::{Handler, Queue};
use crate::platform::tasks::running::{
    Failure, LEASE_LOST, Lease, Outcome, TaskResult, stored_error,
};
use crate::platform::tasks::statements::{Claim, Claimed, CompleteTask, PutBack, PutBackTask, To};
use crate::platform::telemetry::metrics::IntGauge;
use crate::platform::telemetry::otlp;
use crate::platform::telemetry::trace::TraceContext;

/// Pauses between attempts to store the end of a task.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(1);
/// However long an error asks to wait.
const LONGEST_ASKED: Duration = Duration::from_hours(24);

/// The outcome of an attempt whose end changed nothing.
const LOST: &str = "lost";

/// How an attempt ended.
enum Ended {
    Answered(TaskResult),
    /// Another worker has the task, or may have it.
    Lost,
    /// The process stops.
    Interrupted,
}

/// Ends the heartbeats of a claim, however its run ends.
struct Hold<'a> {
    worker: &'a Worker,
    claim: Claim,
    running: IntGauge,
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.running.dec();
        self.worker.held.borrow_mut().remove(&self.claim);
    }
}

impl Worker {
    /// Runs a claimed task and stores what became of it. `_place` is taken until then.
    pub(super) async fn run(
        self: Rc<Self>,
        queue: Arc<Queue>,
        claimed: Claimed,
        lost: Rc<Notify>,
        _place: OwnedSemaphorePermit,
    ) {
        let claim = claimed.claim();
        let running = self.inner.metrics.running.with_label_values(&[queue.name]);
        running.inc();
        let _hold = Hold { worker: &self, claim, running };
        let span = tracing::info_span!(
            "task",
            kind = claimed.kind,
            id = claimed.id,
            attempt = claimed.attempt,
            trace_id = tracing::field::Empty,
        );
        let work = async {
            let started = Instant::now();
            let Some(handler) = queue.handler(&claimed.kind) else {
                self.store(&queue, &claimed, &Ended::Interrupted, false).await;
                return;
            };
            let completed = Rc::new(Cell::new(false));
            let lease = Lease { claim, completed: Rc::clone(&completed) };
            let ended = self.attempt(&handler, &claimed, lease, &lost).await;
            let run = &self.inner.metrics.run;
            run.with_label_values(&[handler.kind]).observe(started.elapsed().as_secs_f64());
            let outcome = self.store(&queue, &claimed, &ended, completed.get()).await;
            self.inner.metrics.attempt(handler.kind, outcome);
            if outcome == LOST {
                tracing::warn!("a background task was, or may be, taken over by another worker");
            }
        };
        work.instrument(span).await;
    }

    async fn attempt(
        &self,
        handler: &Handler,
        claimed: &Claimed,
        lease: Lease,
        lost: &Notify,
    ) -> Ended {
        let context = context_of(handler, claimed);
        let begin = async { (handler.begin)(claimed.clone(), context, lease).await };
        let work = timeout(handler.time_limit, AssertUnwindSafe(begin).catch_unwind());
        let mut hand_back = self.hand_back.subscribe();
        tokio::select! {
            biased;
            () = lost.notified() => Ended::Lost,
            ended = work => Ended::Answered(match ended {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => Err(Failure::Retry(failed("task_panicked", "The handler panicked."))),
                Err(_) => Err(Failure::Retry(failed("task_timed_out", "The attempt took too long."))),
            }),
            _ = hand_back.wait_for(|hand_back| *hand_back) => Ended::Interrupted,
        }
    }

    /// Stores how it ended; returns the outcome for the metrics.
    async fn store(
        &self,
        queue: &Queue,
        claimed: &Claimed,
        ended: &Ended,
        completed: bool,
    ) -> &'static str {
        if matches!(ended, Ended::Answered(Ok(Outcome::Done))) {
            // What a transaction completed is not there any more, unless it was rolled back.
            let held = self.insist(claimed, None).await;
            return if held || completed { "done" } else { LOST };
        }
        let Some((outcome, put_back)) = self.put_back(queue, claimed, ended) else {
            return LOST;
        };
        let wakes = put_back.to == To::Line;
        if !self.insist(claimed, Some(put_back)).await {
            return LOST;
        }
        if wakes {
            queue.wake();
        }
        outcome
    }

    /// What becomes of a task that is not done, and how that counts.
    fn put_back(
        &self,
        queue: &Queue,
        claimed: &Claimed,
        ended: &Ended,
    ) -> Option<(&'static str, PutBack)> {
        let (outcome, to, attempt, error) = match ended {
            Ended::Lost | Ended::Answered(Ok(Outcome::Done)) => return None,
            Ended::Interrupted => ("handed_back", To::Front, claimed.attempt - 1, None),
            Ended::Answered(Ok(Outcome::Snooze(pause))) => {
                ("snoozed", To::Scheduled(*pause), claimed.attempt - 1, None)
            }
            Ended::Answered(Ok(Outcome::Continue)) => ("continued", To::Line, 0, None),
            Ended::Answered(Err(Failure::Retry(error))) if error.code() == LEASE_LOST => {
                return None;
            }
            Ended::Answered(Err(Failure::Retry(error)))
                if claimed.attempt < claimed.max_attempts =>
            {
                let pause = self.inner.settings.backoff(claimed.attempt);
                let asked = error.retry_after().unwrap_or_default().min(LONGEST_ASKED);
                let pause = super::with_jitter(pause).max(asked);
                let (code, cause) = (error.code(), error.chain());
                tracing::warn!(code, cause, "a background task failed");
                ("failed", To::Scheduled(pause), claimed.attempt, Some(stored_error(error)))
            }
            Ended::Answered(Err(Failure::Retry(error) | Failure::Dead(error))) => {
                let (code, cause) = (error.code(), error.chain());
                tracing::error!(code, cause, "a background task is dead; see `fleet tasks`");
                ("dead", To::Dead, claimed.attempt, Some(stored_error(error)))
            }
        };
        let place = usize::try_from(claimed.priority).unwrap_or_default();
        let hint = queue.fronts.in_use().get(place).copied().unwrap_or_default();
        Some((outcome, PutBack { claim: claimed.claim(), to, attempt, error, hint }))
    }

    /// Completes a task or puts it back, again and again while the database fails and the lease
    /// holds: what was done is not to be done again for want of saying so. False when the claim was
    /// void.
    async fn insist(&self, claimed: &Claimed, put_back: Option<PutBack>) -> bool {
        let claim = claimed.claim();
        let mut pause = FIRST_PAUSE;
        loop {
            let context = Context::background("tasks", PATIENCE);
            let stored: Result<bool> = match &put_back {
                None => self.inner.database.batched::<CompleteTask>(&context, claim).await,
                Some(put_back) => {
                    self.inner.database.batched::<PutBackTask>(&context, put_back.clone()).await
                }
            };
            if let Ok(held) = self.inner.note(stored) {
                return held;
            }
            let until = self.held.borrow().get(&claim).map(|held| held.until);
            if until.is_none_or(|until| until <= Instant::now() + pause) {
                return false;
            }
            sleep(super::with_jitter(pause)).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }
}

/// The attempt's time and trace: a span below the one that enqueued the task.
fn context_of(handler: &Handler, claimed: &Claimed) -> Context {
    let span = tracing::Span::current();
    let enqueued_in = TraceContext::parse(&claimed.traceparent);
    let trace = otlp::adopt(&span, enqueued_in)
        .or(enqueued_in.map(TraceContext::child))
        .unwrap_or_else(TraceContext::random);
    span.record("trace_id", trace.trace_id_hex());
    Context {
        deadline: Deadline::after(handler.time_limit),
        caller: Arc::from(handler.kind),
        trace,
    }
}

fn failed(code: &'static str, detail: &'static str) -> Error {
    Error::new(Kind::Internal, code, detail)
}
