//! The connection to the broker, against a real Mosquitto.

use std::time::Duration;

use fleet::platform::config::ConfigSource;
use fleet::platform::context::Deadline;
use fleet::platform::mqtt::{Messages, Mqtt};
use fleet::platform::telemetry::metrics::Metrics;

use crate::support::mosquitto::Mosquitto;
use crate::support::{PATIENCE, eventually};

/// A client of the platform with metrics of its own.
struct Client {
    mqtt: Mqtt,
    metrics: Metrics,
}

impl Client {
    fn of(section: &str) -> Self {
        let config = ConfigSource::texts(vec![section.to_owned()]).load().unwrap();
        let metrics = Metrics::default();
        let mqtt = Mqtt::open(config.section("mqtt").unwrap(), &metrics).unwrap();
        Self { mqtt, metrics }
    }

    async fn up(&self) {
        eventually("the link is up", async || self.mqtt.is_up()).await;
    }

    async fn publish(&self, topic: &str, text: &str) {
        let sent = self.mqtt.publish(topic, text.into(), Deadline::after(PATIENCE)).await;
        sent.unwrap();
    }
}

async fn next(messages: &mut Messages) -> (String, String) {
    let message = tokio::time::timeout(PATIENCE, messages.next()).await.expect("a message in time");
    let message = message.expect("an open stream");
    (message.topic().to_owned(), String::from_utf8_lossy(message.payload()).into_owned())
}

#[actix_web::test]
async fn what_is_published_is_heard() {
    let broker = Mosquitto::start(&["cab-1"]).await;
    let server = Client::of(&broker.section());
    let mut messages = server.mqtt.subscribe("cabinets/+/events").unwrap();
    server.up().await;
    server.publish("cabinets/cab-1/commands", "hello").await;
    println!("{}", broker.log());
    println!("{}", server.metrics.render());
}
