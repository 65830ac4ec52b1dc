//! The people at the cabinets, when nobody acts for them: they come when doors open.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::cabinet::Accumulator;
use super::unit::Unit;

/// Accumulators that they can carry in all.
const MOST_CARRIED: usize = 100_000;

/// What they do when doors open.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools, reason = "each goes with each")]
pub struct Habit {
    /// They act by themselves; otherwise only a caller does.
    pub acts: bool,
    /// After this.
    pub after_ms: u64,
    /// They leave the first cell as it is: they forget to take, or to put.
    pub forgets_one: bool,
    /// They break another cell open and take what is in it.
    pub takes_one_unbooked: bool,
    /// They leave the doors open.
    pub never_shuts: bool,
}

/// All of them, with what they carry.
#[derive(Default)]
pub(super) struct Technicians {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    habit: Habit,
    carried: VecDeque<Accumulator>,
}

impl Technicians {
    pub fn set_habit(&self, habit: Habit) {
        self.lock().habit = habit;
    }

    /// In the order in which they would be put into cells.
    pub fn carried(&self) -> Vec<Accumulator> {
        self.lock().carried.iter().cloned().collect()
    }

    pub fn set_carried(&self, carried: Vec<Accumulator>) -> Result<(), String> {
        if carried.len() > MOST_CARRIED {
            return Err(format!("they carry {MOST_CARRIED} at most"));
        }
        self.lock().carried = carried.into();
        Ok(())
    }

    /// Doors have opened.
    pub fn come(this: &Arc<Self>, unit: &Arc<Unit>, purpose: Option<&str>, opened: Vec<usize>) {
        let habit = this.lock().habit.clone();
        if !habit.acts {
            return;
        }
        let (this, returns) = (Arc::clone(this), purpose == Some("return"));
        let pause = Duration::from_millis(habit.after_ms.max(1));
        unit.after(pause, move |unit| this.act(unit, &habit, returns, &opened));
    }

    /// What a cabinet refuses was done by somebody else meanwhile.
    fn act(&self, unit: &Unit, habit: &Habit, returns: bool, opened: &[usize]) {
        for n in opened.iter().skip(usize::from(habit.forgets_one)) {
            if returns {
                let carried = self.lock().carried.pop_front();
                if let Some(accumulator) = carried
                    && unit.put_in(*n, accumulator.clone()).is_err()
                {
                    self.lock().carried.push_front(accumulator);
                }
            } else if let Ok(accumulator) = unit.take_out(*n, false) {
                self.carry(accumulator);
            }
        }
        let mut doors = opened.to_vec();
        if habit.takes_one_unbooked {
            let cells = unit.cells();
            let full = cells.iter().position(|cell| !cell.open && cell.holds.is_some());
            if let Some(n) = full.map(|at| at + 1)
                && let Ok(accumulator) = unit.take_out(n, true)
            {
                self.carry(accumulator);
                doors.push(n);
            }
        }
        if !habit.never_shuts {
            for n in doors {
                let _ = unit.shut(n);
            }
        }
    }

    fn carry(&self, accumulator: Accumulator) {
        let mut state = self.lock();
        if state.carried.len() < MOST_CARRIED {
            state.carried.push_back(accumulator);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
