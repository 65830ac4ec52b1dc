//! Where regions are from.

use futures_util::future::join_all;

use super::*;
use crate::support::eventually;

#[actix_web::test]
async fn a_position_is_remembered_for_a_while() {
    let config =
        format!("{BLOCKS}[deptrans_driver_status_integration.check]\nposition_ms = 5000\n");
    let world = World::with(&config).await;
    world.place(0, Some(MOSCOW));
    let asked = world.asked();
    assert_eq!(world.check(0).await, verdict(false, &["no_id"]));
    world.place(0, Some(TVER));
    assert_eq!(world.check(0).await, verdict(false, &["no_id"]));
    assert_eq!(world.asked() - asked, 1, "the second time it was remembered");
    eventually("he has left the region", async || {
        world.check(0).await == verdict(true, &["no_id"])
    })
    .await;
}

#[actix_web::test]
async fn callers_who_want_the_same_drivers_share_a_question() {
    let world = World::with(BLOCKS).await;
    let keys: Vec<Value> = (0..200).map(|index| world.key(index)).collect();
    world.app.fault("driver-trackstory", json!({"kind": "delay", "ms": 300}));
    let asked = world.asked();
    let replies = join_all((0..30).map(|_| world.ask(&keys))).await;
    for reply in replies {
        assert_eq!(reply.expect(200)["items"].as_array().unwrap().len(), 200);
    }
    assert_eq!(world.asked() - asked, 1);
}

#[actix_web::test]
async fn many_drivers_are_asked_in_parts() {
    let world = World::with(BLOCKS).await;
    let keys: Vec<Value> = (0..1_000).map(|index| world.key(index)).collect();
    let asked = world.asked();
    world.ask(&keys).await.expect(200);
    assert_eq!(world.asked() - asked, 2, "of 500 each");
    let positions = "deptrans_check_regions_total{source=\"position\"}";
    assert!(world.app.count(positions).await > 800);
}

#[actix_web::test]
async fn while_trackstory_is_away_the_region_is_that_of_the_last_status() {
    let quick = format!("{BLOCKS}[upstreams.driver_trackstory]\ntimeout_ms = 1000\nattempts = 1\n");
    for fault in [json!({"kind": "status", "status": 500}), json!({"kind": "hang"})] {
        let world = World::with(&quick).await;
        world.last_status(0, "1").await;
        world.last_status(1, "NULL").await;
        // A region that is not configured any more.
        world.last_status(2, "77").await;
        world.app.fault("driver-trackstory", fault);
        assert_eq!(world.check(0).await, verdict(false, &["no_id"]));
        for index in [1, 2, 3] {
            assert_eq!(world.check(index).await, verdict(true, &["no_id"]), "driver {index}");
        }
        let sources = "deptrans_check_regions_total{source=\"last_status\"}";
        assert!(world.app.count(sources).await >= 1);
        // When it is back positions count again.
        world.app.sandbox.clear_fault("driver-trackstory");
        world.place(0, Some(TVER));
        eventually("his position counts", async || {
            world.check(0).await == verdict(true, &["no_id"])
        })
        .await;
    }
}

#[actix_web::test]
async fn a_question_that_fails_is_not_repeated_for_every_caller() {
    let world = World::with(BLOCKS).await;
    world.app.fault("driver-trackstory", json!({"kind": "status", "status": 400}));
    let asked = world.asked();
    let started = std::time::Instant::now();
    for index in 0..40 {
        world.check(index).await;
    }
    let rounds = world.asked() - asked;
    assert!(rounds <= 1 + started.elapsed().as_secs(), "{rounds} in {:?}", started.elapsed());
}
