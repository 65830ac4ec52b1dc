//! Nothing of a park is another's, and nothing of a driver another's.

use super::*;

#[actix_web::test]
async fn the_same_driver_id_in_two_parks_is_two_drivers() {
    let world = World::start().await;
    let elsewhere = world.app.driver(DOMAIN, OTHER_PARK, "d");
    let ours = world.to_park("d", "ours").await;
    let theirs = write(&elsewhere, "theirs").await;
    for (dispatcher, driver, message) in
        [(&world.dispatcher, &world.driver("d"), &ours), (&world.stranger, &elsewhere, &theirs)]
    {
        let only = json!({ "items": [message] });
        assert_eq!(driver.get("conversation/messages").await.expect(200), only);
        assert_eq!(dispatcher.get(&messages_of("d")).await.expect(200), only);
        let list = dispatcher.get("conversations").await.expect(200);
        assert_eq!(list["items"][0]["last_message"], *message);
        assert_eq!(list["items"].as_array().unwrap().len(), 1);
    }
    // Another park's message is no message.
    let read = world.dispatcher.post("conversations/d/read", up_to(&theirs)).await;
    read.problem(404, "message_not_found");
    let read = elsewhere.post("conversation/read", up_to(&ours)).await;
    read.problem(404, "message_not_found");
    let list = world.stranger.get("conversations").await.expect(200);
    assert_eq!(list["items"][0]["unread_count"], 1);
}

#[actix_web::test]
async fn another_parks_conversation_is_none() {
    let world = World::start().await;
    let driver = world.known_driver(0);
    world.to_driver(&driver, "ours").await;
    world.stranger.get(&messages_of(&driver)).await.problem(404, "conversation_not_found");
    world.stranger.get(&messages_of("nobody")).await.problem(404, "conversation_not_found");
    let reply = world.stranger.post(&messages_of(&driver), json!({ "text": "theirs" })).await;
    reply.problem(404, "contractor_not_found");
    assert_eq!(world.stranger.get("conversations").await.expect(200), json!({ "items": [] }));
    let other = world.driver(&world.known_driver(1));
    assert_eq!(other.get("conversation/messages").await.expect(200), json!({ "items": [] }));
}

#[actix_web::test]
async fn a_cursor_of_another_park_shows_nothing_of_it() {
    let world = World::start().await;
    for text in ["1", "2", "3"] {
        world.to_park("d", text).await;
    }
    write(&world.app.driver(DOMAIN, OTHER_PARK, "d"), "theirs").await;
    let page = world.dispatcher.get(&format!("{}?limit=1", messages_of("d"))).await.expect(200);
    let cursor = page["next_cursor"].as_str().unwrap();
    let theirs = world.stranger.get(&format!("{}?cursor={cursor}", messages_of("d"))).await;
    theirs.problem(400, "invalid_cursor");
}

#[actix_web::test]
async fn a_stream_tells_of_its_own_park_alone() {
    let world = World::start().await;
    let mut ours = world.events().await;
    let mut theirs = Events::open(&world.stranger, EVENTS).await;
    let elsewhere = world.app.driver(DOMAIN, OTHER_PARK, "d");
    for number in 0..5 {
        write(&elsewhere, &format!("theirs {number}")).await;
        world.to_park("d", &format!("ours {number}")).await;
    }
    for (events, whose) in [(&mut ours, "ours"), (&mut theirs, "theirs")] {
        for (number, event) in events.take(5).await.into_iter().enumerate() {
            assert_eq!(event.data["message"]["text"], format!("{whose} {number}"));
        }
    }
    // Resumed from the beginning, too.
    let caller = world.stranger.header("Last-Event-ID", "0");
    let replayed = Events::open(&caller, EVENTS).await.take(5).await;
    assert!(
        replayed.iter().all(|e| e.data["message"]["text"].as_str().unwrap().starts_with("theirs"))
    );
}

#[actix_web::test]
async fn no_text_is_in_a_task_or_a_metric() {
    let world = World::start().await;
    world.app.fault("feeds", json!({ "kind": "close" }));
    world.to_driver(&world.known_driver(0), "very-personal-text").await;
    let rows = world.app.database().query("SELECT payload::text FROM task_queue.tasks", &[]).await;
    let payloads: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert!(payloads.iter().any(|text| text.contains("message_id")), "{payloads:?}");
    assert!(!payloads.iter().any(|text| text.contains("personal")), "{payloads:?}");
    let metrics = world.app.anonymous().get("metrics").await.text();
    assert!(!metrics.contains("personal") && !metrics.contains(PARK), "{metrics}");
}
