//! The city of drivers: its events, as Kafka brings them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use fleet::sandbox::{City, EmbeddedBroker, SandboxDriver, fill_topic};
use jiff::Timestamp;
use rdkafka::ClientConfig;
use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use serde_json::Value;

const TOPIC: &str = "city";
const EVENTS: usize = 2_000;
const DRIVERS: usize = 20;

/// Key and value of so many messages.
fn read(brokers: &str, count: usize) -> Vec<(String, Value)> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "reader")
        .set("auto.offset.reset", "earliest")
        .create()
        .unwrap();
    consumer.subscribe(&[TOPIC]).unwrap();
    let (started, mut found) = (Instant::now(), Vec::new());
    while found.len() < count {
        assert!(started.elapsed() < Duration::from_mins(1), "{} of {count}", found.len());
        if let Some(message) = consumer.poll(Duration::from_millis(200)) {
            let message = message.unwrap();
            let key = String::from_utf8(message.key().unwrap().to_vec()).unwrap();
            found.push((key, serde_json::from_slice(message.payload().unwrap()).unwrap()));
        }
    }
    found
}

#[test]
fn embedded_brokers_stand_beside_each_other() {
    let brokers: Vec<_> = (0..3).map(|_| EmbeddedBroker::start().unwrap()).collect();
    let addresses: BTreeSet<&str> = brokers.iter().map(EmbeddedBroker::brokers).collect();
    assert_eq!(addresses.len(), 3);
    for address in addresses {
        fill_topic(address, TOPIC, &mut City::new(DRIVERS, 7), 10).unwrap();
        assert_eq!(read(address, 10).len(), 10);
    }
}

#[test]
fn a_topic_is_filled_with_what_drivers_do() {
    let broker = EmbeddedBroker::start().unwrap();
    broker.create_topic(TOPIC, 4);
    let before = Timestamp::now();
    let mut city = City::new(DRIVERS, 7);
    fill_topic(broker.brokers(), TOPIC, &mut city, EVENTS.try_into().unwrap()).unwrap();

    let mut by_driver: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for (key, event) in read(broker.brokers(), EVENTS) {
        by_driver.entry(key).or_default().push(event);
    }
    assert_eq!(by_driver.len(), DRIVERS);
    for index in 0..DRIVERS {
        let SandboxDriver { park_id, driver_id, .. } = SandboxDriver::of(index as u64);
        let events = &by_driver[&format!("{park_id}_{driver_id}")];
        let mut last = (Timestamp::UNIX_EPOCH, "offline".to_owned());
        for event in events {
            assert_eq!(
                (&event["park_id"], &event["driver_id"]),
                (&Value::from(park_id.as_str()), &Value::from(driver_id.as_str()))
            );
            let at: Timestamp = event["occurred_at"].as_str().unwrap().parse().unwrap();
            let status = event["status"].as_str().unwrap();
            assert!(at > last.0 && at < before + Duration::from_mins(2), "in order: {event}");
            assert!(status != last.1 && (status != "busy" || last.1 == "online"), "{event}");
            last = (at, status.to_owned());
        }
    }
    let ids: std::collections::BTreeSet<_> =
        by_driver.values().flatten().map(|event| event["event_id"].to_string()).collect();
    assert_eq!(ids.len(), EVENTS);
}
