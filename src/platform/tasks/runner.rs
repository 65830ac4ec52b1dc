//! Claims tasks and runs them, on threads of their own: what handlers call (awc) is bound to a
//! thread.
//!
//! Each thread has a share of each queue's places and one loop a queue, which claims as many tasks
//! as it has free places. An empty queue is looked at again after a pause that doubles from a few
//! milliseconds up to `tasks.poll_ms`; a notification ends the pause. So what commits a little after
//! a look is found a little later, even when nobody was notified.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, sleep, timeout};

use super::registry::Queue;
use super::statements::{Claim, ClaimTasks, Claimed, RenewLease};
use super::{HAND_BACK, Inner};
use crate::platform::context::Context;
use crate::platform::error::Result;

mod attempt;

/// The first pause after something was found; more than a process's pause between notifications
/// passes while it doubles.
const FIRST_LOOK: Duration = Duration::from_millis(5);
/// Pauses while the database fails.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(5);
/// Tasks in one claim at most.
const MOST: usize = 256;
/// So few places are claimed all at once.
const WHOLE: usize = 8;
/// A thread that is nearly full waits this long for more free places, so that claims are worth
/// their round trip.
const GATHER: Duration = Duration::from_millis(2);
/// How long one statement of a worker may take, everything included.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// The same for a claim: as each statement has a time-out of its own, it is never waited out. Who
/// stops waiting for a claim leaves tasks behind that nobody runs until their leases expire.
const CLAIM_PATIENCE: Duration = Duration::from_mins(1);

/// One thread.
struct Worker {
    inner: Arc<Inner>,
    held: RefCell<HashMap<Claim, Held>>,
    /// True when running tasks are to be handed back.
    hand_back: watch::Sender<bool>,
}

/// A task under way.
struct Held {
    /// Until when the lease holds at least, by our own clock.
    until: Instant,
    lost: Rc<Notify>,
}

/// Starts the threads.
pub(super) fn start(inner: &Arc<Inner>) {
    for index in 0..inner.settings.threads {
        let (own, alive) = (Arc::clone(inner), Alive::new(inner));
        let run = move || {
            let _alive = alive;
            match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => LocalSet::new().block_on(&runtime, work(own, index)),
                Err(error) => tracing::error!(%error, "a thread for background tasks is missing"),
            }
        };
        if let Err(error) = std::thread::Builder::new().name("tasks".to_owned()).spawn(run) {
            tracing::error!(%error, "a thread for background tasks is missing");
        }
    }
}

/// Counts a thread while it runs.
struct Alive(Arc<Inner>);

impl Alive {
    fn new(inner: &Arc<Inner>) -> Self {
        inner.threads.send_modify(|threads| *threads += 1);
        Self(Arc::clone(inner))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.threads.send_modify(|threads| *threads -= 1);
    }
}

/// Runs until the process stops and every task has ended or was handed back.
async fn work(inner: Arc<Inner>, index: usize) {
    let mut changes = inner.registry.changes();
    let shutdown = inner.shutdown.clone();
    let stop = inner.settings.stop();
    let worker =
        Rc::new(Worker { inner, held: RefCell::default(), hand_back: watch::Sender::new(false) });
    spawn_local(Rc::clone(&worker).renew_leases());
    let mut known: Vec<&'static str> = Vec::new();
    let mut loops = Vec::new();
    loop {
        changes.borrow_and_update();
        for queue in worker.inner.registry.queues() {
            if !known.contains(&queue.name) {
                known.push(queue.name);
                let places = worker.places(queue.name, index);
                loops.push(spawn_local(Rc::clone(&worker).serve(queue, places)));
            }
        }
        tokio::select! {
            () = shutdown.wait() => break,
            news = changes.changed() => if news.is_err() { break },
        }
    }
    let mut ended = std::pin::pin!(join_all(loops));
    if timeout(stop, &mut ended).await.is_err() {
        worker.hand_back.send_replace(true);
        let _ = timeout(HAND_BACK, ended).await;
    }
}

impl Worker {
    /// This thread's share of a queue's places. Which threads get one more differs from queue to
    /// queue.
    fn places(&self, queue: &str, index: usize) -> usize {
        let (all, threads) =
            (self.inner.settings.concurrency_of(queue), self.inner.settings.threads);
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(queue);
        let turn = usize::try_from(hash % 64).unwrap_or_default();
        all / threads + usize::from((index + turn) % threads < all % threads)
    }

    /// Claims and runs the tasks of one queue until the process stops; ends when the last has ended.
    async fn serve(self: Rc<Self>, queue: Arc<Queue>, places: usize) {
        if places == 0 {
            return;
        }
        let free = Arc::new(Semaphore::new(places));
        let shutdown = self.inner.shutdown.clone();
        let mut wake_ups = queue.wake_ups();
        let mut pace = Pace::new(self.inner.settings.poll());
        loop {
            let taken = tokio::select! {
                biased;
                () = shutdown.wait() => break,
                taken = take_free(&free, places) => taken,
            };
            let Some(mut taken) = taken else { break };
            wake_ups.borrow_and_update();
            // With many places, half at a time: PostgreSQL claims while the others run.
            let asked = taken.num_permits().min(MOST).min((places / 2).max(WHOLE));
            // Never dropped on its way: what it claims is ours.
            let claimed = self.claim(&queue, asked).await;
            let found = claimed.as_ref().map(Vec::len).ok();
            for (task, lost) in claimed.into_iter().flatten() {
                if let Some(place) = taken.split(1) {
                    spawn_local(Rc::clone(&self).run(Arc::clone(&queue), task, lost, place));
                }
            }
            drop(taken);
            let pause = pace.after(found);
            if found == Some(asked) {
                continue;
            }
            tokio::select! {
                () = shutdown.wait() => break,
                () = sleep(pause) => {}
                _ = wake_ups.changed(), if found.is_some() => pace.news(),
            }
        }
        let all = u32::try_from(places).unwrap_or(u32::MAX);
        let _ = free.acquire_many(all).await;
    }

    /// Claims up to `limit` tasks; they are held from now on.
    async fn claim(&self, queue: &Queue, limit: usize) -> Result<Vec<(Claimed, Rc<Notify>)>> {
        let lease = self.inner.settings.lease();
        let statement = ClaimTasks {
            queue: queue.name,
            kinds: queue.kinds(),
            fronts: queue.fronts.in_use(),
            limit,
            lease,
        };
        let sent = Instant::now();
        let context = Context::background("tasks", CLAIM_PATIENCE);
        let claimed = self.inner.database.batched::<ClaimTasks>(&context, statement).await;
        let claimed = self.inner.note(claimed)?;
        queue.busy.fetch_or(!claimed.is_empty(), Ordering::Relaxed);
        let metrics = &self.inner.metrics;
        metrics.claim.with_label_values(&[queue.name]).observe(sent.elapsed().as_secs_f64());
        let wait = metrics.wait.with_label_values(&[queue.name]);
        let hold = |claimed: Claimed| {
            wait.observe(claimed.waited.max(0.0));
            let lost = Rc::new(Notify::new());
            let held = Held { until: sent + lease, lost: Rc::clone(&lost) };
            self.held.borrow_mut().insert(claimed.claim(), held);
            (claimed, lost)
        };
        Ok(claimed.into_iter().map(hold).collect())
    }

    /// Renews the leases of this thread's tasks, and tells those that lost theirs.
    async fn renew_leases(self: Rc<Self>) {
        let mut pause = self.inner.settings.heartbeat();
        loop {
            sleep(pause).await;
            let claims: Vec<Claim> = self.held.borrow().keys().copied().collect();
            let (sent, lease) = (Instant::now(), self.inner.settings.lease());
            let context = Context::background("tasks", PATIENCE);
            let renew = claims.into_iter().map(async |claim| {
                (claim, self.inner.database.batched::<RenewLease>(&context, (claim, lease)).await)
            });
            let mut all_well = true;
            for (claim, renewed) in join_all(renew).await {
                let mut held = self.held.borrow_mut();
                let Some(held) = held.get_mut(&claim) else { continue };
                match renewed {
                    Ok(true) => held.until = sent + lease,
                    Ok(false) => held.lost.notify_one(),
                    Err(_) => {
                        all_well = false;
                        // Nobody answers: by now the task may be another worker's.
                        if held.until <= Instant::now() {
                            held.lost.notify_one();
                        }
                    }
                }
            }
            let usual = self.inner.settings.heartbeat();
            pause = if all_well { usual } else { usual.min(Duration::from_secs(1)) };
        }
    }
}

/// How soon to look again.
struct Pace {
    look: Duration,
    trouble: Duration,
    slowest: Duration,
}

impl Pace {
    fn new(slowest: Duration) -> Self {
        Self { look: FIRST_LOOK, trouble: FIRST_PAUSE, slowest }
    }

    /// The pause after a look that found so many, or failed.
    fn after(&mut self, found: Option<usize>) -> Duration {
        let Some(found) = found else {
            let pause = self.trouble;
            self.trouble = (pause * 2).min(LAST_PAUSE);
            return with_jitter(pause);
        };
        self.trouble = FIRST_PAUSE;
        if found > 0 {
            self.news();
        }
        let pause = self.look;
        self.look = (pause * 2).min(self.slowest);
        with_jitter(pause)
    }

    /// There is something to find.
    fn news(&mut self) {
        self.look = FIRST_LOOK;
    }
}

/// Takes the free places: at least one, and where few are free, what comes free in a moment.
async fn take_free(free: &Arc<Semaphore>, places: usize) -> Option<OwnedSemaphorePermit> {
    let mut taken = Arc::clone(free).acquire_owned().await.ok()?;
    let worth = (places / 4).min(MOST / 2);
    if taken.num_permits() + free.available_permits() < worth {
        let missing = u32::try_from(worth - 1).unwrap_or_default();
        if let Ok(more) = timeout(GATHER, Arc::clone(free).acquire_many_owned(missing)).await {
            taken.merge(more.ok()?);
        }
    }
    let more = free.available_permits().min(MOST.saturating_sub(taken.num_permits()));
    let more = u32::try_from(more).unwrap_or_default();
    if let Ok(more) = Arc::clone(free).try_acquire_many_owned(more) {
        taken.merge(more);
    }
    Some(taken)
}

/// Half of it is left to chance, so that instances do not go in step.
fn with_jitter(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + 0.5 * rand::random::<f64>())
}
