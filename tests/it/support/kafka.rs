//! Kafka for a test: librdkafka's broker in this process, and a real one where `KAFKA_BROKERS` says
//! that there is one. Topics and groups are a test's own.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fleet::sandbox::EmbeddedBroker;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode;

use super::LIMIT;

const ANSWER: Duration = Duration::from_secs(10);
/// Partitions of a test's topic.
pub const PARTITIONS: i32 = 4;

/// Declares a test that runs against each broker there is.
macro_rules! on_each_broker {
    ($(#[$attribute:meta])* async fn $name:ident($kafka:ident: Kafka) $body:block) => {
        $(#[$attribute])*
        mod $name {
            #[allow(unused_imports, reason = "what a test needs differs")]
            use super::*;

            async fn run($kafka: $crate::support::kafka::Kafka) $body

            #[actix_web::test]
            async fn embedded() {
                run($crate::support::kafka::Kafka::embedded()).await;
            }

            #[actix_web::test]
            async fn real() {
                if let Some(kafka) = $crate::support::kafka::Kafka::real().await {
                    run(kafka).await;
                }
            }
        }
    };
}
pub(crate) use on_each_broker;

/// A topic of a test's own on some broker.
pub struct Kafka {
    brokers: String,
    topic: String,
    embedded: Option<EmbeddedBroker>,
    producer: BaseProducer,
}

impl Kafka {
    /// On a broker in this process.
    pub fn embedded() -> Self {
        let broker = EmbeddedBroker::start().expect("an embedded broker");
        let topic = unique_name();
        broker.create_topic(&topic, PARTITIONS);
        let brokers = broker.brokers().to_owned();
        Self { producer: producer(&brokers), brokers, topic, embedded: Some(broker) }
    }

    /// On the broker that `KAFKA_BROKERS` names; without it the test is skipped, and says so.
    pub async fn real() -> Option<Self> {
        let Some(brokers) = std::env::var("KAFKA_BROKERS").ok().filter(|text| !text.is_empty())
        else {
            eprintln!("skipped against a real Kafka: KAFKA_BROKERS is not set (make kafka)");
            return None;
        };
        Some(Self::on(brokers).await)
    }

    /// On a real broker.
    pub async fn on(brokers: String) -> Self {
        Self::of_the_name(brokers, unique_name()).await
    }

    /// The same topic, on brokers that lost it.
    pub async fn made_again(self) -> Self {
        Self::of_the_name(self.brokers, self.topic).await
    }

    async fn of_the_name(brokers: String, topic: String) -> Self {
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", &brokers).create().expect("an admin");
        let new = NewTopic::new(&topic, PARTITIONS, TopicReplication::Fixed(1));
        let options = AdminOptions::new().operation_timeout(Some(ANSWER));
        let made = admin.create_topics([&new], &options).await.expect("the brokers answer");
        for topic in made {
            // A request that was sent twice finds what it has made.
            match topic {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err(error) => panic!("a topic: {error:?}"),
            }
        }
        Self { producer: producer(&brokers), brokers, topic, embedded: None }
    }

    /// The broker in this process, if it is that.
    pub fn embedded_broker(&self) -> Option<&EmbeddedBroker> {
        self.embedded.as_ref()
    }

    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The section for a server that reads the topic; the group bears the topic's name.
    pub fn config(&self) -> String {
        self.config_at(&self.brokers)
    }

    /// The same by way of other addresses.
    pub fn config_at(&self, brokers: &str) -> String {
        format!(
            "[kafka]\nbrokers = '{brokers}'\ntopic = '{0}'\ngroup_id = '{0}'\nsession_timeout_ms = 6000\n\
             max_poll_interval_ms = 10000\n",
            self.topic
        )
    }

    /// Writes messages and waits until the broker has them.
    pub fn send<'a>(&self, messages: impl IntoIterator<Item = (i32, &'a [u8])>) {
        for (partition, value) in messages {
            let mut record: BaseRecord<'_, (), [u8]> =
                BaseRecord::to(&self.topic).payload(value).partition(partition);
            while let Err((error, refused)) = self.producer.send(record) {
                let full = rdkafka::types::RDKafkaErrorCode::QueueFull;
                assert_eq!(error.rdkafka_error_code(), Some(full));
                self.producer.poll(Duration::from_millis(10));
                record = refused;
            }
        }
        self.producer.flush(LIMIT).expect("the broker takes the messages");
    }

    /// Where the group is to read on, by partition; those of which nothing is committed are left out.
    pub fn committed(&self) -> BTreeMap<i32, i64> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .set("group.id", &self.topic)
            .create()
            .expect("a consumer");
        let mut asked = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            asked.add_partition(&self.topic, partition);
        }
        let Ok(committed) = consumer.committed_offsets(asked, ANSWER) else {
            return BTreeMap::new();
        };
        let offsets = committed.elements();
        let offsets = offsets.iter().filter_map(|element| match element.offset() {
            Offset::Offset(offset) => Some((element.partition(), offset)),
            _ => None,
        });
        offsets.collect()
    }

    /// How many messages the group has committed in all.
    pub fn committed_total(&self) -> i64 {
        self.committed().values().sum()
    }
}

fn producer(brokers: &str) -> BaseProducer {
    ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("linger.ms", "2")
        .create()
        .expect("a producer")
}

fn unique_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("fleet-test-{now}-{}-{number}", std::process::id())
}
