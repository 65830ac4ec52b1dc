//! Shuffled, doubled and at equal times: a driver's final status is the greatest by time, then by what
//! decides.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use super::world::World;
use super::{DAY, DOMAIN, REBALANCE};
use crate::support::app::TestApp;
use crate::support::eventually_within;
use crate::support::kafka::on_each_broker;

/// Events, and what must be left of them: status, time and what decides.
fn history(
    seed: u64,
    drivers: usize,
    each: usize,
) -> (Vec<Value>, BTreeMap<String, (String, String)>) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut events = Vec::new();
    let mut newest: BTreeMap<String, (String, String)> = BTreeMap::new();
    for driver in 0..drivers {
        let driver = format!("d{driver}");
        for _ in 0..each {
            // Few times, so that many are equal.
            let (second, nanoseconds) =
                (random.random_range(0..5), random.random_range(0..3) * 500);
            // By the id alone, so that the greatest is one event.
            let id = format!("{:03}", random.random_range(0..1000));
            let status = ["online", "busy", "offline"][id.parse::<usize>().unwrap() % 3];
            let event = json!({"park_id": "park-1", "driver_id": driver, "status": status, "event_id": id,
                "occurred_at": format!("{}T10:00:0{second}.{nanoseconds:09}Z", *DAY)});
            for _ in 0..=random.random_range(0..2) {
                events.push(event.clone());
            }
            let (micros, rest) = (nanoseconds / 1000, nanoseconds % 1000);
            let rank = format!("10:00:0{second}.{micros:06}{rest:03}{id}");
            let kept = newest.entry(driver.clone()).or_default();
            if rank > kept.1 {
                *kept = (status.to_owned(), rank);
            }
        }
    }
    events.shuffle(&mut random);
    (events, newest)
}

on_each_broker! {
    /// Two instances share the topic; one comes late and another leaves in the middle.
    async fn the_greatest_is_left_whatever_the_order_and_whoever_handles_it(kafka: Kafka) {
        let world = World::new(kafka, "");
        let seed = rand::random();
        let (events, expected) = history(seed, 100, 30);
        let third = events.len() / 3;
        let small = "[kafka]\nbatch_messages = 50\nbatch_linger_ms = 5\n";
        let builder = || TestApp::builder().domains(&[DOMAIN]).config(world.for_app()).config(small);
        world.send(&events[..third]);
        let first = builder().start().await;
        let mut second = builder().start().await;
        world.send(&events[third..2 * third]);
        let begun = async || world.kafka.committed_total() > 100;
        eventually_within(REBALANCE, "some are committed", begun).await;
        world.send(&events[2 * third..]);
        tokio::time::sleep(Duration::from_millis(300)).await;
        second.stop();
        let all = i64::try_from(events.len()).unwrap();
        let committed = async || world.kafka.committed_total() == all;
        eventually_within(REBALANCE, "all are committed", committed).await;
        assert_eq!(world.newest().await, expected, "seed {seed}");
        drop(first);
    }
}

on_each_broker! {
    /// The same with a process that is killed, and replaced, at moments of chance.
    async fn the_greatest_is_left_also_when_processes_are_killed(kafka: Kafka) {
        let world = World::new(kafka, "");
        let seed = rand::random();
        let (events, expected) = history(seed, 300, 20);
        let mut random = StdRng::seed_from_u64(seed);
        world.send(&events);
        for _ in 0..3 {
            let process = world.process().await;
            let begun = async || world.rows().await > 0;
            eventually_within(REBALANCE, "it has begun", begun).await;
            tokio::time::sleep(Duration::from_millis(random.random_range(0..50))).await;
            process.signal("KILL");
        }
        let _last = world.process().await;
        let all = i64::try_from(events.len()).unwrap();
        let committed = async || world.kafka.committed_total() == all;
        eventually_within(REBALANCE, "all are committed", committed).await;
        assert_eq!(world.newest().await, expected, "seed {seed}");
    }
}
