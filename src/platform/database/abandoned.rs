//! Statements that nobody waits for any more: PostgreSQL is asked to end them.
//!
//! A connection that is dropped stays open until its statement has ended, outside of the pool's count: under
//! load, work for callers who are gone would pile up in PostgreSQL and slow down those who are not.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::connector::Connector;
use crate::platform::telemetry::metrics::IntCounterVec;

/// How often PostgreSQL is asked, over 2.5 s; what still runs then is left to its own time-out. A number of
/// times, not a time: a process that stood still for longer has asked just as often.
const REQUESTS: u32 = 6;
/// The first pause, in which most connections turn out to be idle, or soon are. Each further one is twice
/// as long; after the last request too there is one.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// A request that takes longer is given up for the next one.
const REQUEST: Duration = Duration::from_secs(1);

/// Closes connections whose users left them, and cancels what runs on them.
pub(super) struct Abandoned {
    connector: Arc<Connector>,
    runtime: Handle,
    /// One for each connection that is being cancelled.
    places: Arc<Semaphore>,
    cancelled: IntCounterVec,
}

impl Abandoned {
    /// For so many connections at once.
    pub fn new(
        connector: Arc<Connector>,
        runtime: Handle,
        places: usize,
        cancelled: IntCounterVec,
    ) -> Self {
        Self { connector, runtime, places: Arc::new(Semaphore::new(places)), cancelled }
    }

    /// Takes a connection that nobody uses again. Returns at once.
    pub fn end(&self, connection: AsyncPgConnection) {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            self.cancelled.with_label_values(&["left"]).inc();
            return;
        };
        let (connector, cancelled) = (Arc::clone(&self.connector), self.cancelled.clone());
        self.runtime.spawn(async move {
            if let Some(outcome) = cancel(&connector, &connection).await {
                cancelled.with_label_values(&[outcome]).inc();
            }
            drop((connection, place));
        });
    }
}

/// Returns when nothing runs on the connection, or has been asked to end often enough; what came of it, if
/// anything had to be cancelled at all.
///
/// The connection stays open meanwhile: what a cancel request names is this session and no other.
async fn cancel(connector: &Connector, mut connection: &AsyncPgConnection) -> Option<&'static str> {
    let token = connection.cancel_token();
    // It waits behind whatever was sent before; any answer, a refusal too, says that all of that is over.
    let mut over = pin!(connection.batch_execute(""));
    let (mut requests, mut pause) = (0, FIRST_PAUSE);
    while timeout(pause, &mut over).await.is_err() {
        if requests == REQUESTS {
            return Some("left");
        }
        // One that arrives before the statement does ends nothing; hence again and again.
        let _ = timeout(REQUEST, connector.cancel(&token)).await;
        requests += 1;
        pause *= 2;
    }
    (requests > 0).then_some("ended")
}
