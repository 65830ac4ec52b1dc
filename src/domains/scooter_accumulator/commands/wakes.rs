//! Who waits for a command in this process, and what wakes him: whoever applied the change here, or a
//! notification of the database when it was another instance. A wake-up is a hint; whoever is woken
//! looks at the rows, and looks now and then anyhow.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use uuid::Uuid;

use super::store::CHANGES;
use crate::platform::database::{Database, Signal};
use crate::platform::shutdown::Shutdown;

/// The waiting of this process.
#[derive(Default)]
pub struct Wakes(Mutex<HashMap<Uuid, Waited>>);

struct Waited {
    waiting: usize,
    round: watch::Sender<u64>,
}

/// A place to wait for one command; given back when dropped.
pub struct Seat {
    wakes: Arc<Wakes>,
    command: Uuid,
    round: watch::Receiver<u64>,
}

impl Wakes {
    /// A place to wait. Whoever sits down first and looks then misses nothing.
    pub fn sit(self: &Arc<Self>, command: Uuid) -> Seat {
        let mut waited = self.lock();
        let new = || Waited { waiting: 0, round: watch::Sender::new(0) };
        let entry = waited.entry(command).or_insert_with(new);
        entry.waiting += 1;
        let round = entry.round.subscribe();
        drop(waited);
        Seat { wakes: Arc::clone(self), command, round }
    }

    /// Wakes those who wait for a command.
    pub fn wake(&self, command: Uuid) {
        if let Some(waited) = self.lock().get(&command) {
            waited.round.send_modify(|round| *round += 1);
        }
    }

    /// Hands on the database's notifications until the process stops.
    pub async fn run(self: Arc<Self>, database: Database, stop: Shutdown) {
        let mut notifications = database.subscribe(CHANGES);
        loop {
            tokio::select! {
                () = stop.wait() => return,
                signal = notifications.next() => match signal {
                    None => return,
                    Some(Signal::Notified(payload)) => {
                        if let Ok(command) = payload.parse() {
                            self.wake(command);
                        }
                    }
                    Some(Signal::MayHaveMissed) => {
                        for waited in self.lock().values() {
                            waited.round.send_modify(|round| *round += 1);
                        }
                    }
                },
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Waited>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// The command that is waited for.
    pub fn command(&self) -> Uuid {
        self.command
    }

    /// Waits for the next wake-up since the last one that was seen.
    pub async fn woken(&mut self) {
        // The sender lives as long as this seat.
        let _ = self.round.changed().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut waited = self.wakes.lock();
        if let Some(entry) = waited.get_mut(&self.command) {
            entry.waiting = entry.waiting.saturating_sub(1);
            if entry.waiting == 0 {
                waited.remove(&self.command);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn who_waits_is_woken_and_nobody_else() {
        let wakes = Arc::new(Wakes::default());
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut seats = [wakes.sit(one), wakes.sit(one)];
        let mut elsewhere = wakes.sit(other);
        wakes.wake(one);
        wakes.wake(Uuid::from_u128(3));
        for seat in &mut seats {
            seat.woken().await;
        }
        let soon = Duration::from_millis(20);
        assert!(tokio::time::timeout(soon, elsewhere.woken()).await.is_err());
        drop((seats, elsewhere));
        assert!(wakes.lock().is_empty());
    }
}
