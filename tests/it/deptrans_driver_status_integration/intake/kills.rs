//! Processes die, freeze, or are stopped at the worst moment.

use std::time::Duration;

use super::REBALANCE;
use super::world::World;
use crate::support::kafka::{Kafka, on_each_broker};
use crate::support::{PATIENCE, eventually, eventually_within};

on_each_broker! {
    async fn killed_before_the_database_has_it_nothing_is_lost(kafka: Kafka) {
        let world = World::new(kafka, "");
        let mut process = world.process().await;
        let lock = world.hold_the_queue().await;
        world.send_drivers(0, 100);
        world.batch_waits().await;
        process.signal("KILL");
        process.wait(PATIENCE).await;
        world.no_batch_waits().await;
        drop(lock);
        assert_eq!((world.rows().await, world.kafka.committed_total()), (0, 0));

        let _next = world.process().await;
        let committed = async || world.kafka.committed_total() == 100;
        eventually_within(REBALANCE, "all are committed", committed).await;
        assert_eq!(world.rows().await, 100);
    }
}

/// The database has the batch, and Kafka has not heard of it: everything comes again and changes
/// nothing. (The embedded broker can be cut off at that moment.)
#[actix_web::test]
async fn killed_between_both_commits_it_comes_again_and_changes_nothing() {
    let world = World::new(Kafka::embedded(), "");
    let broker = world.kafka.embedded_broker().unwrap();
    let mut process = world.process().await;
    world.send_drivers(0, 1);
    eventually("it consumes", async || world.kafka.committed_total() == 1).await;

    let lock = world.hold_the_queue().await;
    world.send_drivers(1, 99);
    world.batch_waits().await;
    broker.set_reachable(false);
    drop(lock);
    eventually("the database has it", async || world.rows().await > 1).await;
    let before = world.newest().await;
    process.signal("KILL");
    process.wait(PATIENCE).await;
    broker.set_reachable(true);
    assert_eq!(world.kafka.committed_total(), 1, "Kafka does not know");
    let stamps =
        "SELECT string_agg(xmin::text || ctid::text, ',' ORDER BY ctid) FROM deptrans.status_queue";
    let untouched: String = world.database.query(stamps, &[]).await[0].get(0);

    let next = world.process().await;
    let committed = async || world.kafka.committed_total() == 100;
    eventually_within(REBALANCE, "all are committed", committed).await;
    let now = world.newest().await;
    assert_eq!(now.len(), 100);
    assert!(before.iter().all(|(driver, newest)| now.get(driver) == Some(newest)));
    let after: String = world.database.query(stamps, &[]).await[0].get(0);
    assert!(after.starts_with(&untouched), "no row was written twice");
    drop(next);
}

on_each_broker! {
    async fn sigterm_in_mid_batch_finishes_it_and_commits(kafka: Kafka) {
        let world = World::new(kafka, "");
        let mut process = world.process().await;
        let lock = world.hold_the_queue().await;
        world.send_drivers(0, 100);
        world.batch_waits().await;
        process.signal("TERM");
        tokio::time::sleep(Duration::from_millis(500)).await;
        drop(lock);
        let ended = process.wait(PATIENCE).await.expect("it ends in time");
        assert!(ended.success(), "{ended:?}");
        let rows = world.rows().await;
        assert!(rows > 0, "the batch under way was finished");
        assert_eq!(world.kafka.committed_total(), rows, "and committed; nothing else was");
    }
}

on_each_broker! {
    /// One of two instances freezes for longer than the group waits. The other takes its partitions;
    /// thawed, it finds itself out and comes back.
    async fn a_frozen_instance_is_replaced_and_comes_back(kafka: Kafka) {
        let world = World::new(kafka, "");
        let frozen = world.process().await;
        world.send_drivers(0, 100);
        eventually("it consumes", async || world.kafka.committed_total() == 100).await;
        frozen.signal("STOP");
        let other = world.process().await;
        world.send_drivers(100, 100);
        let taken_over = async || world.kafka.committed_total() == 200;
        eventually_within(REBALANCE, "the other has taken over", taken_over).await;
        frozen.signal("CONT");
        world.send_drivers(200, 100);
        let committed = async || world.kafka.committed_total() == 300;
        eventually_within(REBALANCE, "all are committed", committed).await;
        drop(other);
        world.send_drivers(300, 100);
        let works = async || world.rows().await == 400;
        eventually_within(REBALANCE, "the thawed one works", works).await;
    }
}
