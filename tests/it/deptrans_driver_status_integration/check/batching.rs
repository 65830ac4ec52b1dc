//! Checks that share a statement are answered as if each were alone.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use proptest::collection::vec;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use super::*;
use crate::support::eventually;

/// Drivers in every state; what is beyond them nobody knows.
const DRIVERS: u64 = 12;

#[actix_web::test]
async fn checks_that_share_a_statement_are_answered_as_if_each_were_alone() {
    let world = World::with(BLOCKS).await;
    let mut licenses = BTreeSet::new();
    for index in 0..DRIVERS {
        let places = [None, Some(MOSCOW), Some(TVER)];
        world.place(index, *places.iter().cycle().nth(usize::try_from(index).unwrap()).unwrap());
        if index % 2 == 0 {
            world.last_status(index, "1").await;
        }
        // Some have no licence, and some share one.
        let license = world.app.sandbox.driver(index).license.map(|license| license.pd_id);
        if !license.is_some_and(|license| licenses.insert(license)) {
            continue;
        }
        if index % 4 != 0 {
            world.bind(index, &format!("'{index:012}'")).await;
        }
        match index % 5 {
            0 => {}
            1 => world.shift(index, "'active'", "now() - interval '1 minute'").await,
            2 => world.shift(index, "'resting'", "now() + interval '1 hour'").await,
            _ => world.shift(index, "'active'", "now() + interval '1 hour'").await,
        }
    }
    let nobody = |index: u64| json!({"park_id": "park-1", "driver_id": format!("nobody-{index}")});
    let runner = std::cell::RefCell::new(TestRunner::deterministic());
    let checks = vec(vec(0..DRIVERS + 3, 1..20), 40);
    let figure = async |name: &str| world.app.count(name).await;
    let calls = "database_batched_calls_total{statement=\"check_drivers\"}";
    let batches = "database_batches_total{outcome=\"ok\",statement=\"check_drivers\"}";
    eventually("checks shared a statement", async || {
        let checks = checks.new_tree(&mut runner.borrow_mut()).expect("checks").current();
        let bodies: Vec<Vec<Value>> = checks
            .iter()
            .map(|check| {
                let known = |index: &u64| match index {
                    index if *index < DRIVERS => world.key(*index),
                    index => nobody(*index),
                };
                let mut drivers: Vec<Value> = Vec::new();
                for key in check.iter().map(known) {
                    if !drivers.contains(&key) {
                        drivers.push(key);
                    }
                }
                drivers
            })
            .collect();
        let mut alone = Vec::new();
        for drivers in &bodies {
            alone.push(world.ask(drivers).await.expect(200));
        }
        let before = (figure(calls).await, figure(batches).await);
        let together = join_all(bodies.iter().map(|drivers| world.ask(drivers))).await;
        for ((reply, alone), drivers) in together.into_iter().zip(alone).zip(&bodies) {
            assert_eq!(reply.expect(200), alone, "{drivers:?}");
        }
        figure(calls).await - before.0 > figure(batches).await - before.1
    })
    .await;
}
