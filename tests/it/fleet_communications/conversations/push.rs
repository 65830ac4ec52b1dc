//! Messages to drivers also go out through feeds.

use super::*;
use crate::support::eventually;

/// Failed tasks come again soon; the breaker of feeds does not stand in the way.
const HASTY: &str = "[tasks]\nbackoff_base_ms = 100\nbackoff_max_ms = 200\npoll_ms = 100\n\
     [upstreams.feeds]\nattempts = 1\nbreaker_failures = 1000\n";

fn channel(driver: &str) -> String {
    format!("contractor:{PARK}:{driver}")
}

fn pushes(outcome: &str) -> String {
    format!("fleet_communications_pushes_total{{outcome=\"{outcome}\"}}")
}

/// Waits until a push has failed.
async fn has_failed(world: &World) {
    eventually("a push failed", async || world.app.count(&pushes("failed")).await >= 1).await;
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
    world.app.counted(&pushes("sent"), 1).await;
    // What drivers write goes nowhere.
    world.to_park(&driver, "Хорошо").await;
    assert_eq!(tasks(&world).await, 0);
}

#[actix_web::test]
async fn feeds_that_fail_are_asked_until_it_was_shown_once() {
    for (fault, config) in [
        (json!({ "kind": "status", "status": 503, "times": 3 }), ""),
        (json!({ "kind": "close", "times": 3 }), ""),
        (json!({ "kind": "close_after_work", "times": 3 }), ""),
        (json!({ "kind": "garbage", "times": 3 }), ""),
        (json!({ "kind": "hold_after_work", "times": 2 }), "timeout_ms = 1000\n"),
    ] {
        let world = World::with(&format!("{HASTY}{config}")).await;
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
        has_failed(&world).await;
    }
}

#[actix_web::test]
async fn what_was_read_meanwhile_is_not_shown() {
    let world = World::with(HASTY).await;
    let driver = world.known_driver(0);
    world.app.fault("feeds", json!({ "kind": "status", "status": 503 }));
    let message = world.to_driver(&driver, "read").await;
    has_failed(&world).await;
    world.driver(&driver).post("conversation/read", up_to(&message)).await.expect(204);
    // An attempt may be under way that knows nothing of it: feeds refuses until the end.
    eventually("the task is done", async || tasks(&world).await == 0).await;
    assert!(world.app.sandbox.delivered(PARK).is_empty());
    world.app.counted(&pushes("read_before"), 1).await;
}

#[actix_web::test]
async fn a_channel_that_feeds_rejects_is_given_up() {
    let world = World::with(HASTY).await;
    let driver = world.known_driver(0);
    assert!(world.app.sandbox.reject_channel(&channel(&driver), Some("blocked")));
    world.to_driver(&driver, "nowhere").await;
    eventually("the task is done", async || tasks(&world).await == 0).await;
    world.app.counted(&pushes("rejected"), 1).await;
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
