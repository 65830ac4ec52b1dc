//! A client that comes back with `Last-Event-ID` misses nothing and sees nothing twice.

use std::time::Duration;

use futures_util::future::{join, join_all};

use super::*;
use crate::support::sse::Event;

fn resumed(caller: &Caller, id: i64) -> Caller {
    caller.header("Last-Event-ID", &id.to_string())
}

fn ids(events: &[Event]) -> Vec<i64> {
    events.iter().map(|event| event.id).collect()
}

#[actix_web::test]
async fn a_stream_goes_on_behind_the_last_event() {
    let world = World::start().await;
    for number in 1..=100 {
        world.to_park("d", &number.to_string()).await;
    }
    let mut events = Events::open(&resumed(&world.dispatcher, 40), EVENTS).await;
    let told = events.take(60).await;
    assert_eq!(ids(&told), (41..=100).collect::<Vec<_>>());
    assert_eq!(told[0].data["message"]["text"], "41");
    world.to_park("d", "101").await;
    assert_eq!(events.next().await.unwrap().id, 101);
    // At the end there is nothing to be caught up.
    let mut events = Events::open(&resumed(&world.dispatcher, 101), EVENTS).await;
    world.to_park("d", "102").await;
    assert_eq!(events.next().await.unwrap().id, 102);
}

#[actix_web::test]
async fn without_an_id_a_stream_begins_now() {
    let world = World::start().await;
    world.to_park("d", "1").await;
    let mut events = world.events().await;
    assert_eq!(events.last_id, Some(1), "a client that is cut off now knows where to go on");
    world.to_park("d", "2").await;
    assert_eq!(events.next().await.unwrap().id, 2);
}

#[actix_web::test]
async fn what_is_no_id_is_refused() {
    let world = World::start().await;
    for id in ["", "x", "-1", "1.5", "9223372036854775808", "0x1"] {
        let reply = world.dispatcher.header("Last-Event-ID", id).get(EVENTS).await;
        reply.problem(400, "invalid_last_event_id");
    }
}

#[actix_web::test]
async fn a_client_behind_what_is_kept_is_told_to_load_anew() {
    let world = World::start().await;
    for number in 1..=5 {
        world.to_park("d", &number.to_string()).await;
    }
    let remove = "DELETE FROM fleet_communications.events WHERE seq <= 3";
    world.app.database().execute(remove).await;
    for (id, expected) in [(1, "reset"), (2, "reset"), (3, "message"), (99, "reset")] {
        let mut events = Events::open(&resumed(&world.dispatcher, id), EVENTS).await;
        let first = events.next().await.unwrap();
        assert_eq!(first.name, expected, "from {id}");
        if expected == "reset" {
            assert_eq!((first.id, first.data), (5, json!({})), "it goes on from now");
        }
    }
    let mut events = Events::open(&resumed(&world.dispatcher, 1), EVENTS).await;
    events.next().await.unwrap();
    world.to_park("d", "6").await;
    assert_eq!(ids(&events.take(1).await), [6]);
    // All gone, and a park that nobody ever wrote to.
    world.app.database().execute("DELETE FROM fleet_communications.events").await;
    let mut events = Events::open(&resumed(&world.dispatcher, 3), EVENTS).await;
    assert_eq!(events.next().await.unwrap().name, "reset");
    let mut events = Events::open(&resumed(&world.stranger, 7), EVENTS).await;
    let first = events.next().await.unwrap();
    assert_eq!((first.name.as_str(), first.id), ("reset", 0));
}

#[actix_web::test]
async fn old_events_are_removed_and_messages_stay() {
    let database = crate::support::database::TestDatabase::create();
    let insert = "INSERT INTO fleet_communications.park_streams VALUES ('park-1', 2502); \
         INSERT INTO fleet_communications.conversations VALUES ('park-1', 'd', 2502, 2502, 0); \
         INSERT INTO fleet_communications.messages (park_id, contractor_id, seq, id, to_park, text, created_at) \
           SELECT 'park-1', 'd', n, gen_random_uuid(), true, 'x', now() FROM generate_series(1, 2502) n; \
         INSERT INTO fleet_communications.events (park_id, seq, contractor_id, kind, created_at) \
           SELECT 'park-1', n, 'd', 'message', now() - make_interval(hours => CASE WHEN n <= 2500 THEN 49 ELSE 47 END) \
           FROM generate_series(1, 2502) n";
    database.execute(insert).await;
    let app = TestApp::builder().domains(&[DOMAIN]).database(database);
    let app = app.config("[fleet_communications.conversations]\nevent_days = 2").start().await;
    let world = World::of(app);
    crate::support::eventually("old events are removed", async || {
        let left = "SELECT count(*) FROM fleet_communications.events";
        world.app.database().count(left).await == 2
    })
    .await;
    let messages = "SELECT count(*) FROM fleet_communications.messages";
    assert_eq!(world.app.database().count(messages).await, 2502);
    let mut events = Events::open(&resumed(&world.dispatcher, 2500), EVENTS).await;
    assert_eq!(ids(&events.take(2).await), [2501, 2502]);
}

#[actix_web::test]
async fn clients_that_come_back_again_and_again_see_every_event_once() {
    const WRITERS: usize = 4;
    const EACH: usize = 25;
    let world = World::start().await;
    let began = world.events().await.last_id.unwrap();
    let writing = join_all((0..WRITERS).map(|writer| {
        let world = &world;
        async move {
            for number in 0..EACH {
                world.to_park(&format!("d-{writer}"), &format!("{writer}-{number}")).await;
            }
        }
    }));
    // Each leaves after a few events, in the middle of what comes.
    let watching = join_all((1..=3).map(|watcher| {
        let world = &world;
        async move {
            let mut seen: Vec<Event> = Vec::new();
            let mut position = began;
            while seen.len() < WRITERS * EACH {
                let caller = resumed(&world.dispatcher, position);
                let mut events = Events::open(&caller, EVENTS).await;
                let left = WRITERS * EACH - seen.len();
                let told = events.take(left.min(watcher * 3)).await;
                position = told.last().unwrap().id;
                seen.extend(told);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            seen
        }
    }));
    let (_, watched) = join(writing, watching).await;
    for seen in watched {
        let total = i64::try_from(WRITERS * EACH).unwrap();
        assert_eq!(ids(&seen), (began + 1..=began + total).collect::<Vec<_>>());
        let mut texts: Vec<_> =
            seen.iter().map(|event| event.data["message"]["text"].to_string()).collect();
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), WRITERS * EACH);
    }
}
