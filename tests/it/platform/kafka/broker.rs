//! A real broker that wants to know who we are, dies and hangs.

use fleet::platform::kafka::look;

use super::*;
use crate::support::PATIENCE;
use crate::support::kafka_broker::{Broker, PASSWORD, Turn};
use crate::support::mosquitto::make_certificates;
use crate::support::process::Folder;

/// The section of somebody who is let in.
fn let_in(broker: &Broker) -> String {
    broker.section(PASSWORD, &broker.ca_file())
}

/// Looks as `fleet doctor` does.
async fn looked(kafka: &Kafka, section: &str) -> std::result::Result<(), String> {
    let source = ConfigSource::texts(vec![kafka.config(), section.to_owned()]);
    let settings = source.load().unwrap().section("kafka").unwrap();
    let look = tokio::task::spawn_blocking(move || look(&settings, PATIENCE));
    look.await.unwrap()
}

/// Whoever is not let in says why, and reads nothing; somebody else reads all of it.
async fn is_not_let_in(broker: &Broker, section: &str) {
    let kafka = broker.kafka().await;
    fill(&kafka, 0, 20);
    let stranger = Reader::start(&kafka, section, Recorder::default());
    let told = async || stranger.consumer.row().reason.as_deref() == Some("authentication_failed");
    eventually("it is told", &told).await;
    assert!(looked(&kafka, section).await.is_err());
    assert!(told().await, "as long as it lasts");
    assert!(stranger.is("kafka_connected", 0.0));
    stranger.stop().await;
    assert_eq!((stranger.recorder.attempts(), kafka.committed_total()), (0, 0));
    let reader = Reader::start(&kafka, &let_in(broker), Recorder::default());
    eventually("all are committed", async || kafka.committed_total() == 80).await;
    assert_eq!(reader.recorder.seen(), 80);
    reader.stop().await;
}

#[actix_web::test]
async fn over_tls_with_name_and_password_all_is_read() {
    let Some(broker) = Turn::of_the_broker().await else { return };
    let kafka = broker.kafka().await;
    fill(&kafka, 0, 100);
    assert_eq!(looked(&kafka, &let_in(&broker)).await, Ok(()));
    let reader = Reader::start(&kafka, &let_in(&broker), Recorder::default());
    eventually("all are committed", async || kafka.committed_total() == 400).await;
    assert_eq!((reader.recorder.seen(), reader.recorder.most_often()), (400, 1));
    eventually("its row is well", async || reader.consumer.row().is_ok()).await;
    reader.stop().await;
}

#[actix_web::test]
async fn a_wrong_password_is_told_and_nothing_is_lost() {
    let Some(broker) = Turn::of_the_broker().await else { return };
    is_not_let_in(&broker, &broker.section("wrong", &broker.ca_file())).await;
}

#[actix_web::test]
async fn a_broker_of_another_ca_is_told_and_gets_no_password() {
    let Some(broker) = Turn::of_the_broker().await else { return };
    let folder = Folder::make();
    make_certificates(&folder);
    is_not_let_in(&broker, &broker.section(PASSWORD, &folder.path().join("ca.pem"))).await;
}

#[actix_web::test]
async fn a_broker_that_was_killed_is_read_on_where_it_was() {
    let Some(mut broker) = Turn::of_the_broker().await else { return };
    let kafka = broker.kafka().await;
    fill(&kafka, 0, 500);
    let small = let_in(&broker) + "batch_messages = 20\n";
    let reader = Reader::start(&kafka, &small, Recorder::default());
    eventually("it reads", async || reader.recorder.seen() > 0).await;
    broker.kill();
    eventually("it is told", async || {
        reader.consumer.row().reason.as_deref() == Some("brokers_unreachable")
    })
    .await;
    broker.start_again().await;
    fill(&kafka, 500, 100);
    eventually("all are committed", async || kafka.committed_total() == 2_400).await;
    assert_eq!(reader.recorder.seen(), 2_400, "nothing is lost");
    eventually("its row is well", async || reader.consumer.row().is_ok()).await;
    reader.stop().await;
}

/// It has a connection, and hears nothing: librdkafka alone would wait for long.
#[actix_web::test]
async fn a_consumer_that_stands_still_is_made_anew() {
    let Some(broker) = Turn::of_the_broker().await else { return };
    let kafka = broker.kafka().await;
    fill(&kafka, 0, 10);
    let impatient = let_in(&broker) + "stall_ms = 1000\n";
    let reader = Reader::start(&kafka, &impatient, Recorder::default());
    eventually("all are committed", async || kafka.committed_total() == 40).await;
    let recreated = "kafka_consumers_recreated_total{reason=\"stalled\"}";
    let before = reader.metric(recreated);
    broker.freeze();
    eventually("it is made anew", async || reader.metric(recreated) > before + 0.5).await;
    broker.thaw();
    fill(&kafka, 10, 10);
    eventually("all are committed", async || kafka.committed_total() == 80).await;
    assert_eq!(reader.recorder.seen(), 80, "nothing is lost");
    eventually("its row is well", async || reader.consumer.row().is_ok()).await;
    reader.stop().await;
}

/// The group settles before the brokers know the topic again: librdkafka alone would read nothing more.
#[actix_web::test]
async fn a_topic_that_was_lost_and_made_again_is_read() {
    let Some(mut broker) = Turn::of_the_broker().await else { return };
    let kafka = broker.kafka().await;
    fill(&kafka, 0, 10);
    let impatient = let_in(&broker) + "stall_ms = 1000\nsession_timeout_ms = 2000\n";
    let reader = Reader::start(&kafka, &impatient, Recorder::default());
    eventually("all are committed", async || kafka.committed_total() == 40).await;
    broker.kill();
    broker.lose_everything();
    broker.start_again().await;
    eventually("its group has no partitions", async || {
        reader.is("kafka_connected", 1.0) && reader.is("kafka_partitions", 0.0)
    })
    .await;
    let kafka = kafka.made_again().await;
    fill(&kafka, 0, 10);
    eventually("all are committed", async || kafka.committed_total() == 40).await;
    assert_eq!(reader.recorder.most_often(), 2, "as often as they were written");
    eventually("its row is well", async || reader.consumer.row().is_ok()).await;
    reader.stop().await;
}
