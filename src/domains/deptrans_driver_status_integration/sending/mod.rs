//! Senders: from the queue to the regulator.
//!
//! Each worker takes a batch of statuses under a lease, goes its way with them (`way`), and settles the
//! batch in one transaction: the states of shifts and the rows of the queue. What is lost on the way,
//! the process included, is taken again when the lease is over; whoever was stopped past its lease
//! settles nothing. Reasons stand in `docs/decisions/deptrans-status-queue.md`.

mod drivers;
mod metrics;
pub(super) mod moves;
mod settings;
mod shifts;
mod store;
mod way;

use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

pub(super) use self::drivers::Drivers;
pub(super) use self::metrics::SendingMetrics;
pub use self::settings::SendingSettings;
use self::store::{Entry, Settled};
use self::way::{Trip, Way};
use super::krt::{Gate, Gateway};
use super::regions::Regions;
use crate::platform::context::Context;
use crate::platform::database::Database;
use crate::platform::error::Result;
use crate::platform::shutdown::Shutdown;
use crate::upstreams::driver_trackstory::DriverTrackstory;
use crate::upstreams::personal::Personal;

/// One statement of a worker takes no longer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pauses while something other than KRT is down: they double from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(5);
/// The longest sleep of a worker that waits for KRT.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);
/// Workers but the first look at an idle queue so many times more rarely.
const RARELY: u32 = 10;
/// Why statuses wait for something other than KRT: what is down.
const DATABASE: &str = "database_unavailable";
const TRACKSTORY: &str = "trackstory_unavailable";
const PERSONAL: &str = "personal_unavailable";
/// A batch is given up this long before its lease is over.
const SPARE: Duration = Duration::from_secs(1);

/// What a worker needs.
pub(super) struct Sender {
    pub database: Database,
    pub drivers: Drivers,
    pub trackstory: DriverTrackstory,
    pub personal: Personal,
    pub krt: Arc<Gateway>,
    pub regions: Arc<Regions>,
    pub settings: SendingSettings,
    pub metrics: SendingMetrics,
    pub rest: Rest,
}

impl Sender {
    /// Works until the process stops. What has left is waited for and settled then; the rest of the
    /// batches goes back.
    pub async fn run(self, stop: Shutdown) {
        let sender = Rc::new(self);
        let busy = Rc::new(Notify::new());
        let work = (0..sender.settings.workers)
            .map(|index| Rc::clone(&sender).work(index, Rc::clone(&busy), stop.clone()));
        join_all(work).await;
    }

    async fn work(self: Rc<Self>, index: usize, busy: Rc<Notify>, stop: Shutdown) {
        while !stop.has_come() {
            if let Some(pause) = self.rest.pause() {
                stop.wait_or(pause).await;
                continue;
            }
            let pulse = self.krt.pulse();
            let (most, _probe) = match pulse.gate() {
                Gate::Open => (self.most(), None),
                Gate::Probe(probe) => (1, Some(probe)),
                Gate::Closed(wait) => {
                    tokio::select! {
                        () = stop.wait() => {}
                        () = pulse.back() => {}
                        () = sleep(wait.min(LONGEST_SLEEP)) => {}
                    }
                    continue;
                }
            };
            let found = match self.batch(most, &stop).await {
                Ok(found) => found,
                Err(error) => {
                    tracing::debug!(code = error.code(), cause = error.chain(), "nothing is sent");
                    self.rest.trouble(DATABASE);
                    continue;
                }
            };
            if found == most {
                busy.notify_waiters();
            } else if found == 0 {
                let pause = self.settings.poll() * if index == 0 { 1 } else { RARELY };
                tokio::select! {
                    () = stop.wait() => {}
                    () = busy.notified() => {}
                    () = sleep(pause) => {}
                }
            }
        }
    }

    /// As many as are configured, and no more than all workers together can send in half of a batch's
    /// time.
    fn most(&self) -> usize {
        let SendingSettings { batch, workers, .. } = self.settings;
        if self.krt.has_bulk() {
            return batch;
        }
        let calls = self.krt.calls_in(self.settings.batch_time() / 2);
        batch.min(calls / workers.max(1)).max(1)
    }

    /// Takes a batch and brings it to its end; how many statuses there were.
    async fn batch(&self, most: usize, stop: &Shutdown) -> Result<usize> {
        let (lease, taken_at) = (Uuid::now_v7(), Instant::now());
        let entries = self.take(lease, most).await?;
        let found = entries.len();
        if found == 0 {
            return Ok(0);
        }
        let ctx = Context::background("deptrans sender", self.settings.batch_time());
        let ways = entries.into_iter().map(Way::new).collect();
        let mut trip = Trip { sender: self, ways, stop };
        trip.go(&ctx).await;
        self.settle(lease, taken_at, &trip.ways).await?;
        Ok(found)
    }

    async fn take(&self, lease: Uuid, most: usize) -> Result<Vec<Entry>> {
        let context = Context::background("deptrans sender", PATIENCE);
        let seconds = self.settings.lease().as_secs_f64();
        self.database
            .statement(&context, async |connection| {
                store::take(connection, lease, seconds, most).await
            })
            .await
    }

    /// Settles a batch, again and again while its lease lasts. What is told twice to the regulator is
    /// told under the same id.
    async fn settle(&self, lease: Uuid, taken_at: Instant, ways: &[Way]) -> Result<()> {
        let give_up = taken_at + self.settings.lease().saturating_sub(SPARE);
        let mut pause = FIRST_PAUSE;
        let settled = loop {
            match self.settle_once(lease, ways).await {
                Ok(settled) => break settled,
                Err(error) if Instant::now() + pause >= give_up => return Err(error),
                Err(error) => {
                    let (code, cause) = (error.code(), error.chain());
                    tracing::warn!(code, cause, "a batch of statuses is not settled yet");
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(LAST_PAUSE);
        };
        for row in &settled {
            if let Some(way) = ways.get(row.place()) {
                let age = (!way.is_leave()).then_some(row.age);
                self.metrics.settled(&way.fate(), age, row.is_due_again);
            }
        }
        self.metrics.leases_lost(ways.len().saturating_sub(settled.len()));
        self.rest.well(DATABASE);
        Ok(())
    }

    async fn settle_once(&self, lease: Uuid, ways: &[Way]) -> Result<Vec<Settled>> {
        let context = Context::background("deptrans sender", PATIENCE);
        let rows: Vec<_> = ways
            .iter()
            .map(|way| way.settlement(|attempts| self.settings.backoff(attempts)))
            .collect();
        self.database
            .transaction(&context, async |connection| {
                let settled = store::settle(connection, lease, &rows).await?;
                // Only what is still this worker's to settle changes anything.
                let answers: Vec<_> =
                    settled.iter().filter_map(|row| ways.get(row.place())?.answered()).collect();
                shifts::write(connection, &answers).await?;
                Ok(settled)
            })
            .await
    }
}

/// A pause of all workers while something that they need is down.
#[derive(Default)]
pub(super) struct Rest(Mutex<Resting>);

#[derive(Default)]
struct Resting {
    until: Option<Instant>,
    last: Duration,
    reason: Option<&'static str>,
}

impl Rest {
    /// Something is down: nothing is begun for a while.
    fn trouble(&self, reason: &'static str) {
        self.trouble_at(reason, Instant::now());
    }

    fn trouble_at(&self, reason: &'static str, now: Instant) {
        let mut resting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if resting.until.is_some_and(|until| until > now) {
            return;
        }
        resting.last = (resting.last * 2).clamp(FIRST_PAUSE, LAST_PAUSE);
        resting.until = Some(now + resting.last);
        if resting.reason.replace(reason) != Some(reason) {
            tracing::warn!(reason, "statuses wait in the queue");
        }
    }

    /// What that was about is well.
    fn well(&self, reason: &'static str) {
        let mut resting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if resting.reason == Some(reason) {
            *resting = Resting::default();
            tracing::info!("statuses are sent again");
        }
    }

    /// How long nothing is to be begun.
    fn pause(&self) -> Option<Duration> {
        self.pause_at(Instant::now())
    }

    fn pause_at(&self, now: Instant) -> Option<Duration> {
        let resting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = resting.until?.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_rest_while_something_is_down_until_that_is_well() {
        let (now, rest) = (Instant::now(), Rest::default());
        assert_eq!(rest.pause_at(now), None);
        rest.trouble_at(TRACKSTORY, now);
        assert_eq!(rest.pause_at(now), Some(FIRST_PAUSE));
        // Others that meet the same trouble do not make it longer.
        rest.trouble_at(TRACKSTORY, now);
        assert_eq!(rest.pause_at(now), Some(FIRST_PAUSE));
        rest.well(PERSONAL);
        assert!(rest.pause_at(now).is_some(), "that is not what it is about");
        let later = now + FIRST_PAUSE;
        assert_eq!(rest.pause_at(later), None);
        rest.trouble_at(TRACKSTORY, later);
        assert_eq!(rest.pause_at(later), Some(FIRST_PAUSE * 2));
        rest.well(TRACKSTORY);
        assert_eq!(rest.pause_at(later), None);
    }
}
