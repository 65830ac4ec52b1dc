//! Natural batching: while one statement is under way, calls that arrive gather, and go out
//! together as the next. No timer: a lone caller's statement leaves at once. One commit, one round
//! trip and one parse serve many callers.
//!
//! Each worker thread batches for itself on a lane of its own. What is promised:
//! - bounded: a batch holds at most [`BatchedStatement::MAX`] calls, and the queue is as long as
//!   the requests in flight, which the server bounds;
//! - fair: first come, first served;
//! - one caller's fault is not another's: when a batch fails for what was asked, its calls are run
//!   one by one;
//! - deadlines: a caller that left before its batch went out is not run.
//!
//! A caller that leaves afterwards does not stop the statement: what it asked for may take effect,
//! as with any answer that is lost on its way.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::rc::Rc;
use std::time::{Duration, Instant};

use diesel::QueryResult;
use tokio::sync::oneshot;

use super::Connection;
use super::error::CONTENDED;
use super::lane::forget_lane;
use super::pool::Database;
use crate::platform::context::Context;
use crate::platform::error::{Error, Kind, Result};

/// Beyond PostgreSQL's own statement time-out, how long an answer may be on its way.
const ANSWER_SLACK: Duration = Duration::from_millis(500);

/// A statement that can do many calls' work at once.
pub trait BatchedStatement: 'static {
    /// What one call asks for.
    type Input: 'static;
    /// What one call gets.
    type Output: 'static;
    /// Calls with equal keys never go into the same batch.
    type Key: Hash + Eq;

    /// The statement's name in metrics.
    const NAME: &'static str;
    /// The lane it runs on; statements that wait for commits do not share one with reads.
    const LANE: &'static str;
    /// Further settings of that lane's session, as in `options` of a connection URL; the same for all
    /// statements of the lane.
    const LANE_OPTIONS: &'static str = "";
    /// Calls in a batch at most.
    const MAX: usize;

    /// Whether running it twice is the same as once, as with reads.
    const REPEATABLE: bool;

    /// The key by which calls of one batch must differ; `None` where they need not.
    fn key(input: &Self::Input) -> Option<Self::Key>;

    /// Runs the statement for all of `inputs`; one output for each, in their order.
    fn run(
        connection: &Connection,
        inputs: &[Self::Input],
    ) -> impl Future<Output = QueryResult<Vec<Self::Output>>>;
}

struct Call<S: BatchedStatement> {
    input: S::Input,
    answer: oneshot::Sender<Result<S::Output>>,
}

struct Queue<S: BatchedStatement> {
    waiting: VecDeque<Call<S>>,
    running: bool,
}

/// A thread's queues, by database and statement.
type Queues = HashMap<(usize, TypeId), Rc<dyn Any>>;

thread_local! {
    static QUEUES: RefCell<Queues> = RefCell::new(HashMap::new());
}

impl Database {
    /// Runs one call of a batched statement. Must be called on a thread that runs local tasks, as
    /// the server's workers do.
    ///
    /// # Errors
    /// `database_unavailable`, `deadline_exceeded`, and whatever the statement itself fails with.
    pub async fn batched<S: BatchedStatement>(
        &self,
        context: &Context,
        input: S::Input,
    ) -> Result<S::Output> {
        let (answer, answered) = oneshot::channel();
        let queue = self.queue::<S>();
        let start = {
            let mut queue = queue.borrow_mut();
            queue.waiting.push_back(Call { input, answer });
            !std::mem::replace(&mut queue.running, true)
        };
        if start {
            tokio::task::spawn_local(run_queue(self.clone(), queue));
        }
        let lost = |_| Error::internal("the batch ended without an answer");
        context.deadline.run(answered).await?.map_err(lost)?
    }

    fn queue<S: BatchedStatement>(&self) -> Rc<RefCell<Queue<S>>> {
        let key = (std::sync::Arc::as_ptr(&self.0) as usize, TypeId::of::<S>());
        let new = || RefCell::new(Queue::<S> { waiting: VecDeque::new(), running: false });
        QUEUES.with_borrow_mut(|queues| {
            let found = queues.get(&key).cloned().map(Rc::downcast::<RefCell<Queue<S>>>);
            if let Some(Ok(queue)) = found {
                return queue;
            }
            for outcome in ["ok", "split", "failed"] {
                let _ = self.0.metrics.batches.with_label_values(&[S::NAME, outcome]);
            }
            let queue = Rc::new(new());
            queues.insert(key, Rc::clone(&queue) as Rc<dyn Any>);
            queue
        })
    }
}

/// Runs batches until none waits. While one is under way, the next gathers.
async fn run_queue<S: BatchedStatement>(database: Database, queue: Rc<RefCell<Queue<S>>>) {
    let _reset = ResetOnDrop(&queue);
    loop {
        let batch = next_batch(&mut queue.borrow_mut());
        let Some(batch) = batch else { return };
        run_batch(&database, batch).await;
    }
}

/// Leaves the queue usable when its runner ends in any other way than by finding it empty: a panic
/// in a statement, or a worker that stops. Whoever waits is told.
struct ResetOnDrop<'a, S: BatchedStatement>(&'a RefCell<Queue<S>>);

impl<S: BatchedStatement> Drop for ResetOnDrop<'_, S> {
    fn drop(&mut self) {
        if let Ok(mut queue) = self.0.try_borrow_mut() {
            queue.running = false;
            queue.waiting.clear();
        }
    }
}

/// How many times a batch's size is looked through for one batch: when many ask for one key, others
/// behind them still get into it.
const LOOK_AHEAD: usize = 4;

/// Takes the calls of the next batch, in their order, and marks the queue as resting when there
/// is none. Calls whose key is taken go first in the next.
fn next_batch<S: BatchedStatement>(queue: &mut Queue<S>) -> Option<Vec<Call<S>>> {
    let mut batch: Vec<Call<S>> = Vec::new();
    let mut set_aside: Vec<Call<S>> = Vec::new();
    let mut keys = HashSet::new();
    while batch.len() < S::MAX && batch.len() + set_aside.len() < LOOK_AHEAD * S::MAX {
        let Some(call) = queue.waiting.pop_front() else { break };
        if call.answer.is_closed() {
            continue;
        }
        if S::key(&call.input).is_some_and(|key| !keys.insert(key)) {
            set_aside.push(call);
        } else {
            batch.push(call);
        }
    }
    for call in set_aside.into_iter().rev() {
        queue.waiting.push_front(call);
    }
    queue.running = !batch.is_empty();
    (!batch.is_empty()).then_some(batch)
}

async fn run_batch<S: BatchedStatement>(database: &Database, batch: Vec<Call<S>>) {
    let (inputs, answers): (Vec<_>, Vec<_>) =
        batch.into_iter().map(|call| (call.input, call.answer)).unzip();
    let metrics = &database.0.metrics;
    metrics.batched.with_label_values(&[S::NAME]).inc_by(inputs.len() as u64);
    let started = Instant::now();
    let outcome = run_once::<S>(database, &inputs).await;
    metrics.batch_seconds.with_label_values(&[S::NAME]).observe(started.elapsed().as_secs_f64());
    let label = match &outcome {
        Ok(outputs) => {
            debug_assert_eq!(outputs.len(), inputs.len());
            "ok"
        }
        Err(error) if inputs.len() > 1 && concerns_the_calls(error) => "split",
        Err(_) => "failed",
    };
    metrics.batches.with_label_values(&[S::NAME, label]).inc();
    match outcome {
        Ok(outputs) => {
            for (answer, output) in answers.into_iter().zip(outputs) {
                let _ = answer.send(Ok(output));
            }
        }
        Err(_) if label == "split" => run_one_by_one::<S>(database, inputs, answers).await,
        Err(error) => {
            for answer in answers {
                let _ = answer.send(Err(error.to_answer()));
            }
        }
    }
}

async fn run_one_by_one<S: BatchedStatement>(
    database: &Database,
    inputs: Vec<S::Input>,
    answers: Vec<oneshot::Sender<Result<S::Output>>>,
) {
    for (input, answer) in inputs.into_iter().zip(answers) {
        if answer.is_closed() {
            continue;
        }
        let outcome = run_once::<S>(database, std::slice::from_ref(&input)).await;
        let one = outcome.and_then(|outputs| {
            outputs.into_iter().next().ok_or_else(|| Error::internal("a statement gave no output"))
        });
        let _ = answer.send(one);
    }
}

/// Runs the statement on the thread's lane. A connection that is known to be closed is never used.
/// When one breaks with a statement under way, nobody knows whether the server ran it: only what
/// does no harm twice is sent again, once.
async fn run_once<S: BatchedStatement>(
    database: &Database,
    inputs: &[S::Input],
) -> Result<Vec<S::Output>> {
    let limit = database.0.settings.lane_statement_timeout() + ANSWER_SLACK;
    let mut tries_left = if S::REPEATABLE { 2 } else { 1 };
    loop {
        let lane = database.lane(S::LANE, S::LANE_OPTIONS).await?;
        let outcome = tokio::time::timeout(limit, S::run(&lane.connection, inputs)).await;
        let answered = outcome.is_ok();
        let outcome = outcome.map_or_else(
            |_| Err(super::error::unavailable("no answer from the database in time")),
            |answered| answered.map_err(Error::from),
        );
        tries_left -= 1;
        match outcome {
            Err(error) if error.code() == "database_unavailable" => {
                forget_lane(&lane);
                if tries_left == 0 || !answered {
                    return Err(error);
                }
            }
            outcome => return outcome,
        }
    }
}

/// Whether a failure may lie in what one of the calls asked (or in a row that somebody else has
/// locked), so that the others deserve a try.
fn concerns_the_calls(error: &Error) -> bool {
    error.code() == CONTENDED || !matches!(error.kind(), Kind::Unavailable | Kind::DeadlineExceeded)
}
