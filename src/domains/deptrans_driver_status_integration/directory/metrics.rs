//! What is watched of the caches.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::Inner;
use super::store::Feed;
use crate::platform::telemetry::metrics::{IntCounterVec, Metrics, from_zero};

/// Registered once; a directory that is made anew goes on with it.
#[derive(Clone)]
pub struct DirectoryMetrics {
    loads: IntCounterVec,
    dumps: IntCounterVec,
    watched: Arc<Watched>,
}

struct Watched {
    since: Instant,
    /// When each feed was last read to its end, in milliseconds after `since` and 1; 0: never.
    read: [AtomicU64; 2],
    /// What was true before this process began: how old a dump was.
    before: [AtomicU64; 2],
    /// Whether its last full read named too little to be believed.
    shrunken: [AtomicBool; 2],
    inner: Mutex<Weak<Inner>>,
}

fn name(feed: Feed) -> &'static str {
    match feed {
        Feed::Profiles => "profiles",
        Feed::Categories => "categories",
    }
}

const FEEDS: [Feed; 2] = [Feed::Profiles, Feed::Categories];
const LOADS: [&str; 5] = ["incremental", "full", "shrunken", "failed", "refused"];

impl DirectoryMetrics {
    /// Registers them.
    #[must_use]
    pub fn register(metrics: &Metrics) -> Self {
        let loads = from_zero(
            metrics.counters(
                "deptrans_directory_loads_total",
                "Reads of a feed to its end: incremental, full, shrunken (a full one that named too little \
                 to be believed); or failed, refused (its cursor)",
                &["cache", "outcome"],
            ),
            &FEEDS.map(|feed| LOADS.map(|load| [name(feed), load])).concat(),
        );
        let dumps = from_zero(
            metrics.counters(
                "deptrans_directory_dumps_total",
                "Dumps: written, failed, loaded, ignored (damaged or foreign)",
                &["outcome"],
            ),
            &[["written"], ["failed"], ["loaded"], ["ignored"]],
        );
        let watched = Arc::new(Watched {
            since: Instant::now(),
            read: Default::default(),
            before: Default::default(),
            shrunken: Default::default(),
            inner: Mutex::default(),
        });
        let shown = Arc::clone(&watched);
        let entries = metrics.gauges(
            "deptrans_directory_entries",
            "Profiles, drivers with categories, licences that are known",
            &["cache"],
        );
        let ages = metrics.gauges(
            "deptrans_directory_age_seconds",
            "Since a feed was last read to its end",
            &["cache"],
        );
        let bytes = metrics.gauge("deptrans_directory_bytes", "Memory that the caches take, about");
        let waiting = metrics.gauge(
            "deptrans_directory_changes_waiting",
            "Licences whose profiles changed and that pollers were not told of yet",
        );
        metrics.before_render(move || {
            for feed in FEEDS {
                if let Some(age) = shown.age(feed) {
                    let age = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
                    ages.with_label_values(&[name(feed)]).set(age);
                }
            }
            let Some(inner) = shown.inner() else { return };
            let sizes = inner.sizes();
            let number = |size: usize| i64::try_from(size).unwrap_or(i64::MAX);
            entries.with_label_values(&["profiles"]).set(number(sizes.profiles));
            entries.with_label_values(&["categories"]).set(number(sizes.categories));
            entries.with_label_values(&["licenses"]).set(number(sizes.licenses));
            bytes.set(number(sizes.bytes));
            waiting.set(number(inner.changes.len()));
        });
        Self { loads, dumps, watched }
    }

    pub(super) fn watch(&self, inner: &Arc<Inner>) {
        *self.watched.inner.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(inner);
    }

    pub(super) fn loaded(&self, feed: Feed, outcome: &str) {
        self.loads.with_label_values(&[name(feed), outcome]).inc();
    }

    pub(super) fn dumped(&self, outcome: &str) {
        self.dumps.with_label_values(&[outcome]).inc();
    }

    /// A feed was read to its end, so long ago.
    pub(super) fn was_read(&self, feed: Feed, ago: Duration) {
        self.watched.was_read(feed, ago);
    }

    pub(super) fn set_shrunken(&self, feed: Feed, shrunken: bool) {
        if let Some(place) = self.watched.shrunken.get(feed as usize) {
            place.store(shrunken, Ordering::Relaxed);
        }
    }

    /// Whether the last full read of a feed named too little to be believed.
    pub(super) fn is_shrunken(&self, feed: Feed) -> bool {
        let place = self.watched.shrunken.get(feed as usize);
        place.is_some_and(|place| place.load(Ordering::Relaxed))
    }
}

impl Watched {
    fn was_read(&self, feed: Feed, ago: Duration) {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX - 1);
        if let (Some(read), Some(before)) =
            (self.read.get(feed as usize), self.before.get(feed as usize))
        {
            before.store(millis(ago), Ordering::Relaxed);
            read.store(millis(self.since.elapsed()) + 1, Ordering::Relaxed);
        }
    }

    /// How long ago a feed was last read to its end; `None`: never.
    fn age(&self, feed: Feed) -> Option<Duration> {
        let read = self.read.get(feed as usize)?.load(Ordering::Relaxed).checked_sub(1)?;
        let before = Duration::from_millis(self.before.get(feed as usize)?.load(Ordering::Relaxed));
        Some(self.since.elapsed().saturating_sub(Duration::from_millis(read)) + before)
    }

    fn inner(&self) -> Option<Arc<Inner>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
    }
}
