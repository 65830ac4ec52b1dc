//! Keeps the connection: makes it, and begins again when it breaks.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep};

use super::Link;
use super::connection::{Connection, Trouble};
use super::inbox::Inbox;
use super::metrics::MqttMetrics;
use super::stream::Route;
use crate::platform::config::mqtt::MqttSettings;
use crate::platform::context::Deadline;

/// How long saying good-bye to the broker may take at most.
const TAKING_LEAVE: Duration = Duration::from_millis(500);

/// What the connection and its users share.
pub(super) struct State {
    pub settings: MqttSettings,
    pub inbox: Arc<Inbox>,
    pub metrics: MqttMetrics,
    pub link: watch::Sender<Link>,
    trouble: Mutex<Option<Trouble>>,
    /// How long taking leave may take, once it is time to.
    pub closing: watch::Sender<Option<Duration>>,
}

impl State {
    pub fn new(settings: MqttSettings, inbox: Arc<Inbox>, metrics: MqttMetrics) -> Arc<Self> {
        Arc::new(Self {
            settings,
            inbox,
            metrics,
            link: watch::Sender::new(Link { up: false, round: 0 }),
            trouble: Mutex::new(Some(Trouble::NOT_CONNECTED)),
            closing: watch::Sender::new(None),
        })
    }

    pub fn trouble(&self) -> Option<Trouble> {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether it was something else before.
    fn set_trouble(&self, trouble: Option<Trouble>) -> bool {
        let mut known = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *known, trouble) != trouble
    }

    /// Ends when it is time to close.
    pub async fn is_closing(&self) {
        let _ = self.closing.subscribe().wait_for(Option::is_some).await;
    }

    /// How long taking leave may take.
    pub fn patience_to_close(&self) -> Duration {
        self.closing.borrow().unwrap_or(TAKING_LEAVE).min(TAKING_LEAVE)
    }

    pub fn is_up(&self) -> bool {
        self.link.borrow().up
    }

    /// A connection is good for the first time.
    pub fn came_up(&self) {
        self.metrics.connections.with_label_values(&["ok"]).inc();
        self.set_trouble(None);
        tracing::info!("connected to the message broker");
    }

    pub fn set_up(&self, up: bool, new_round: bool) {
        self.metrics.connected.set(i64::from(up));
        self.link.send_if_modified(|link| {
            let new = Link { up, round: link.round + u64::from(new_round) };
            std::mem::replace(link, new) != new
        });
    }
}

/// Whether a message may still be taken back.
#[derive(Default)]
pub(super) struct Claim(AtomicU8);

const FREE: u8 = 0;
const TAKEN: u8 = 1;
const WITHDRAWN: u8 = 2;

impl Claim {
    /// True: it is the caller's to send.
    pub fn take(&self) -> bool {
        self.change(TAKEN)
    }

    /// True: nobody sends it any more.
    pub fn withdraw(&self) -> bool {
        self.change(WITHDRAWN)
    }

    fn change(&self, to: u8) -> bool {
        self.0.compare_exchange(FREE, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Acknowledged,
    NotSent,
    Unknown,
}

/// A message that is to leave.
pub(super) struct Outgoing {
    pub topic: String,
    pub payload: Vec<u8>,
    pub deadline: Deadline,
    pub claim: Arc<Claim>,
    /// A place among the messages in flight.
    pub place: OwnedSemaphorePermit,
    pub answer: oneshot::Sender<Outcome>,
}

/// Runs until it is closed or nobody can publish any more.
pub(super) async fn run(state: Arc<State>, route: Route, mut outgoing: mpsc::Receiver<Outgoing>) {
    let mut pause = Pause::new(&state.settings);
    loop {
        let connected = tokio::select! {
            connected = Connection::open(&state, &route) => connected,
            // Before a connection exists, nothing can leave.
            () = refuse_all(&mut outgoing) => break,
            () = state.is_closing() => break,
        };
        let (ended, was_up) = match connected {
            Ok(mut connection) => {
                let began = Instant::now();
                let ended = connection.serve(&mut outgoing).await;
                pause.after(began.elapsed());
                (ended, connection.was_up())
            }
            Err(trouble) => (Some(trouble), false),
        };
        let Some(trouble) = ended else { break };
        if !was_up {
            state.metrics.connections.with_label_values(&[trouble.0]).inc();
        }
        if state.set_trouble(Some(trouble)) {
            tracing::warn!(reason = trouble.0, "the message broker cannot be used");
        }
        tokio::select! {
            () = sleep(pause.next()) => {}
            () = refuse_all(&mut outgoing) => break,
            () = state.is_closing() => break,
        }
    }
    state.set_up(false, false);
    state.set_trouble(Some(Trouble::NOT_CONNECTED));
    state.inbox.close();
    outgoing.close();
    refuse_all(&mut outgoing).await;
}

/// Ends when nobody can publish any more.
async fn refuse_all(outgoing: &mut mpsc::Receiver<Outgoing>) {
    while let Some(message) = outgoing.recv().await {
        let _ = message.answer.send(Outcome::NotSent);
    }
}

/// The pauses between attempts: they double, and half of each is left to chance, so that instances
/// do not come back all at once.
struct Pause {
    next: Duration,
    first: Duration,
    last: Duration,
}

impl Pause {
    fn new(settings: &MqttSettings) -> Self {
        let first = Duration::from_millis(settings.reconnect_base_ms);
        Self { next: first, first, last: Duration::from_millis(settings.reconnect_max_ms) }
    }

    fn next(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.last);
        pause.mul_f64(0.5 + 0.5 * rand::random::<f64>())
    }

    /// After a connection that lasted, the next attempt comes soon.
    fn after(&mut self, lasted: Duration) {
        if lasted > self.last {
            self.next = self.first;
        }
    }
}
