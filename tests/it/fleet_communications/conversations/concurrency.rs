//! Counters and numbers stay exact when many write and read at once.

use futures_util::future::{join, join_all};

use super::*;
use crate::support::eventually;

#[actix_web::test]
async fn counters_are_exact_and_numbers_have_no_gaps() {
    let world = World::start().await;
    let writers = (0..4).map(|writer| {
        let world = &world;
        async move {
            for number in 0..10 {
                let driver = format!("d-{}", (writer + number) % 3);
                let message = world.to_park(&driver, "x").await;
                if number % 3 == 0 {
                    let path = format!("conversations/{driver}/read");
                    world.dispatcher.post(&path, up_to(&message)).await.expect(204);
                }
                if number % 4 == 0 {
                    let answer = world.to_driver(&driver, "y").await;
                    world
                        .driver(&driver)
                        .post("conversation/read", up_to(&answer))
                        .await
                        .expect(204);
                }
            }
        }
    });
    // Repeated marks of the same messages run into each other.
    let marks = async {
        for _ in 0..10 {
            let list = world.dispatcher.get("conversations").await.expect(200);
            let marks = list["items"].as_array().unwrap().iter().flat_map(|item| {
                let path =
                    format!("conversations/{}/read", item["contractor_id"].as_str().unwrap());
                let mark = up_to(&item["last_message"]);
                (0..3).map(move |_| (path.clone(), mark.clone()))
            });
            let posts = marks.map(|(path, mark)| {
                let dispatcher = &world.dispatcher;
                async move { dispatcher.post(&path, mark).await.expect(204) }
            });
            join_all(posts).await;
        }
    };
    join(join_all(writers), marks).await;

    let database = world.app.database();
    let wrong = "SELECT count(*) FROM fleet_communications.conversations c WHERE (park_unread, driver_unread) <> \
         (SELECT count(*) FILTER (WHERE to_park), count(*) FILTER (WHERE NOT to_park) \
          FROM fleet_communications.messages m WHERE m.park_id = c.park_id \
          AND m.contractor_id = c.contractor_id AND read_at IS NULL)";
    assert_eq!(database.count(wrong).await, 0, "counters");
    let last = "SELECT count(*) FROM fleet_communications.conversations c WHERE last_seq <> \
         (SELECT max(seq) FROM fleet_communications.messages m WHERE m.park_id = c.park_id \
          AND m.contractor_id = c.contractor_id)";
    assert_eq!(database.count(last).await, 0, "last messages");
    let gaps = "SELECT (max(seq) - count(*)) + (min(seq) - 1) + \
         ((SELECT last_seq FROM fleet_communications.park_streams) - max(seq)) \
         FROM fleet_communications.events";
    assert_eq!(database.count(gaps).await, 0, "numbers");
    let messages = "SELECT count(*) FROM fleet_communications.messages";
    assert_eq!(database.count(messages).await, 4 * 10 + 4 * 3);

    // Everything is read in the end.
    let list = world.dispatcher.get("conversations").await.expect(200);
    for item in list["items"].as_array().unwrap() {
        let path = format!("conversations/{}/read", item["contractor_id"].as_str().unwrap());
        world.dispatcher.post(&path, up_to(&item["last_message"])).await.expect(204);
    }
    let unread = "SELECT sum(park_unread)::bigint FROM fleet_communications.conversations";
    assert_eq!(database.count(unread).await, 0);
}

#[actix_web::test]
async fn a_park_whose_writer_is_slow_does_not_hold_up_another() {
    let world = World::start().await;
    world.to_park("d", "1").await;
    let mut holder = world.app.database().connect().await;
    let held = holder.transaction().await.unwrap();
    let lock =
        "SELECT 1 FROM fleet_communications.park_streams WHERE park_id = 'park-1' FOR UPDATE";
    held.execute(lock, &[]).await.unwrap();
    let hasty = world.driver("d").header("X-Request-Timeout-Ms", "300");
    let stuck = hasty.post("conversation/messages", json!({ "text": "2" })).await;
    assert!([503, 504].contains(&stuck.status), "{}", stuck.text());
    write(&world.app.driver(DOMAIN, OTHER_PARK, "d"), "meanwhile").await;
    // Whoever only reads, or repeats a mark, does not wait either.
    world.driver("d").get("conversation/messages").await.expect(200);
    held.rollback().await.unwrap();
    let list = world.dispatcher.get(&messages_of("d")).await.expect(200);
    assert_eq!(texts(&list), ["1"], "what was refused left nothing");
}

/// Whoever removes old messages takes their park's stream first. A mark that did it the other way round would be
/// ended by PostgreSQL now and then, or end the other.
#[actix_web::test]
async fn a_mark_that_waits_for_its_park_holds_no_message() {
    let world = World::start().await;
    let message = world.to_park("d", "x").await;
    let database = world.app.database();
    let mut other = database.connect().await;
    let cleaner = other.transaction().await.unwrap();
    let stream = "SELECT FROM fleet_communications.park_streams FOR UPDATE";
    cleaner.batch_execute(stream).await.unwrap();
    let cleans = async {
        let waits = "SELECT count(*) FROM pg_stat_activity \
             WHERE datname = current_database() AND wait_event_type = 'Lock'";
        eventually("the mark waits", async || database.count(waits).await == 1).await;
        let messages = "SELECT FROM fleet_communications.messages FOR UPDATE NOWAIT";
        cleaner.batch_execute(messages).await.expect("nobody holds a message");
        cleaner.commit().await.unwrap();
    };
    let mark = world.dispatcher.post("conversations/d/read", up_to(&message));
    let (reply, ()) = join(mark, cleans).await;
    reply.expect(204);
    assert_eq!(world.conversation("d").await["unread_count"], 0);
}
