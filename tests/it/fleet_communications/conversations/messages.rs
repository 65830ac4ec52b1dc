//! Writing and reading messages.

use super::*;
use crate::support::client::DISPATCHER_ID;

#[actix_web::test]
async fn both_sides_write_and_see_what_was_written() {
    let world = World::start().await;
    let driver = world.driver("d-1");
    driver.get("conversation/messages").await.expect(200);
    let first = world.to_park("d-1", "Где \"деньги\"?\n\u{1f695}").await;
    let answer = world.to_driver("d-1", "Завтра.").await;

    assert_eq!(first["direction"], "to_park");
    assert_eq!(first["text"], "Где \"деньги\"?\n\u{1f695}");
    assert!(first["author_id"].is_null() && first["read_at"].is_null(), "{first}");
    assert_eq!(answer["direction"], "to_driver");
    assert_eq!(answer["author_id"].to_string(), DISPATCHER_ID);
    let created: jiff::Timestamp = answer["created_at"].as_str().unwrap().parse().unwrap();
    assert!(created.duration_until(jiff::Timestamp::now()).abs().as_secs() < 600, "{created}");

    let of_park = world.dispatcher.get(&messages_of("d-1")).await.expect(200);
    assert_eq!(of_park, json!({ "items": [answer, first] }), "the newest first");
    let of_driver = driver.get("conversation/messages").await.expect(200);
    let mut without_author = answer.clone();
    without_author.as_object_mut().unwrap().remove("author_id");
    assert_eq!(of_driver, json!({ "items": [without_author, first] }));
}

#[actix_web::test]
async fn a_dispatcher_begins_only_with_a_driver_of_the_park() {
    let world = World::start().await;
    let calls = || world.app.sandbox.calls("parks", "POST /v1/driver-profiles/list");
    let known = world.known_driver(0);
    world.to_driver(&known, "Здравствуйте").await;
    assert_eq!(calls(), 1);
    world.to_driver(&known, "Ещё раз").await;
    assert_eq!(calls(), 1, "the conversation is there: nobody is asked");

    let text = json!({ "text": "Здравствуйте" });
    let of_other_park = world.app.sandbox.driver_ids(OTHER_PARK)[0].clone();
    for unknown in ["nobody", &of_other_park] {
        let reply = world.dispatcher.post(&messages_of(unknown), text.clone()).await;
        reply.problem(404, "contractor_not_found");
    }
    let list = world.dispatcher.get("conversations").await.expect(200);
    assert_eq!(drivers(&list), [known]);
    assert_eq!(tasks(&world).await, 0, "nothing is pushed to them");

    world.to_park("nobody", "Я есть").await;
    world.to_driver("nobody", "Теперь да").await;
}

/// Pushes that were enqueued and are not done, dead ones included.
async fn tasks(world: &World) -> i64 {
    let known = world.known_driver(0);
    let others = format!(
        "SELECT count(*) FROM task_queue.tasks WHERE kind LIKE '%push%' \
         AND payload->>'contractor_id' <> '{known}'"
    );
    world.app.database().count(&others).await
}

#[actix_web::test]
async fn what_is_no_message_is_refused() {
    let world = World::start().await;
    let driver = world.driver("d-1");
    let long = "я".repeat(4097);
    for text in ["", " \n\t", "a\0b", &long] {
        let body = json!({ "text": text });
        driver.post("conversation/messages", body.clone()).await.invalid_at("/text");
        world.dispatcher.post(&messages_of("d-1"), body).await.invalid_at("/text");
    }
    for (body, pointer) in [
        (json!({}), ""),
        (json!({ "text": 1 }), "/text"),
        (json!({ "text": "a", "author_id": 1 }), "/author_id"),
    ] {
        driver.post("conversation/messages", body).await.invalid_at(pointer);
    }
    let longest = "я".repeat(4096);
    assert_eq!(world.to_park("d-1", &longest).await["text"], longest.as_str());
    assert_eq!(world.to_driver("d-1", &longest).await["text"], longest.as_str());
    let bad = world.dispatcher.get("conversations/%D1%8F/messages").await;
    bad.problem(404, "not_found");
}

#[actix_web::test]
async fn messages_come_in_pages() {
    let world = World::start().await;
    let driver = world.driver("d-1");
    for number in 0..7 {
        world.to_park("d-1", &number.to_string()).await;
        world.to_park("d-2", "of another").await;
    }
    for (caller, path) in
        [(&driver, "conversation/messages".to_owned()), (&world.dispatcher, messages_of("d-1"))]
    {
        let mut seen = Vec::new();
        let mut next = String::new();
        loop {
            let page = caller.get(&format!("{path}?limit=3{next}")).await.expect(200);
            seen.push(texts(&page));
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            next = format!("&cursor={cursor}");
        }
        assert_eq!(seen, [vec!["6", "5", "4"], vec!["3", "2", "1"], vec!["0"]]);
        let exact = caller.get(&format!("{path}?limit=7")).await.expect(200);
        assert!(exact["next_cursor"].is_null(), "{exact}");
    }
    // A message that comes meanwhile moves no page.
    let page = driver.get("conversation/messages?limit=3").await.expect(200);
    world.to_park("d-1", "7").await;
    let cursor = page["next_cursor"].as_str().unwrap();
    let page = driver.get(&format!("conversation/messages?limit=3&cursor={cursor}")).await;
    assert_eq!(texts(&page.expect(200)), ["3", "2", "1"]);
    // A cursor is of one conversation.
    let other = world.driver("d-2");
    let reply = other.get(&format!("conversation/messages?cursor={cursor}")).await;
    reply.problem(400, "invalid_cursor");
    for bad in ["cursor=x", "limit=0", "limit=1001", "page=2"] {
        assert_eq!(driver.get(&format!("conversation/messages?{bad}")).await.status, 400, "{bad}");
    }
}

#[actix_web::test]
async fn a_page_of_long_messages_ends_early() {
    let world = World::start().await;
    // 16 kB each.
    let long = "\u{1f695}".repeat(4096);
    for _ in 0..70 {
        world.to_park("d-1", &long).await;
    }
    let driver = world.driver("d-1");
    let page = driver.get("conversation/messages?limit=1000").await;
    assert!(page.body.len() < 1_200_000, "{}", page.body.len());
    let page = page.expect(200);
    let first = texts(&page).len();
    assert!((60..70).contains(&first), "{first}");
    let cursor = page["next_cursor"].as_str().expect("more");
    let rest = driver.get(&format!("conversation/messages?limit=1000&cursor={cursor}")).await;
    let rest = rest.expect(200);
    assert_eq!(first + texts(&rest).len(), 70);
    assert!(rest["next_cursor"].is_null());
}

#[actix_web::test]
async fn messages_are_counted_by_direction() {
    let world = World::start().await;
    world.to_park("d-1", "1").await;
    world.to_park("d-1", "2").await;
    let keyed = world.dispatcher.header("Idempotency-Key", "k");
    for _ in 0..3 {
        keyed.post(&messages_of("d-1"), json!({ "text": "3" })).await.expect(201);
    }
    for (direction, count) in [("to_park", 2.0), ("to_driver", 1.0)] {
        let series = format!("fleet_communications_messages_total{{direction=\"{direction}\"}}");
        assert!((world.app.metric(&series).await - count).abs() < 0.1, "{series}");
    }
}
