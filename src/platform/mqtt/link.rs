//! Keeps the connection: connects, subscribes, publishes, and begins again when it breaks.
//!
//! All of it happens on a thread of its own, since the library's calls may block.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep};

use super::Link;
use super::connection::{Connection, Trouble};
use super::inbox::Inbox;
use super::metrics::MqttMetrics;
use crate::platform::config::mqtt::MqttSettings;
use crate::platform::context::Deadline;

/// What the connection's thread and its users share.
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
    async fn is_closing(&self) {
        let _ = self.closing.subscribe().wait_for(Option::is_some).await;
    }

    fn set_up(&self, up: bool, new_round: bool) {
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
    fn take(&self) -> bool {
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

impl Outgoing {
    fn refuse(self) {
        let _ = self.answer.send(Outcome::NotSent);
    }
}

/// Runs until it is closed or nobody can publish or subscribe any more.
pub(super) async fn run(state: Arc<State>, mut outgoing: mpsc::Receiver<Outgoing>) {
    let mut pause = Pause::new(&state.settings);
    loop {
        let connected = tokio::select! {
            connected = connect(&state) => connected,
            // Before a connection exists, nothing can leave.
            () = refuse_all(&mut outgoing) => break,
            () = state.is_closing() => break,
        };
        let ended = match connected {
            Ok((connection, granted)) => {
                let began = Instant::now();
                let ended = serve(&state, connection, granted, &mut outgoing).await;
                pause.after(began.elapsed());
                ended
            }
            Err(trouble) => Some(trouble),
        };
        let Some(trouble) = ended else { break };
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
    while let Some(message) = outgoing.recv().await {
        message.refuse();
    }
}

/// Ends when nobody can publish any more.
async fn refuse_all(outgoing: &mut mpsc::Receiver<Outgoing>) {
    while let Some(message) = outgoing.recv().await {
        message.refuse();
    }
}

type Filters = BTreeSet<Arc<str>>;

/// One attempt: connects and has every filter granted.
async fn connect(state: &State) -> Result<(Connection, Filters), Trouble> {
    let attempt = async {
        let connection = Connection::open(&state.settings, &state.inbox).await?;
        let mut granted = Filters::new();
        subscribe(state, &connection, &mut granted).await?;
        Ok((connection, granted))
    };
    let connected = attempt.await;
    let outcome = connected.as_ref().err().map_or("ok", |trouble: &Trouble| trouble.0);
    state.metrics.connections.with_label_values(&[outcome]).inc();
    connected
}

/// Brings what the broker was asked for in line with what is read.
async fn subscribe(
    state: &State,
    connection: &Connection,
    granted: &mut Filters,
) -> Result<(), Trouble> {
    loop {
        let wanted: Filters = state.inbox.filters().into_iter().collect();
        for filter in granted.difference(&wanted) {
            connection.unsubscribe(filter);
        }
        granted.retain(|filter| wanted.contains(filter));
        let Some(new) = wanted.into_iter().find(|filter| !granted.contains(filter)) else {
            return Ok(());
        };
        connection.subscribe(&new, state.settings.connect_timeout()).await?;
        granted.insert(new);
    }
}

/// Serves until the connection ends, and says why; nothing when it was closed.
async fn serve(
    state: &State,
    connection: Connection,
    mut granted: Filters,
    outgoing: &mut mpsc::Receiver<Outgoing>,
) -> Option<Trouble> {
    let mut filters_changed = state.inbox.changed();
    // The tasks that wait for acknowledgements end with the receiver, or find the broker silent.
    let (ended, _) = watch::channel(());
    let (silent, mut is_silent) = mpsc::channel::<()>(1);
    state.set_trouble(None);
    state.set_up(true, true);
    tracing::info!("connected to the message broker");
    let trouble = loop {
        tokio::select! {
            biased;
            () = state.is_closing() => break None,
            () = connection.lost() => break Some(Trouble::LOST),
            Some(()) = is_silent.recv() => break Some(Trouble::SILENT),
            _ = filters_changed.changed() => {
                let complete = state.inbox.filters().iter().all(|it| granted.contains(it));
                if !complete {
                    state.set_up(false, false);
                }
                if let Err(trouble) = subscribe(state, &connection, &mut granted).await {
                    break Some(trouble);
                }
                state.set_up(true, false);
            }
            message = outgoing.recv() => match message {
                Some(message) => send(state, &connection, message, &ended, &silent),
                None => break None,
            },
        }
    };
    state.set_up(false, false);
    drop(ended);
    if trouble.is_none() {
        let patience = state.closing.borrow().unwrap_or_default();
        connection.close(patience).await;
    }
    trouble
}

/// Lets a message leave, if there is still time and nobody took it back.
fn send(
    state: &State,
    connection: &Connection,
    message: Outgoing,
    ended: &watch::Sender<()>,
    silent: &mpsc::Sender<()>,
) {
    let Outgoing { topic, payload, deadline, claim, place, answer } = message;
    if deadline.has_passed() || connection.is_lost() || !claim.take() {
        let _ = answer.send(Outcome::NotSent);
        return;
    }
    let Ok(token) = connection.publish(topic, payload) else {
        let _ = answer.send(Outcome::NotSent);
        return;
    };
    let (sent, patience) = (Instant::now(), state.settings.connect_timeout());
    let (latency, silent) = (state.metrics.acknowledged.clone(), silent.clone());
    let mut ended = ended.subscribe();
    tokio::spawn(async move {
        let outcome = tokio::select! {
            acknowledged = token => match acknowledged {
                Ok(()) => Outcome::Acknowledged,
                Err(_) => Outcome::Unknown,
            },
            // Its sender is dropped with the connection.
            _ = ended.changed() => Outcome::Unknown,
            () = sleep(patience) => {
                let _ = silent.try_send(());
                Outcome::Unknown
            }
        };
        if outcome == Outcome::Acknowledged {
            latency.observe(sent.elapsed().as_secs_f64());
        }
        drop(place);
        let _ = answer.send(outcome);
    });
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
