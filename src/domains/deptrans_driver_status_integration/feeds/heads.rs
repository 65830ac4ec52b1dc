//! How far each feed has come, as this process knows without asking for every poll.
//!
//! Notifications say so at once. They may be lost, so the database is looked at now and then anyway: a
//! lost notification delays a change until the next look.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::numbers::{Feed, HEADS};
use super::store;
use crate::platform::context::Context;
use crate::platform::database::{Database, Follower};
use crate::platform::error::Result;

/// One look takes no longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The heads of both feeds.
pub struct Heads {
    bindings: Head,
    statuses: Head,
    began: Instant,
    /// What was seen longer ago says nothing about now.
    fresh: Duration,
}

struct Head {
    /// The last number; -1 before the first look.
    seq: AtomicI64,
    /// When the database was last seen to have come no further, in milliseconds since `began`.
    seen_ms: AtomicU64,
}

impl Heads {
    pub fn new(fresh: Duration) -> Self {
        let head = || Head { seq: AtomicI64::new(-1), seen_ms: AtomicU64::new(0) };
        Self { bindings: head(), statuses: head(), began: Instant::now(), fresh }
    }

    /// Whether the feed ends at this number; then how long ago that was seen at the latest. `None`
    /// where there is more, or nobody knows: the database has to be asked.
    pub fn ends_at(&self, feed: Feed, seq: i64) -> Option<Duration> {
        let head = self.head(feed);
        // The time first: if the number is newer than it, it is only better than said.
        let seen = Duration::from_millis(head.seen_ms.load(Ordering::Acquire));
        if head.seq.load(Ordering::Acquire) != seq {
            return None;
        }
        let age = self.began.elapsed().saturating_sub(seen);
        (age <= self.fresh).then_some(age)
    }

    /// The feed has come as far as `seq`, as somebody told.
    fn raise(&self, feed: Feed, seq: i64) {
        self.head(feed).seq.fetch_max(seq, Ordering::AcqRel);
    }

    /// The database was seen at `seq` by a look that began at `began`, when this process knew of
    /// `known`. An older copy of the database has come less far than what was known before.
    fn saw(&self, feed: Feed, seq: i64, known: i64, began: Instant) {
        let head = self.head(feed);
        if seq < known {
            head.seq.store(seq, Ordering::Release);
        } else {
            head.seq.fetch_max(seq, Ordering::AcqRel);
        }
        let at = began.saturating_duration_since(self.began).as_millis();
        head.seen_ms.store(u64::try_from(at).unwrap_or(u64::MAX), Ordering::Release);
    }

    fn head(&self, feed: Feed) -> &Head {
        match feed {
            Feed::Bindings => &self.bindings,
            Feed::Statuses => &self.statuses,
        }
    }
}

impl Follower for Heads {
    const CHANNEL: &'static str = HEADS;
    const WHAT: &'static str = "heads of the update feeds";

    /// The payload is the feed's name, a space and its last number.
    fn notified(&self, payload: &str) {
        if let Some((name, seq)) = payload.split_once(' ')
            && let Some(feed) = Feed::named(name)
            && let Ok(seq) = seq.parse()
        {
            self.raise(feed, seq);
        }
    }

    async fn look(&self, database: &Database) -> Result<()> {
        let began = Instant::now();
        let known = Feed::ALL.map(|feed| self.head(feed).seq.load(Ordering::Acquire));
        let context = Context::background("update feeds", PATIENCE);
        let numbers: Vec<(String, i64)> = database
            .statement(&context, async |connection| store::last_numbers(connection).await)
            .await?;
        for (name, seq) in numbers {
            for (feed, known) in Feed::ALL.into_iter().zip(known) {
                if feed.name() == name {
                    self.saw(feed, seq, known, began);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_head_is_known_after_a_look_and_as_long_as_it_is_fresh() {
        let heads = Heads::new(Duration::from_mins(1));
        let ends_at = |seq| heads.ends_at(Feed::Bindings, seq).is_some();
        assert!(!ends_at(0), "before the first look");
        heads.saw(Feed::Bindings, 5, -1, Instant::now());
        assert!(ends_at(5) && !ends_at(4) && !ends_at(6));
        heads.notified("bindings 7");
        heads.notified("bindings 6");
        heads.notified("statuses 9");
        for nothing in ["", "bindings", "bindings x", "others 10", "bindings 8 9"] {
            heads.notified(nothing);
        }
        assert!(ends_at(7));
        assert!(heads.ends_at(Feed::Statuses, 9).is_some());

        let stale = Heads::new(Duration::ZERO);
        stale.saw(Feed::Bindings, 5, -1, Instant::now());
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(stale.ends_at(Feed::Bindings, 5).is_none());
    }

    #[test]
    fn a_look_that_began_before_a_notification_takes_nothing_back() {
        let heads = Heads::new(Duration::from_mins(1));
        heads.saw(Feed::Statuses, 5, -1, Instant::now());
        // A look begins and sees 5; meanwhile 6 is told.
        heads.notified("statuses 6");
        heads.saw(Feed::Statuses, 5, 5, Instant::now());
        assert!(heads.ends_at(Feed::Statuses, 6).is_some());
        // An older copy of the database.
        heads.saw(Feed::Statuses, 3, 6, Instant::now());
        assert!(heads.ends_at(Feed::Statuses, 3).is_some());
    }
}
