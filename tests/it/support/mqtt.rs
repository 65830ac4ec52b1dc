//! A client of the platform, at a broker of a test's.

use std::time::Duration;

use fleet::platform::config::ConfigSource;
use fleet::platform::context::Deadline;
use fleet::platform::mqtt::{Messages, Mqtt, PublishError};
use fleet::platform::telemetry::metrics::Metrics;
use serde_json::Value;

use super::{PATIENCE, eventually};

/// A client with metrics of its own.
pub struct Client {
    pub mqtt: Mqtt,
    metrics: Metrics,
}

impl Client {
    /// One with this section `[mqtt]`; it connects by itself.
    pub fn of(section: &str) -> Self {
        let config = ConfigSource::texts(vec![section.to_owned()]).load().unwrap();
        let metrics = Metrics::default();
        let mqtt = Mqtt::open(
            config.section("mqtt").unwrap(),
            &metrics,
            &tokio::runtime::Handle::current(),
        )
        .unwrap();
        Self { mqtt, metrics }
    }

    /// Waits until it can publish, and hears what it subscribed to.
    pub async fn up(&self) {
        eventually("the link is up", async || self.mqtt.is_up()).await;
    }

    /// Waits until something is wrong with it.
    pub async fn trouble(&self, word: &str) {
        eventually(word, async || self.mqtt.trouble() == Some(word)).await;
    }

    /// Publishes and has the broker's acknowledgement.
    pub async fn publish(&self, topic: &str, text: impl Into<Vec<u8>>) {
        self.mqtt.publish(topic, text.into(), Deadline::after(PATIENCE)).await.unwrap();
    }

    /// Tries to.
    pub async fn try_publish(&self, topic: &str, within: Duration) -> Result<(), PublishError> {
        self.mqtt.publish(topic, b"hello".to_vec(), Deadline::after(within)).await
    }

    /// The value of a metric's line; 0 when there is no such line.
    pub fn count(&self, series: &str) -> u64 {
        let text = self.metrics.render();
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map_or(0, |value| value.parse().expect("a count"))
    }
}

/// The next message: its topic and what it says.
pub async fn next(messages: &mut Messages) -> (String, String) {
    let message = tokio::time::timeout(PATIENCE, messages.next()).await.expect("a message in time");
    let message = message.expect("an open stream");
    (message.topic().to_owned(), String::from_utf8_lossy(message.payload()).into_owned())
}

/// The next message that is an event of this type.
pub async fn next_event(messages: &mut Messages, kind: &str) -> Value {
    loop {
        let (_, text) = next(messages).await;
        if let Ok(event) = serde_json::from_str::<Value>(&text)
            && event["type"] == kind
        {
            return event;
        }
    }
}
