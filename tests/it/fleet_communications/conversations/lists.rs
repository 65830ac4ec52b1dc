//! The park's list of conversations.

use super::*;

#[actix_web::test]
async fn unread_conversations_come_first_then_the_most_recent() {
    let world = World::start().await;
    assert_eq!(world.dispatcher.get("conversations").await.expect(200), json!({ "items": [] }));
    let mut last = json!(null);
    for driver in ["a", "b", "c", "d"] {
        last = world.to_park(driver, "1").await;
    }
    let two = world.to_park("b", "2").await;
    let list = world.dispatcher.get("conversations").await.expect(200);
    assert_eq!(drivers(&list), ["b", "d", "c", "a"]);
    let first = json!({ "contractor_id": "b", "last_message": two, "unread_count": 2 });
    assert_eq!(list["items"][0], first);

    // What was answered is not read by that.
    let answer = world.to_driver("a", "3").await;
    let of_a = world.conversation("a").await;
    assert_eq!((&of_a["last_message"], &of_a["unread_count"]), (&answer, &json!(1)));
    // What was read goes behind what was not.
    world.dispatcher.post("conversations/b/read", up_to(&two)).await.expect(204);
    world.dispatcher.post("conversations/d/read", up_to(&last)).await.expect(204);
    let list = world.dispatcher.get("conversations").await.expect(200);
    assert_eq!(drivers(&list), ["a", "c", "b", "d"]);

    let mut seen = Vec::new();
    let mut next = String::new();
    loop {
        let path = format!("conversations?limit=1{next}");
        let page = world.dispatcher.get(&path).await.expect(200);
        seen.extend(drivers(&page));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        next = format!("&cursor={cursor}");
    }
    assert_eq!(seen, ["a", "c", "b", "d"]);
    world.dispatcher.get("conversations?cursor=x").await.problem(400, "invalid_cursor");
}

#[actix_web::test]
async fn the_list_and_the_messages_are_read_by_index() {
    let world = World::start().await;
    let database = world.app.database();
    database
        .execute(
            "INSERT INTO fleet_communications.park_streams SELECT 'p' || n, 1000 FROM generate_series(1, 50) n; \
             INSERT INTO fleet_communications.conversations (park_id, contractor_id, last_seq, park_unread, driver_unread) \
               SELECT 'p' || p, 'c' || n, n, (n % 10 = 0)::int, 0 FROM generate_series(1, 50) p, generate_series(1, 1000) n; \
             INSERT INTO fleet_communications.messages (park_id, contractor_id, seq, id, to_park, text, created_at) \
               SELECT park_id, contractor_id, last_seq, gen_random_uuid(), true, 'x', now() FROM fleet_communications.conversations; \
             ANALYZE",
        )
        .await;
    let plan = database
        .query(
            "EXPLAIN SELECT * FROM fleet_communications.conversations WHERE park_id = 'p1' \
             AND ((park_unread > 0), last_seq) < (true, 900) \
             ORDER BY (park_unread > 0) DESC, last_seq DESC LIMIT 20",
            &[],
        )
        .await;
    let plan: String = plan.iter().map(|row| row.get::<_, String>(0) + "\n").collect();
    assert!(plan.contains("conversations_listed") && !plan.contains("Sort"), "{plan}");
    let dispatcher = world.app.dispatcher(DOMAIN, "p1");
    let list = dispatcher.get("conversations?limit=101").await.expect(200);
    assert_eq!(drivers(&list)[..2], ["c1000", "c990"]);
    assert_eq!(drivers(&list)[99..], ["c10", "c999"]);
}
