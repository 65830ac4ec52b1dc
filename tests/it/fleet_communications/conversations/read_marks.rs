//! Read marks of both sides.

use super::*;

#[actix_web::test]
async fn a_mark_reads_what_the_other_side_wrote_up_to_it() {
    let world = World::start().await;
    let first = world.to_park("d", "1").await;
    let second = world.to_park("d", "2").await;
    let answer = world.to_driver("d", "3").await;
    let third = world.to_park("d", "4").await;
    world.dispatcher.post("conversations/d/read", up_to(&second)).await.expect(204);

    let of_driver = world.driver("d").get("conversation/messages").await.expect(200);
    let read: Vec<bool> =
        of_driver["items"].as_array().unwrap().iter().map(|m| m["read_at"].is_string()).collect();
    assert_eq!(read, [false, false, true, true], "{of_driver}");
    assert_eq!(world.conversation("d").await["unread_count"], 1);

    // One's own messages are read by the other.
    world.dispatcher.post("conversations/d/read", up_to(&answer)).await.expect(204);
    assert_eq!(world.conversation("d").await["unread_count"], 1);
    world.driver("d").post("conversation/read", up_to(&third)).await.expect(204);
    let of_park = world.dispatcher.get(&messages_of("d")).await.expect(200);
    let read_at = |list: &Value, id: &Value| {
        let items = list["items"].as_array().unwrap();
        items.iter().find(|message| message["id"] == *id).unwrap()["read_at"].clone()
    };
    assert!(read_at(&of_park, &answer["id"]).is_string(), "{of_park}");
    assert!(read_at(&of_park, &third["id"]).is_null(), "{of_park}");

    // Neither a repeated mark nor an earlier one changes anything.
    let before = (of_park.clone(), world.conversation("d").await);
    for mark in [&first, &second, &answer] {
        world.dispatcher.post("conversations/d/read", up_to(mark)).await.expect(204);
        world.driver("d").post("conversation/read", up_to(mark)).await.expect(204);
    }
    let after = world.dispatcher.get(&messages_of("d")).await.expect(200);
    assert_eq!((after, world.conversation("d").await), before);
    let events = "SELECT count(*) FROM fleet_communications.events WHERE kind = 'read'";
    assert_eq!(world.app.database().count(events).await, 2, "nor is it told");
}

#[actix_web::test]
async fn a_mark_at_no_message_of_the_conversation_is_refused() {
    let world = World::start().await;
    let message = world.to_park("d", "1").await;
    let nowhere = json!({ "up_to_message_id": "01890a5d-ac96-774b-bcce-b302099a8057" });
    let (of_d, of_e) = ("conversations/d/read", "conversations/e/read");
    let not_found = "message_not_found";
    world.dispatcher.post(of_d, nowhere.clone()).await.problem(404, not_found);
    world.dispatcher.post(of_e, up_to(&message)).await.problem(404, not_found);
    world.stranger.post(of_d, up_to(&message)).await.problem(404, not_found);
    let other = world.driver("e");
    other.post("conversation/read", up_to(&message)).await.problem(404, not_found);
    for body in [json!({}), json!({ "up_to_message_id": "x" }), json!({ "up_to_message_id": 1 })] {
        assert_eq!(world.dispatcher.post(of_d, body).await.status, 400);
    }
    assert_eq!(world.conversation("d").await["unread_count"], 1);
}
