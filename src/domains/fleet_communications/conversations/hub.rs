//! Who watches: one hub a process knows how far each watched park's events have come, and wakes its
//! streams.
//!
//! Notifications say so at once; since they may be lost, all watched parks are looked at now and then
//! in one statement, and whenever notifications may have been missed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use diesel::sql_types::{Array, BigInt, Text};
use diesel_async::RunQueryDsl;
use tokio::sync::watch;

use super::settings::ConversationSettings;
use super::store::WAKE_UPS;
use crate::platform::context::Context;
use crate::platform::database::{Database, Follower, prepared_statement};
use crate::platform::error::{Error, Result};
use crate::platform::ids::ParkId;
use crate::platform::telemetry::metrics::IntGauge;

/// One look takes no longer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Clients that find no room come back after this.
const RETRY_AFTER: Duration = Duration::from_secs(5);

prepared_statement! {
    /// How far the events of parks have come.
    struct Heads<'a> returns (Text, BigInt);
    "SELECT park_id, last_seq FROM fleet_communications.park_streams WHERE park_id = ANY(",
    parks: &'a [String] => Array<Text>, ")",
}

/// The streams of this process.
pub(super) struct Hub {
    state: Mutex<State>,
    most: usize,
    most_of_park: usize,
    open: IntGauge,
}

#[derive(Default)]
struct State {
    streams: usize,
    parks: HashMap<String, Park>,
}

/// A park that somebody watches.
struct Park {
    streams: usize,
    /// The number of its last event, as far as this process knows.
    head: watch::Sender<i64>,
}

/// A stream's place, given back when dropped.
pub(super) struct Seat {
    hub: Arc<Hub>,
    park: ParkId,
    head: watch::Receiver<i64>,
}

impl Hub {
    pub fn new(settings: &ConversationSettings, open: IntGauge) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            most: settings.max_streams,
            most_of_park: settings.max_streams_of_park,
            open,
        })
    }

    /// A place for one more stream of the park.
    ///
    /// # Errors
    /// `overloaded` when this process, or the park in it, has as many as it may.
    pub fn sit(self: &Arc<Self>, park: &ParkId) -> Result<Seat> {
        let mut state = self.lock();
        let of_park = state.parks.get(park.as_str()).map_or(0, |park| park.streams);
        if state.streams >= self.most || of_park >= self.most_of_park {
            let detail = "Too many event streams are open; try again later.";
            return Err(Error::unavailable("overloaded", detail).with_retry_after(RETRY_AFTER));
        }
        state.streams += 1;
        let new = || Park { streams: 0, head: watch::Sender::new(0) };
        let watched = state.parks.entry(park.as_str().to_owned()).or_insert_with(new);
        watched.streams += 1;
        let head = watched.head.subscribe();
        drop(state);
        self.open.inc();
        Ok(Seat { hub: Arc::clone(self), park: park.clone(), head })
    }

    /// Notes that a park's events have come as far as `seq`.
    pub fn raise(&self, park: &str, seq: i64) {
        if let Some(park) = self.lock().parks.get(park) {
            park.head.send_if_modified(|head| {
                let is_news = seq > *head;
                *head = seq.max(*head);
                is_news
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Follower for Hub {
    const CHANNEL: &'static str = WAKE_UPS;
    const WHAT: &'static str = "conversation streams";

    /// The payload is the event's number, a space and the park.
    fn notified(&self, payload: &str) {
        if let Some((seq, park)) = payload.split_once(' ')
            && let Ok(seq) = seq.parse()
        {
            self.raise(park, seq);
        }
    }

    async fn look(&self, database: &Database) -> Result<()> {
        let parks: Vec<String> = self.lock().parks.keys().cloned().collect();
        if parks.is_empty() {
            return Ok(());
        }
        let context = Context::background("conversation streams", PATIENCE);
        let heads: Vec<(String, i64)> = database
            .statement(&context, async |mut connection| {
                Ok(Heads { parks: &parks }.load(&mut connection).await?)
            })
            .await?;
        for (park, seq) in heads {
            self.raise(&park, seq);
        }
        Ok(())
    }
}

impl Seat {
    /// The park that is watched.
    pub fn park(&self) -> &ParkId {
        &self.park
    }

    /// Notes how far the park's events have come.
    pub fn raise(&self, seq: i64) {
        self.hub.raise(self.park.as_str(), seq);
    }

    /// Whether there are events behind `position`, as far as this process knows.
    pub fn has_news(&self, position: i64) -> bool {
        *self.head.borrow() > position
    }

    /// Waits until there are events behind `position`.
    pub async fn news(&mut self, position: i64) {
        // The sender lives as long as this seat.
        let _ = self.head.wait_for(|head| *head > position).await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.hub.lock();
        state.streams = state.streams.saturating_sub(1);
        if let Some(park) = state.parks.get_mut(self.park.as_str()) {
            park.streams = park.streams.saturating_sub(1);
            if park.streams == 0 {
                state.parks.remove(self.park.as_str());
            }
        }
        drop(state);
        self.hub.open.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::telemetry::metrics::Metrics;

    fn hub(most: usize, most_of_park: usize) -> Arc<Hub> {
        Arc::new(Hub {
            state: Mutex::default(),
            most,
            most_of_park,
            open: Metrics::default().gauge("open", "open"),
        })
    }

    fn park(name: &str) -> ParkId {
        ParkId::parse(name).unwrap()
    }

    #[test]
    fn places_are_bounded_and_given_back() {
        let hub = hub(3, 2);
        let seats = [hub.sit(&park("a")).unwrap(), hub.sit(&park("a")).unwrap()];
        assert_eq!(hub.sit(&park("a")).err().unwrap().code(), "overloaded");
        let other = hub.sit(&park("b")).unwrap();
        assert_eq!(hub.sit(&park("c")).err().unwrap().code(), "overloaded");
        assert_eq!(hub.open.get(), 3);
        drop(seats);
        assert_eq!(hub.lock().parks.len(), 1, "nobody watches the first park any more");
        drop(other);
        assert_eq!((hub.open.get(), hub.lock().streams), (0, 0));
    }

    #[tokio::test]
    async fn a_head_only_grows_and_wakes_its_own_park() {
        let hub = hub(10, 10);
        let (mut seat, mut other) = (hub.sit(&park("a")).unwrap(), hub.sit(&park("b")).unwrap());
        hub.notified("7 a");
        for nothing in ["3 a", "x a", "9", "", "8 unknown"] {
            hub.notified(nothing);
        }
        seat.news(6).await;
        let soon = Duration::from_millis(20);
        assert!(tokio::time::timeout(soon, seat.news(7)).await.is_err());
        assert!(tokio::time::timeout(soon, other.news(0)).await.is_err());
    }
}
