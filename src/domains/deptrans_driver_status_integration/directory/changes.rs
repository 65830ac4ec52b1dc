//! Licences whose profiles changed, handed over to whoever tells others so.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashSet;
use tokio::sync::Notify;

use super::id::{CompactId, TEXT};
use super::store::Touched;
use crate::platform::ids::PersonalId;

/// So many may wait; then nothing more is read from driver-profiles until some are taken.
const MOST: usize = 100_000;

/// Waits for one taker. What it takes is kept until it says that it is done with it, and goes into the
/// dump: whatever ends in between, the licence is handed over again.
#[derive(Default)]
pub struct Changes {
    queue: Mutex<Queue>,
    came: Notify,
    went: Notify,
}

#[derive(Default)]
struct Queue {
    order: VecDeque<CompactId>,
    waiting: HashSet<CompactId>,
    taken: Vec<CompactId>,
}

impl Changes {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there are some and takes up to `limit` of them. Until [`Changes::done`] it gives
    /// the same ones again, and more. The caller must be the only one.
    pub async fn take(&self, limit: usize) -> Vec<PersonalId> {
        loop {
            let came = self.came.notified();
            let taken = self.take_waiting(limit);
            if !taken.is_empty() {
                return taken;
            }
            came.await;
        }
    }

    /// Forgets what was taken. One that changed again meanwhile waits again already.
    pub fn done(&self) {
        self.lock().taken.clear();
        self.went.notify_one();
    }

    /// How many are not done with.
    #[must_use]
    pub fn len(&self) -> usize {
        let queue = self.lock();
        queue.order.len() + queue.taken.len()
    }

    /// Whether all are done with.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn take_waiting(&self, limit: usize) -> Vec<PersonalId> {
        let mut queue = self.lock();
        while queue.taken.len() < limit
            && let Some(next) = queue.order.pop_front()
        {
            queue.waiting.remove(&next);
            queue.taken.push(next);
        }
        // What is no id of ours cannot be bound to anything.
        let id = |kept: &CompactId| PersonalId::parse(kept.text(&mut [0; TEXT])).ok();
        let taken: Vec<PersonalId> = queue.taken.iter().filter_map(id).collect();
        if taken.is_empty() {
            queue.taken.clear();
        }
        taken
    }

    /// Waits until there is room for more.
    pub(super) async fn room(&self) {
        loop {
            let went = self.went.notified();
            if self.lock().order.len() < MOST {
                return;
            }
            went.await;
        }
    }

    pub(super) fn add(&self, touched: Touched) {
        let mut queue = self.lock();
        for license in touched.into_iter().flatten() {
            queue.add(license);
        }
        drop(queue);
        self.came.notify_one();
    }

    pub(super) fn unfinished(&self) -> Vec<CompactId> {
        let queue = self.lock();
        queue.taken.iter().chain(&queue.order).cloned().collect()
    }
}

impl Queue {
    fn add(&mut self, license: CompactId) {
        if self.waiting.insert(license.clone()) {
            self.order.push_back(license);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::id::IdRef;
    use super::*;

    fn add(changes: &Changes, license: &str) {
        changes.add([Some(IdRef::new(license).to_kept()), None]);
    }

    async fn take(changes: &Changes) -> Vec<String> {
        changes.take(2).await.into_iter().map(String::from).collect()
    }

    #[tokio::test]
    async fn each_is_given_until_it_is_done_and_again_when_it_changes_meanwhile() {
        let changes = Changes::default();
        for license in ["a", "b", "a", "c"] {
            add(&changes, license);
        }
        assert_eq!(take(&changes).await, ["a", "b"]);
        add(&changes, "a");
        assert_eq!(take(&changes).await, ["a", "b"], "not done with");
        assert_eq!(changes.unfinished().len(), 4);
        changes.done();
        assert_eq!(take(&changes).await, ["c", "a"]);
        changes.done();
        assert!(changes.is_empty());
    }

    #[tokio::test]
    async fn a_taker_waits_and_so_does_the_writer_when_it_is_full() {
        let changes = Changes::default();
        let waiting = async {
            tokio::task::yield_now().await;
            add(&changes, "late");
        };
        assert_eq!(tokio::join!(take(&changes), waiting).0, ["late"]);
        changes.done();
        for n in 0..MOST {
            add(&changes, &n.to_string());
        }
        let full = tokio::time::timeout(std::time::Duration::from_millis(20), changes.room());
        assert!(full.await.is_err());
        take(&changes).await;
        changes.done();
        changes.room().await;
    }
}
