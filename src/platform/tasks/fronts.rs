//! Where the look for ready tasks begins.
//!
//! Claims take tasks in the order of an index. What was claimed leaves a dead entry at the index's
//! front, and as long as any transaction in the database may still see it, vacuum keeps it and every
//! look passes over all of them: a long report would make each claim slower than the one before. So
//! a process remembers, for each priority, a tag below which nothing was ready, and begins there.
//!
//! A remembered front is used one round late. What a transaction enqueued before the front was
//! looked up and committed after it still lies above the one in use, unless the transaction took
//! longer than a round; such a straggler is found by the look from the very start, which an idle
//! queue does on each poll and a busy one now and then.

use std::sync::{Mutex, PoisonError};

use super::task::PRIORITIES;

/// A tag for each priority.
pub(super) type Tags = [i64; PRIORITIES];

/// One queue's fronts.
#[derive(Debug, Default)]
pub(super) struct Fronts(Mutex<State>);

#[derive(Debug, Default, Clone, Copy)]
struct State {
    in_use: Tags,
    next: Tags,
}

impl Fronts {
    /// Where a look begins.
    pub fn in_use(&self) -> Tags {
        self.lock().in_use
    }

    /// Notes the smallest ready tags that a look from `in_use`, or from the very start, has found.
    pub fn note(&self, found: Tags) {
        let mut state = self.lock();
        for (place, found) in found.into_iter().enumerate() {
            if let (Some(in_use), Some(next)) =
                (state.in_use.get(place).copied(), state.next.get(place).copied())
            {
                // Behind a straggler the front goes back at once.
                set(&mut state.in_use, place, found.min(next.max(in_use)));
                set(&mut state.next, place, found);
            }
        }
    }

    /// Forgets everything: the next look begins at the very start.
    pub fn reset(&self) {
        *self.lock() = State::default();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn set(tags: &mut Tags, place: usize, tag: i64) {
    if let Some(old) = tags.get_mut(place) {
        *old = tag;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_front_is_used_one_round_late() {
        let fronts = Fronts::default();
        fronts.note([10, 20, 30]);
        assert_eq!(fronts.in_use(), [0, 0, 0]);
        fronts.note([15, 25, 35]);
        assert_eq!(fronts.in_use(), [10, 20, 30]);
        fronts.note([16, 26, 36]);
        assert_eq!(fronts.in_use(), [15, 25, 35]);
    }

    #[test]
    fn a_straggler_brings_the_front_back_at_once() {
        let fronts = Fronts::default();
        for tag in [10, 20, 30] {
            fronts.note([tag; PRIORITIES]);
        }
        fronts.note([5, 40, 40]);
        assert_eq!(fronts.in_use(), [5, 30, 30]);
        fronts.reset();
        assert_eq!(fronts.in_use(), [0; PRIORITIES]);
    }
}
