//! Messages to drivers also go out through feeds.

use super::*;
use crate::support::eventually;

/// Failed tasks come again soon; the breaker of feeds does not stand in the way.
const HASTY: &str = "[tasks]\nbackoff_base_ms = 100\nbackoff_max_ms = 200\npoll_ms = 100\n\
     [upstreams.feeds]\nattempts = 1\nbreaker_failures = 1000\ntimeout_ms = 500\n";

fn channel(driver: &str) -> String {
    format!("contractor:{PARK}:{driver}")
}

async fn pushed(world: &World, outcome: &str) -> f64 {
    let series = format!("fleet_communications_pushes_total{{outcome=\"{outcome}\"}}");
    world.app.metric(&series).await
}

async fn tasks(world: &World) -> i64 {
    let all = "SELECT count(*) FROM task_queue.tasks WHERE kind LIKE '%push_message'";
    world.app.database().count(all).await
}

#[actix_web::test]
async fn a_message_to_the_driver_is_shown_once() {
    let world = World::start().await;
    let driver = world.known_driver(0);
    let message = world.to_driver(&driver, "Позвоните в парк").await;
    eventually("it was shown", async || tasks(&world).await == 0).await;
    assert_eq!(world.app.sandbox.delivered(PARK), [(channel(&driver), 1)].into());
    let (_, body) = world.app.sandbox.last_request("feeds", "create").expect("a request");
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["request_id"], format!("message-{}", message["id"].as_str().unwrap()));
    assert_eq!(body["payload"], json!({ "text": "Позвоните в парк", "kind": "message" }));
    assert!((pushed(&world, "sent").await - 1.0).abs() < 0.1);
    // What drivers write goes nowhere.
    world.to_park(&driver, "Хорошо").await;
    assert_eq!(tasks(&world).await, 0);
}

#[actix_web::test]
async fn feeds_that_fail_are_asked_until_it_was_shown_once() {
    for fault in [
        json!({ "kind": "status", "status": 503, "times": 3 }),
        json!({ "kind": "close", "times": 3 }),
        json!({ "kind": "close_after_work", "times": 3 }),
        json!({ "kind": "garbage", "times": 3 }),
        json!({ "kind": "delay_after_work", "ms": 1500, "times": 2 }),
    ] {
        let world = World::with(HASTY).await;
        let driver = world.known_driver(0);
        world.app.fault("feeds", fault.clone());
        world.to_driver(&driver, "once").await;
        eventually("the task is done", async || tasks(&world).await == 0).await;
        let counts = world.app.sandbox.delivered_counts(Some(PARK));
        assert_eq!(
            (counts.deliveries, counts.doubled, counts.mismatches),
            (1, 0, 0),
            "{fault}: {counts:?}"
        );
        assert!(pushed(&world, "failed").await >= 1.0, "{fault}");
    }
}

#[actix_web::test]
async fn what_was_read_meanwhile_is_not_shown() {
    let world = World::with(HASTY).await;
    let driver = world.known_driver(0);
    world.app.fault("feeds", json!({ "kind": "status", "status": 503 }));
    let message = world.to_driver(&driver, "read").await;
    eventually("feeds refused", async || pushed(&world, "failed").await >= 1.0).await;
    world.driver(&driver).post("conversation/read", up_to(&message)).await.expect(204);
    world.app.sandbox.clear_fault("feeds");
    eventually("the task is done", async || tasks(&world).await == 0).await;
    assert!(world.app.sandbox.delivered(PARK).is_empty());
    assert!((pushed(&world, "read_before").await - 1.0).abs() < 0.1);
}

#[actix_web::test]
async fn a_channel_that_feeds_rejects_is_given_up() {
    let world = World::with(HASTY).await;
    let driver = world.known_driver(0);
    assert!(world.app.sandbox.reject_channel(&channel(&driver), Some("blocked")));
    world.to_driver(&driver, "nowhere").await;
    eventually("the task is done", async || tasks(&world).await == 0).await;
    assert!((pushed(&world, "rejected").await - 1.0).abs() < 0.1);
    assert_eq!(world.app.sandbox.calls("feeds", "POST /v1/feeds/create"), 1);
}

#[actix_web::test]
async fn a_message_outlives_the_process_that_took_it() {
    let world = World::start().await;
    let driver = world.known_driver(0);
    world.app.fault("feeds", json!({ "kind": "hang" }));
    world.to_driver(&driver, "later").await;
    eventually("feeds was asked", async || {
        world.app.sandbox.calls("feeds", "POST /v1/feeds/create") > 0
    })
    .await;
    let world = World::of(world.app.restarted().await);
    world.app.sandbox.clear_fault("feeds");
    let shown = Some(1);
    eventually("it was shown", async || {
        world.app.sandbox.delivered(PARK).get(&channel(&driver)).copied() == shown
    })
    .await;
}
