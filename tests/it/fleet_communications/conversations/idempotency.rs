//! `Idempotency-Key` on the routes that write.

use futures_util::future::join_all;

use super::*;

#[actix_web::test]
async fn a_repeated_message_is_written_once() {
    let world = World::start().await;
    let known = world.known_driver(0);
    let (path, hello) = (messages_of(&known), json!({ "text": "1" }));
    let dispatcher = world.dispatcher.header("Idempotency-Key", "k");
    let first = dispatcher.post(&path, hello.clone()).await.expect(201);
    // Neither parks nor feeds is needed again.
    world.app.fault("parks", json!({ "kind": "close" }));
    for _ in 0..2 {
        assert_eq!(dispatcher.post(&path, hello.clone()).await.expect(201), first);
    }
    dispatcher.post(&path, json!({ "text": "2" })).await.problem(422, "idempotency_key_reused");

    let driver = world.driver(&known).header("Idempotency-Key", "k");
    let second = driver.post("conversation/messages", hello.clone()).await.expect(201);
    assert_eq!(driver.post("conversation/messages", hello).await.expect(201), second);
    let list = world.dispatcher.get(&path).await.expect(200);
    assert_eq!(list["items"], json!([second, first]));
    assert_eq!(world.conversation(&known).await["unread_count"], 1);
}

#[actix_web::test]
async fn drivers_of_a_park_do_not_share_their_keys() {
    let world = World::start().await;
    let body = json!({ "text": "same" });
    let mut answers = Vec::new();
    for driver in ["d-1", "d-2"] {
        let driver = world.driver(driver).header("Idempotency-Key", "k");
        answers.push(driver.post("conversation/messages", body.clone()).await.expect(201));
    }
    assert_ne!(answers[0]["id"], answers[1]["id"]);
    for (driver, answer) in ["d-1", "d-2"].into_iter().zip(answers) {
        let list = world.driver(driver).get("conversation/messages").await.expect(200);
        assert_eq!(list["items"], json!([answer]));
    }
}

#[actix_web::test]
async fn of_many_at_once_under_one_key_one_is_written() {
    let world = World::start().await;
    let driver = world.driver("d").header("Idempotency-Key", "k");
    let calls = (0..30).map(|_| driver.post("conversation/messages", json!({ "text": "1" })));
    let mut answers = Vec::new();
    for reply in join_all(calls).await {
        match reply.status {
            201 => answers.push(reply.json()),
            _ => drop(reply.problem(409, "idempotency_key_in_progress")),
        }
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]) && !answers.is_empty());
    let list = world.driver("d").get("conversation/messages").await.expect(200);
    assert_eq!(list["items"], json!([answers[0]]));
}
