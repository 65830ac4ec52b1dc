//! In which region drivers are, by their positions.
//!
//! Positions are remembered for some seconds. Those that are missing are asked in rounds, one at a time:
//! while one is under way, what further callers lack gathers for the next, each driver once.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use moka::sync::Cache;
use tokio::sync::watch;

use super::model::DriverKey;
use crate::domains::deptrans_driver_status_integration::regions::Regions;
use crate::platform::context::Context;
use crate::upstreams::driver_trackstory::{BATCH, DriverRef, DriverTrackstory, Position};

/// Drivers whose regions are remembered, about 100 bytes each.
const REMEMBERED: u64 = 300_000;
/// Drivers who wait to be asked; with more, callers do without.
const MOST_WANTED: usize = 20_000;
/// After a round that failed nobody asks for so long: callers do without at once.
const HOLD_OFF: Duration = Duration::from_secs(1);

/// Park, a space, driver: neither has one.
type Key = Arc<str>;

/// Where a driver is, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whereabouts {
    /// In the region of this id.
    In(i16),
    /// In none, or nobody knows where he is.
    Nowhere,
    /// driver-trackstory could not be asked.
    NotAsked,
}

/// Shared by all threads.
#[derive(Clone)]
pub struct Positions(Arc<Inner>);

struct Inner {
    trackstory: DriverTrackstory,
    regions: Arc<Regions>,
    remembered: Cache<Key, Option<i16>>,
    /// One round takes no longer.
    patience: Duration,
    rounds: Mutex<Rounds>,
    /// How many rounds have ended.
    ended: watch::Sender<u64>,
}

#[derive(Default)]
struct Rounds {
    /// For the next rounds.
    wanted: HashSet<Key>,
    /// In the round that is under way.
    asking: HashSet<Key>,
    /// Whether somebody asks.
    running: bool,
    failed_at: Option<Instant>,
}

impl Positions {
    /// Positions are good for `remember`, and asked for no longer than `patience`.
    pub fn new(
        trackstory: DriverTrackstory,
        regions: Arc<Regions>,
        remember: Duration,
        patience: Duration,
    ) -> Self {
        let remembered = Cache::builder().max_capacity(REMEMBERED).time_to_live(remember).build();
        let (rounds, ended) = (Mutex::default(), watch::Sender::new(0));
        Self(Arc::new(Inner { trackstory, regions, remembered, patience, rounds, ended }))
    }

    /// Where each of `drivers` is, in their order. Must be called on a thread that runs local tasks.
    /// Waits for driver-trackstory for a part of the caller's patience.
    pub async fn whereabouts(&self, context: &Context, drivers: &[DriverKey]) -> Vec<Whereabouts> {
        let keys: Vec<Key> = drivers.iter().map(key).collect();
        let mut found: Vec<Whereabouts> = keys.iter().map(|key| self.recall(key)).collect();
        if !found.contains(&Whereabouts::NotAsked) {
            return found;
        }
        let waits = context.keeping_back(0.5);
        loop {
            let missing = keys.iter().zip(&found).filter(|(_, at)| **at == Whereabouts::NotAsked);
            let mut ended = self.0.ended.subscribe();
            if !self.want(missing.map(|(key, _)| key)) {
                return found;
            }
            if !matches!(waits.deadline.run(ended.changed()).await, Ok(Ok(()))) {
                return found;
            }
            for (key, at) in keys.iter().zip(&mut found) {
                if *at == Whereabouts::NotAsked {
                    *at = self.recall(key);
                }
            }
            if !found.contains(&Whereabouts::NotAsked) {
                return found;
            }
        }
    }

    fn recall(&self, key: &Key) -> Whereabouts {
        match self.0.remembered.get(key) {
            Some(Some(region)) => Whereabouts::In(region),
            Some(None) => Whereabouts::Nowhere,
            None => Whereabouts::NotAsked,
        }
    }
}

impl Positions {
    /// Has these drivers asked; false when they will not be, for now.
    fn want<'a>(&self, keys: impl Iterator<Item = &'a Key>) -> bool {
        let mut rounds = self.0.lock();
        if rounds.failed_at.is_some_and(|at| at.elapsed() < HOLD_OFF) {
            return false;
        }
        for key in keys {
            if rounds.wanted.len() >= MOST_WANTED {
                return false;
            }
            if !rounds.asking.contains(key) {
                rounds.wanted.insert(Arc::clone(key));
            }
        }
        if !std::mem::replace(&mut rounds.running, true) {
            tokio::task::spawn_local(run(Arc::clone(&self.0)));
        }
        true
    }
}

/// Asks round by round until nobody is wanted.
async fn run(inner: Arc<Inner>) {
    let _rest = RestOnDrop(&inner);
    while let Some(asking) = inner.next_round() {
        let answered = inner.ask(&asking).await;
        let mut rounds = inner.lock();
        rounds.asking.clear();
        rounds.failed_at = (!answered).then(Instant::now);
        if !answered {
            rounds.wanted.clear();
        }
        drop(rounds);
        inner.ended.send_modify(|ended| *ended += 1);
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Rounds> {
        self.rounds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes those who are asked next; `None` when nobody is left.
    fn next_round(&self) -> Option<Vec<Key>> {
        let mut rounds = self.lock();
        let next: Vec<Key> = rounds.wanted.iter().take(BATCH).map(Arc::clone).collect();
        for key in &next {
            rounds.wanted.remove(key);
            rounds.asking.insert(Arc::clone(key));
        }
        rounds.running = !next.is_empty();
        (!next.is_empty()).then_some(next)
    }

    /// Asks where they are and remembers it; false when there was no answer.
    async fn ask(&self, keys: &[Key]) -> bool {
        let drivers: Vec<DriverRef<'_>> = keys.iter().filter_map(|key| driver(key)).collect();
        let context = Context::background("drivers check", self.patience);
        let positions = match self.trackstory.positions(&context, &drivers).await {
            Ok(positions) => positions,
            Err(error) => {
                tracing::debug!(%error, "regions of drivers are not known by their positions");
                return false;
            }
        };
        let region = |at: &Position| Some(self.regions.at(at.lat, at.lon)?.id);
        let mut found: HashMap<Key, Option<i16>> =
            positions.iter().map(|at| (joined(&at.park_id, &at.driver_id), region(at))).collect();
        for key in keys {
            self.remembered.insert(Arc::clone(key), found.remove(key).flatten());
        }
        true
    }
}

/// Leaves the rounds usable when their runner ends in another way than by finding nobody to ask: its
/// worker stops. Whoever waits does without.
struct RestOnDrop<'a>(&'a Inner);

impl Drop for RestOnDrop<'_> {
    fn drop(&mut self) {
        let mut rounds = self.0.lock();
        if std::mem::take(&mut rounds.running) {
            rounds.wanted.clear();
            rounds.asking.clear();
            rounds.failed_at = Some(Instant::now());
            drop(rounds);
            self.0.ended.send_modify(|ended| *ended += 1);
        }
    }
}

fn key(driver: &DriverKey) -> Key {
    joined(driver.park_id.as_str(), driver.driver_id.as_str())
}

fn joined(park: &str, driver: &str) -> Key {
    format!("{park} {driver}").into()
}

fn driver(key: &str) -> Option<DriverRef<'_>> {
    let (park_id, driver_id) = key.split_once(' ')?;
    Some(DriverRef { park_id, driver_id })
}
