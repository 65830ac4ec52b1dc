//! PostgreSQL's notifications: one connection of the process listens for all who subscribe.
//!
//! A notification is a hint that something happened, never the news itself: what is notified while
//! the connection is down reaches nobody. A subscriber is told when that may have been so, looks for
//! itself then, and looks now and then anyhow.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::Client;

use super::Database;
use super::connector::Connector;

/// Pauses between attempts to connect: they double from the first to the last, and half of each is
/// left to chance, so that instances do not come back all at once.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(5);
/// How often a silent connection is asked whether it lives, and how long it has to answer.
const PING_EVERY: Duration = Duration::from_secs(10);
const PING_PATIENCE: Duration = Duration::from_secs(5);
/// Signals that a slow subscriber may be behind; with more it is told that it missed some.
const BACKLOG: usize = 256;

/// What a subscriber is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// Somebody notified the channel, with this payload.
    Notified(Arc<str>),
    /// The connection was made, or made anew, or this subscriber was too slow: it looks for itself.
    MayHaveMissed,
}

/// One subscriber's end of a channel.
pub struct Subscription(broadcast::Receiver<Signal>);

impl Subscription {
    /// The next signal; `None` when the database was closed. May be dropped while it waits.
    pub async fn next(&mut self) -> Option<Signal> {
        match self.0.recv().await {
            Ok(signal) => Some(signal),
            Err(broadcast::error::RecvError::Lagged(_)) => Some(Signal::MayHaveMissed),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

impl Database {
    /// Subscribes to a channel, whose name must be a plain SQL identifier in lower case. The first
    /// signal is `MayHaveMissed`, when the channel is listened to. The connection is opened for the
    /// first subscriber, is driven by the database's long-lived runtime, and comes back by itself.
    #[must_use]
    pub fn subscribe(&self, channel: &'static str) -> Subscription {
        let listeners = &self.0.listeners;
        let mut state = listeners.lock();
        let sender = state.channels.entry(channel).or_insert_with(|| broadcast::channel(BACKLOG).0);
        let subscription = Subscription(sender.subscribe());
        if state.closed {
            state.channels.clear();
        } else if !std::mem::replace(&mut state.started, true) {
            let connector = Arc::clone(&self.0.connector);
            let work = run(connector, Arc::downgrade(listeners), listeners.changed.subscribe());
            self.runtime().spawn(work);
        }
        drop(state);
        listeners.changed.send_modify(|round| *round += 1);
        subscription
    }
}

/// Who listens to what.
#[derive(Default)]
pub(super) struct Listeners {
    state: Mutex<State>,
    /// Grows when a subscriber comes, and at the end.
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    channels: HashMap<&'static str, broadcast::Sender<Signal>>,
    started: bool,
    closed: bool,
}

impl Listeners {
    /// Ends every subscription and the connection.
    pub fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.channels.clear();
        drop(state);
        self.changed.send_modify(|round| *round += 1);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hand_on(&self, channel: &str, payload: &str) {
        if let Some(sender) = self.lock().channels.get(channel) {
            // An error says that nobody subscribes now.
            let _ = sender.send(Signal::Notified(Arc::from(payload)));
        }
    }

    fn tell_missed(&self, channels: &[&'static str]) {
        let state = self.lock();
        for sender in channels.iter().filter_map(|channel| state.channels.get(channel)) {
            let _ = sender.send(Signal::MayHaveMissed);
        }
    }

    fn names(&self) -> Vec<&'static str> {
        self.lock().channels.keys().copied().collect()
    }
}

/// Keeps a connection until the database is closed or gone.
async fn run(
    connector: Arc<Connector>,
    listeners: Weak<Listeners>,
    mut changed: watch::Receiver<u64>,
) {
    let mut pause = FIRST_PAUSE;
    let mut told = false;
    loop {
        let Some(open) = listeners.upgrade().map(|listeners| !listeners.lock().closed) else {
            return;
        };
        if !open {
            return;
        }
        let sink = listeners.clone();
        let connected = connector
            .listen(move |channel, payload| {
                if let Some(listeners) = sink.upgrade() {
                    listeners.hand_on(channel, payload);
                }
            })
            .await;
        match connected {
            Ok((client, driver)) => {
                if std::mem::take(&mut told) {
                    tracing::info!("notifications are listened to again");
                }
                if !serve(&client, driver, &listeners, &mut changed).await {
                    return;
                }
                pause = FIRST_PAUSE;
            }
            Err(error) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(%error, "cannot listen to notifications");
                }
                pause = (pause * 2).min(LAST_PAUSE);
            }
        }
        tokio::time::sleep(pause.mul_f64(0.5 + 0.5 * rand::random::<f64>())).await;
    }
}

/// Listens until the connection ends (true) or there is nothing to listen for any more (false).
async fn serve(
    client: &Client,
    mut driver: JoinHandle<()>,
    listeners: &Weak<Listeners>,
    changed: &mut watch::Receiver<u64>,
) -> bool {
    let mut heard: Vec<&'static str> = Vec::new();
    loop {
        changed.borrow_and_update();
        let Some(open) = listeners.upgrade() else { return false };
        if open.lock().closed {
            return false;
        }
        let new: Vec<&'static str> =
            open.names().into_iter().filter(|name| !heard.contains(name)).collect();
        drop(open);
        let listen = new.iter().flat_map(|name| ["LISTEN ", *name, ";"]);
        let statements: String = std::iter::once("SELECT;").chain(listen).collect();
        // Without a new channel this asks whether the connection lives.
        let asked = timeout(PING_PATIENCE, client.batch_execute(&statements)).await;
        if !matches!(asked, Ok(Ok(()))) {
            driver.abort();
            return true;
        }
        if let Some(listeners) = listeners.upgrade() {
            listeners.tell_missed(&new);
        }
        heard.extend(new);
        tokio::select! {
            _ = &mut driver => return true,
            news = changed.changed() => if news.is_err() { return false },
            () = tokio::time::sleep(PING_EVERY) => {}
        }
    }
}
