//! Outages as several instances see them.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::rig::{Instances, go, ready};
use crate::support::eventually;
use crate::support::process::Server;
use crate::support::proxy::{Mode, Proxy};

async fn outages(server: &Server) -> Vec<Value> {
    let listed = Instances::internal(server).get("krt/outages").await.expect(200);
    listed["items"].as_array().expect("items").clone()
}

#[actix_web::test]
async fn an_instance_that_alone_is_cut_off_opens_none() {
    let world = Instances::prepare();
    let drivers = ready(&world.sandbox, &world.database, 60).await;
    let proxy = Proxy::start(world.sandbox.addr());
    let through = proxy.in_front_of(&world.sandbox.base_url("krt"));
    // Longer than the other may be without an answer on a busy machine.
    let after = ("OUTAGE_AFTER_MS", "6000");
    let cut_off = world.start(&[after, ("FLEET__UPSTREAMS__KRT__BASE_URL", &through)]).await;
    let well = world.start(&[after]).await;
    proxy.set(Mode::Close);
    // For longer than it takes to open one there is always somebody whom the other can take: what the
    // one took waits for its next attempt.
    for index in &drivers {
        go(&Instances::internal(&well), &world.sandbox, &[(*index, "online")]).await;
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    eventually("all are sent", async || world.waiting().await == 0).await;
    let noticed = "deptrans_statuses_total{outcome=\"waits\",reason=\"krt_unavailable\"}";
    Instances::has_counted(&cut_off, noticed).await;
    assert_eq!(outages(&well).await, Vec::<Value>::new());
    assert!(drivers.iter().all(|index| world.told(*index).len() == 1));
}

#[actix_web::test]
async fn one_outage_of_all_is_one_row_and_whoever_is_left_ends_it() {
    let world = Instances::prepare();
    let drivers = ready(&world.sandbox, &world.database, 60).await;
    let servers = [world.start(&[]).await, world.start(&[]).await];
    world.sandbox.set_fault("krt", json!({"kind": "close"})).unwrap();
    let all: Vec<_> = drivers.iter().map(|index| (*index, "online")).collect();
    go(&Instances::internal(&servers[0]), &world.sandbox, &all).await;
    eventually("an outage is open", async || outages(&servers[0]).await.len() == 1).await;
    // Long enough for both to have failed, and looked at it; each does so every half of a second.
    tokio::time::sleep(Duration::from_secs(2)).await;
    eventually("its queue is counted", async || {
        outages(&servers[1]).await[0]["longest_queue"] == 60
    })
    .await;
    assert_eq!(outages(&servers[1]).await.len(), 1);
    let told = |server: &Server| server.output().matches("an outage of KRT began").count();
    let told = || servers.iter().map(told).sum::<usize>();
    eventually("one of them has told", async || told() > 0).await;
    assert_eq!(told(), 1);
    drop(servers);
    // Time passes: the leases of the dead are over.
    let passed = "UPDATE deptrans.status_queue SET due_at = now() WHERE lease IS NOT NULL";
    world.database.execute(passed).await;
    // Nobody who is left has seen it begin.
    let late = world.start(&[]).await;
    assert!(outages(&late).await[0].get("to_at").is_none());
    world.sandbox.clear_fault("krt");
    eventually("it is over, and made up for", async || {
        outages(&late).await[0].get("caught_up_at").is_some()
    })
    .await;
    assert_eq!(outages(&late).await.len(), 1);
    eventually("all are sent", async || world.waiting().await == 0).await;
    assert!(drivers.iter().all(|index| world.told(*index) == [true]));
}
