//! What callers see when something is down.

use super::*;
use crate::support::app::NO_DATABASE;

#[actix_web::test]
async fn without_parks_only_first_messages_wait() {
    let world = World::with("[upstreams.parks]\nattempts = 1\nbreaker_failures = 1000\n").await;
    let (begun, new) = (world.known_driver(0), world.known_driver(1));
    world.to_driver(&begun, "1").await;
    for fault in [
        json!({ "kind": "close" }),
        json!({ "kind": "status", "status": 503, "retry_after": 7 }),
        json!({ "kind": "garbage" }),
    ] {
        world.app.fault("parks", fault);
        let reply = world.dispatcher.post(&messages_of(&new), json!({ "text": "1" })).await;
        reply.problem(503, "parks_unavailable");
        assert!(!reply.header("retry-after").is_empty());
        world.to_driver(&begun, "2").await;
        world.to_park(&new, "3").await;
        world.dispatcher.get(&messages_of(&begun)).await.expect(200);
        let clear = "DELETE FROM fleet_communications.messages WHERE text = '3'; \
             DELETE FROM fleet_communications.conversations WHERE contractor_id NOT IN \
               (SELECT contractor_id FROM fleet_communications.messages)";
        world.app.database().execute(clear).await;
    }
    world.app.sandbox.clear_fault("parks");
    world.to_driver(&new, "1").await;
}

#[actix_web::test]
async fn an_answer_of_parks_about_somebody_else_is_no_yes() {
    let world = World::start().await;
    let other = json!({ "driver_profiles": [{ "id": "somebody" }] });
    world.app.fault("parks", json!({ "kind": "answer", "status": 200, "body": other }));
    let reply = world.dispatcher.post(&messages_of("d"), json!({ "text": "1" })).await;
    reply.problem(404, "contractor_not_found");
}

#[actix_web::test]
async fn without_feeds_messages_are_written_all_the_same() {
    let world = World::start().await;
    world.app.fault("feeds", json!({ "kind": "close" }));
    let driver = world.known_driver(0);
    let message = world.to_driver(&driver, "1").await;
    let list = world.driver(&driver).get("conversation/messages").await.expect(200);
    assert_eq!(list["items"][0]["id"], message["id"]);
}

#[actix_web::test]
async fn without_its_database_every_route_says_so() {
    let app = TestApp::builder().domains(&[DOMAIN]).without_database().without_waiting();
    let app = app.config(format!("[database]\nurl = '{NO_DATABASE}'")).start().await;
    let world = World::of(app);
    let text = json!({ "text": "1" });
    let replies = [
        world.driver("d").get("conversation/messages").await,
        world.driver("d").post("conversation/messages", text.clone()).await,
        world.dispatcher.get("conversations").await,
        world.dispatcher.get(EVENTS).await,
        world.dispatcher.post(&messages_of("d"), text).await,
    ];
    for reply in replies {
        reply.problem(503, "domain_unavailable");
    }
}
