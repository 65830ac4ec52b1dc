//! MQTT 3.1.1, shared by all domains of a process: one connection to the broker.
//!
//! What is published is sent now or never: it does not wait for a connection, and nothing of it is
//! kept over one (docs/decisions/mqtt.md). What comes in is handed to whoever subscribed, in the
//! order in which the broker sent it; it may come more than once.

mod connection;
mod inbox;
mod link;
mod metrics;
mod probe;
mod stream;
mod topics;
pub(crate) mod wire;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

pub use self::inbox::{Message, Messages};
pub use self::probe::probe;
pub use self::topics::TopicTemplate;

use self::inbox::{Inbox, Limits};
use self::link::{Claim, Outcome, Outgoing, State};
use self::metrics::MqttMetrics;
use self::stream::Route;
use super::config::mqtt::MqttSettings;
use super::context::Deadline;
use super::error::{Error, Kind, Result};
use super::readiness::ReadinessRow;
use super::telemetry::metrics::Metrics;

/// The process's connection to the broker; clones are handles of the same.
#[derive(Clone)]
pub struct Mqtt(Arc<Handle>);

/// When the last is dropped, the connection is closed.
struct Handle {
    state: Arc<State>,
    outgoing: mpsc::Sender<Outgoing>,
    places: Arc<Semaphore>,
    /// Ends with the work on the connection.
    ended: watch::Receiver<()>,
}

/// How the connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Connected, and every subscription is granted: an answer to what is published now is heard.
    pub up: bool,
    /// Counts the connections. Whoever sees it grow may have missed messages.
    pub round: u64,
}

/// Why a message was not published; both are `broker_unavailable` to the outside.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// It has not left this process and never will.
    #[error("not sent: {0}")]
    NotSent(Error),
    /// It may have left: the broker did not acknowledge it in time, or the connection broke before
    /// it did. It is not sent again.
    #[error("sent or not: {0}")]
    Unknown(Error),
}

impl From<PublishError> for Error {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::NotSent(error) | PublishError::Unknown(error) => error,
        }
    }
}

impl Mqtt {
    /// Begins to connect, and goes on until [`Mqtt::close`]; `runtime` drives the connection.
    ///
    /// # Errors
    /// `invalid_configuration`: a file that TLS needs cannot be used.
    pub fn open(
        settings: MqttSettings,
        metrics: &Metrics,
        runtime: &runtime::Handle,
    ) -> Result<Self> {
        let route = Route::new(&settings).map_err(|error| {
            let detail = "The configuration is not valid.";
            Error::new(Kind::Internal, "invalid_configuration", detail).with_source(error)
        })?;
        metrics.limit("mqtt_waiting", settings.max_waiting);
        let metrics = MqttMetrics::register(metrics);
        let limits = Limits {
            waiting: settings.max_waiting,
            waiting_of_topic: settings.max_waiting_per_topic,
            waiting_bytes: settings.max_waiting_bytes,
        };
        let places = Arc::new(Semaphore::new(settings.max_in_flight));
        let (outgoing, leaving) = mpsc::channel(settings.max_in_flight);
        let state = State::new(settings, Inbox::new(limits, metrics.clone()), metrics);
        let (running, ended) = watch::channel(());
        let work = link::run(Arc::clone(&state), route, leaving);
        runtime.spawn(async move {
            work.await;
            drop(running);
        });
        Ok(Self(Arc::new(Handle { state, outgoing, places, ended })))
    }

    /// Whether it was made of these settings.
    #[must_use]
    pub fn is_of(&self, settings: &MqttSettings) -> bool {
        self.0.state.settings == *settings
    }

    /// Publishes once, with quality of service 1 and never retained, and waits for the broker's
    /// acknowledgement: it says that the broker has it, not that anybody reads it. Dropping the
    /// future calls back what has not left.
    ///
    /// # Errors
    /// `broker_unavailable`, at once when the link is down; [`PublishError`] tells whether it may
    /// have left. `internal` for what can never be published.
    pub async fn publish(
        &self,
        topic: &str,
        payload: Vec<u8>,
        deadline: Deadline,
    ) -> Result<(), PublishError> {
        let State { settings, metrics, .. } = self.0.state.as_ref();
        if !inbox::is_topic(topic) || payload.len() > settings.max_payload_bytes {
            let error = Error::internal("the topic is none, or the payload is too large");
            return Err(PublishError::NotSent(error));
        }
        let outcome = self.send(topic, payload, deadline).await;
        let (name, result) = match outcome {
            Outcome::Acknowledged => ("acknowledged", Ok(())),
            Outcome::NotSent => ("not_sent", Err(PublishError::NotSent(broker_unavailable()))),
            Outcome::Unknown => ("unknown", Err(PublishError::Unknown(broker_unavailable()))),
        };
        metrics.published.with_label_values(&[name]).inc();
        result
    }

    async fn send(&self, topic: &str, payload: Vec<u8>, deadline: Deadline) -> Outcome {
        if !self.is_up() {
            return Outcome::NotSent;
        }
        let place = deadline.run(Arc::clone(&self.0.places).acquire_owned()).await;
        let Ok(Ok(place)) = place else { return Outcome::NotSent };
        let (answer, answered) = oneshot::channel();
        let withdrawn_when_dropped = Withdraw(Arc::default());
        let claim = Arc::clone(&withdrawn_when_dropped.0);
        let topic = topic.to_owned();
        let message = Outgoing { topic, payload, deadline, claim, place, answer };
        // There are as many places in the queue as in flight.
        if self.0.outgoing.try_send(message).is_err() {
            return Outcome::NotSent;
        }
        match deadline.run(answered).await {
            Ok(Ok(outcome)) => outcome,
            _ if withdrawn_when_dropped.0.withdraw() => Outcome::NotSent,
            _ => Outcome::Unknown,
        }
    }

    /// Subscribes, now and after every reconnection. Until the broker has granted it, the link is
    /// down. Filters may have `+` and `#`.
    ///
    /// # Errors
    /// It is not a topic filter.
    pub fn subscribe(&self, filter: &str) -> Result<Messages> {
        if !inbox::is_filter(filter) {
            return Err(Error::internal("this is not a topic filter"));
        }
        Ok(self.0.state.inbox.subscribe(filter))
    }

    /// How the connection is, now and later.
    #[must_use]
    pub fn link(&self) -> watch::Receiver<Link> {
        self.0.state.link.subscribe()
    }

    /// Whether it can be published now.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.0.state.is_up()
    }

    /// What is wrong, in a stable word; `None` when the link is up.
    #[must_use]
    pub fn trouble(&self) -> Option<&'static str> {
        self.0.state.trouble().map(|trouble| trouble.0)
    }

    /// The broker's row of `/readyz`.
    #[must_use]
    pub fn row(&self) -> ReadinessRow {
        ReadinessRow::of("mqtt", self.trouble())
    }

    /// Disconnects in order; streams end, and nothing connects again. Takes at most `patience`.
    pub async fn close(&self, patience: Duration) {
        self.0.state.closing.send_replace(Some(patience));
        let _ = tokio::time::timeout(patience, self.0.ended.clone().changed()).await;
    }
}

/// Takes a message back, unless it has left.
struct Withdraw(Arc<Claim>);

impl Drop for Withdraw {
    fn drop(&mut self) {
        self.0.withdraw();
    }
}

fn broker_unavailable() -> Error {
    Error::unavailable("broker_unavailable", "The message broker cannot be reached now.")
        .with_retry_after(Duration::from_secs(5))
}
