//! librdkafka's settings, and a first look at the brokers.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use secrecy::ExposeSecret;

use crate::platform::config::kafka::KafkaSettings;

/// What is fetched ahead, in all: besides it only two batches are in memory.
const FETCHED_AHEAD_KBYTES: &str = "8192";

/// What every client needs to reach the brokers.
fn access(settings: &KafkaSettings) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &settings.brokers)
        .set("client.id", "fleet")
        .set("security.protocol", settings.security.word())
        .set("socket.timeout.ms", "10000")
        .set("socket.keepalive.enable", "true")
        .set("reconnect.backoff.max.ms", "2000")
        .set_log_level(RDKafkaLogLevel::Info);
    if settings.security.has_sasl() {
        config
            .set("sasl.mechanism", settings.sasl_mechanism.word())
            .set("sasl.username", &settings.sasl_username)
            .set("sasl.password", settings.sasl_password.expose_secret());
    }
    if let Some(file) = &settings.tls_ca_file {
        config.set("ssl.ca.location", file.to_string_lossy());
    }
    config
}

/// Settings of a member of the group.
pub(super) fn member(settings: &KafkaSettings) -> ClientConfig {
    let mut config = access(settings);
    config
        .set("group.id", &settings.group_id)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // Also where the offsets of a long stop have expired: what is read again does no harm.
        .set("auto.offset.reset", "earliest")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", settings.session_timeout_ms.to_string())
        .set("heartbeat.interval.ms", (settings.session_timeout_ms / 5).min(3_000).to_string())
        .set("max.poll.interval.ms", settings.max_poll_interval_ms.to_string())
        .set("queued.max.messages.kbytes", FETCHED_AHEAD_KBYTES)
        .set("fetch.max.bytes", "8388608")
        // How long a full queue holds up the next fetch: the default of a second leaves it empty.
        .set("fetch.queue.backoff.ms", "20")
        // A topic that is made later is found within this.
        .set("topic.metadata.refresh.interval.ms", "10000")
        .set("statistics.interval.ms", "1000");
    config
}

/// Asks the brokers for the topic. Blocks as long as `patience`.
///
/// # Errors
/// What is wrong, in words.
pub(super) fn look(settings: &KafkaSettings, patience: Duration) -> Result<(), String> {
    let consumer: BaseConsumer<Silent> =
        access(settings).create_with_context(Silent).map_err(|error| error.to_string())?;
    let metadata = consumer
        .fetch_metadata(Some(&settings.topic), patience)
        .map_err(|error| format!("no broker answers ({error})"))?;
    let topic = metadata.topics().first().ok_or("the brokers do not answer about the topic")?;
    match topic.error() {
        None if topic.partitions().is_empty() => Err("the topic has no partitions".to_owned()),
        None => Ok(()),
        Some(error) => Err(format!(
            "topic {}: {}",
            settings.topic,
            rdkafka::types::RDKafkaErrorCode::from(error)
        )),
    }
}

/// Says nothing: whoever asks is told by the answer.
struct Silent;

impl ClientContext for Silent {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}
    fn error(&self, _: KafkaError, _: &str) {}
}

impl ConsumerContext for Silent {}
