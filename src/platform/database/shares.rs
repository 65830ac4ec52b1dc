//! Bulkheads in the pool: a domain whose tables are locked fills its own share of the connections, and
//! its neighbours go on.
//!
//! Each user of the pool (a domain, the task queue, the platform itself) has a few connections to
//! itself; the rest is common, and no domain holds more than half of the pool. Places are given out
//! first come, first served within a user, and among users for what is common. All places
//! together are the pool, so whoever has one never waits for the pool as well.

use std::pin::pin;
use std::sync::Arc;

use futures_util::future::{Either, select};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::platform::telemetry::metrics::{IntGauge, Metrics};

/// The share of what belongs to no domain: probes and maintenance.
pub const PLATFORM: &str = "platform";
/// The share of the task queue's own statements.
pub const TASKS: &str = "tasks";

/// The most that a user has to itself: enough to go on with, while little lies idle.
const OWN_MOST: usize = 2;

/// How a pool is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Division {
    /// Connections that each user has to itself.
    own: usize,
    /// What is left, for whoever needs it.
    common: usize,
    /// The most that one user holds.
    most: usize,
}

impl Division {
    /// Of a pool of `size` among users, of which so many are domains. A pool that is too small to be
    /// divided belongs to all.
    fn of(size: usize, users: usize, domains: usize) -> Self {
        let own = (size / (2 * users.max(1))).min(OWN_MOST);
        if own == 0 {
            return Self { own: 0, common: size, most: size };
        }
        let all_but_others = size - own * users.saturating_sub(1);
        let most = if domains > 1 { size.div_ceil(2).min(all_but_others) } else { all_but_others };
        Self { own, common: size - own * users, most }
    }
}

/// One user's share of the pool.
pub(super) struct Share {
    user: &'static str,
    most: Semaphore,
    own: Semaphore,
    common: Arc<Semaphore>,
    in_use: IntGauge,
    waiting: IntGauge,
}

/// A place in the pool; free again when dropped.
pub(super) struct Place<'a> {
    _within: SemaphorePermit<'a>,
    _taken: SemaphorePermit<'a>,
    _in_use: Counted<'a>,
}

impl Share {
    /// The shares of a pool of `size`; that of the platform is the first.
    pub fn divide(size: usize, domains: &[&'static str], metrics: &Metrics) -> Vec<Arc<Self>> {
        let in_use = metrics.gauges(
            "database_share_in_use",
            "Pooled connections that a user of the pool holds",
            &["user"],
        );
        let waiting = metrics.gauges(
            "database_share_waiting",
            "Requests of a user of the pool that wait for a connection",
            &["user"],
        );
        let users: Vec<_> = if domains.is_empty() {
            vec![PLATFORM]
        } else {
            [PLATFORM, TASKS].into_iter().chain(domains.iter().copied()).collect()
        };
        let division = Division::of(size, users.len(), domains.len());
        let limits = metrics.limits("database_share_in_use", &["user"]);
        for user in &users {
            limits.set(&[*user], division.most);
        }
        let common = Arc::new(Semaphore::new(division.common));
        let share = |user| {
            Arc::new(Self {
                user,
                most: Semaphore::new(division.most),
                own: Semaphore::new(division.own),
                common: Arc::clone(&common),
                in_use: in_use.with_label_values(&[user]),
                waiting: waiting.with_label_values(&[user]),
            })
        };
        users.into_iter().map(share).collect()
    }

    pub fn user(&self) -> &'static str {
        self.user
    }

    /// Waits for a place; `None` once the pool was closed. May be dropped while it waits.
    pub async fn place(&self) -> Option<Place<'_>> {
        let waiting = Counted::one(&self.waiting);
        let within = self.most.acquire().await.ok()?;
        // What is its own is looked at first.
        let taken = match select(pin!(self.own.acquire()), pin!(self.common.acquire())).await {
            Either::Left((taken, _)) | Either::Right((taken, _)) => taken.ok()?,
        };
        drop(waiting);
        let in_use = Counted::one(&self.in_use);
        Some(Place { _within: within, _taken: taken, _in_use: in_use })
    }

    /// Ends all waiting.
    pub fn close(&self) {
        for places in [&self.most, &self.own, &*self.common] {
            places.close();
        }
    }
}

/// Counts one until it is dropped.
struct Counted<'a>(&'a IntGauge);

impl<'a> Counted<'a> {
    fn one(gauge: &'a IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn divided(size: usize, domains: &[&'static str]) -> Vec<Arc<Share>> {
        Share::divide(size, domains, &Metrics::default())
    }

    /// Takes places until none is to be had at once.
    fn fill(share: &Share) -> Vec<Place<'_>> {
        std::iter::from_fn(|| share.place().now_or_never().flatten()).collect()
    }

    #[test]
    fn the_places_are_the_pool() {
        for size in 1..=64 {
            for domains in 1..=5 {
                for users in domains..=domains + 2 {
                    let Division { own, common, most } = Division::of(size, users, domains);
                    assert_eq!(own * users + common, size, "{size} among {users}");
                    assert!(most >= 1 && most <= own + common, "{size} among {users}: {most}");
                }
            }
        }
    }

    #[test]
    fn the_usual_division() {
        let of_five = Division { own: 1, common: 10, most: 8 };
        assert_eq!(Division::of(16, 6, 4), of_five);
        assert_eq!(Division::of(16, 3, 1), Division { own: 2, common: 10, most: 12 });
        assert_eq!(Division::of(4, 6, 4), Division { own: 0, common: 4, most: 4 });
    }

    #[test]
    fn one_domain_leaves_half_and_two_leave_what_the_others_own() {
        let shares = divided(16, &["a", "b", "c", "d"]);
        let [platform, tasks, a, b, c, d] = shares.as_slice() else { panic!("six users") };
        let of_a = fill(a);
        assert_eq!(of_a.len(), 8);
        let of_b = fill(b);
        assert_eq!(of_b.len(), 4, "its own and what was left of the common ones");
        for healthy in [platform, tasks, c, d] {
            assert_eq!(fill(healthy).len(), 1, "{}", healthy.user);
        }
        drop(of_a);
        assert_eq!(fill(c).len(), 8);
    }

    #[test]
    fn who_waits_gets_whichever_place_comes_free() {
        let shares = divided(16, &["a", "b", "c", "d"]);
        let [_, _, a, b, c, _] = shares.as_slice() else { panic!("six users") };
        let (of_a, of_b, of_c) = (fill(a), fill(b), fill(c));
        let mut waits = Box::pin(c.place());
        assert!(waits.as_mut().now_or_never().is_none());
        assert_eq!(c.waiting.get(), 1);
        drop(of_c);
        assert!(waits.as_mut().now_or_never().is_some(), "its own");
        let of_c = fill(c);
        let mut waits = Box::pin(c.place());
        assert!(waits.as_mut().now_or_never().is_none());
        drop(of_a);
        assert!(waits.as_mut().now_or_never().is_some(), "a common one");
        drop((waits, of_b, of_c));
        assert_eq!((a.in_use.get(), c.in_use.get(), c.waiting.get()), (0, 0, 0));
        assert_eq!(fill(a).len(), 8, "every place is back");
    }

    #[test]
    fn a_place_that_was_given_up_while_waiting_is_free() {
        let shares = divided(2, &[]);
        let [all] = shares.as_slice() else { panic!("one user") };
        let held = fill(all);
        assert_eq!(held.len(), 2);
        let mut waits = Box::pin(all.place());
        assert!(waits.as_mut().now_or_never().is_none());
        drop(held);
        drop(waits);
        assert_eq!(fill(all).len(), 2);
    }

    #[test]
    fn closing_ends_all_waiting() {
        let shares = divided(2, &[]);
        let [all] = shares.as_slice() else { panic!("one user") };
        let _held = fill(all);
        let mut waits = Box::pin(all.place());
        assert!(waits.as_mut().now_or_never().is_none());
        all.close();
        assert!(waits.as_mut().now_or_never().expect("an end").is_none());
    }
}
