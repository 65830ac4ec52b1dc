//! Event streams: what they tell, their limits, and their end.

use std::time::Instant;

use super::*;
use crate::support::eventually;
use crate::support::raw::unread;

const OPEN: &str = "fleet_communications_event_streams";

async fn open(world: &World) -> i64 {
    let value = world.app.metric(OPEN).await;
    format!("{value:.0}").parse().unwrap()
}

#[actix_web::test]
async fn messages_and_marks_are_told_as_they_happen() {
    let world = World::start().await;
    world.to_park("d", "before").await;
    let mut events = world.events().await;
    let retry = events.retry.expect("a hint");
    assert!((1_000..5_000).contains(&retry), "{retry}");
    let began = events.last_id.unwrap();

    let first = world.to_park("d", "a\nb").await;
    let answer = world.to_driver("d", "c").await;
    world.dispatcher.post("conversations/d/read", up_to(&first)).await.expect(204);
    world.driver("d").post("conversation/read", up_to(&answer)).await.expect(204);

    let told = events.take(4).await;
    let ids: Vec<i64> = told.iter().map(|event| event.id).collect();
    assert_eq!(ids, [began + 1, began + 2, began + 3, began + 4]);
    let names: Vec<&str> = told.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names, ["message", "message", "read", "read"]);
    // A message is told as it is by then: it may have been read.
    let mut told_first = told[0].data.clone();
    told_first["message"].as_object_mut().unwrap().remove("read_at");
    assert_eq!(told_first, message_event("d", &first));
    assert_eq!(told[1].data["message"]["author_id"], answer["author_id"]);
    for (mark, reader, message) in [(2, "park", &first), (3, "driver", &answer)] {
        let data = &told[mark].data;
        assert_eq!(data["contractor_id"], "d");
        assert_eq!(data["reader"], reader);
        assert_eq!(data["up_to_message_id"], message["id"]);
        assert!(data["read_at"].is_string());
    }
}

#[actix_web::test]
async fn a_silent_stream_shows_that_it_lives() {
    let world = World::with("[fleet_communications.conversations]\nheartbeat_ms = 100").await;
    let mut events = world.events().await;
    for _ in 0..3 {
        events.heartbeat().await;
    }
    world.to_park("d", "1").await;
    assert_eq!(events.next().await.unwrap().data["message"]["text"], "1");
}

#[actix_web::test]
async fn a_stream_takes_neither_a_place_nor_a_deadline_of_requests() {
    let world = World::with(
        "[http]\nmax_in_flight = 2\ndefault_timeout_ms = 6000\nmax_timeout_ms = 6000\n\
         [fleet_communications.conversations]\nheartbeat_ms = 300",
    )
    .await;
    let mut streams = Vec::new();
    for _ in 0..4 {
        streams.push(world.events().await);
    }
    let opened = Instant::now();
    for events in &mut streams {
        while opened.elapsed().as_millis() < 6_500 {
            events.heartbeat().await;
        }
    }
    world.to_park("d", "1").await;
    for events in &mut streams {
        assert_eq!(events.next().await.unwrap().name, "message");
    }
}

#[actix_web::test]
async fn streams_are_bounded_and_their_places_come_back() {
    let world = World::with(
        "[fleet_communications.conversations]\nmax_streams = 3\nmax_streams_of_park = 2\n\
         heartbeat_ms = 100",
    )
    .await;
    let ours = [world.events().await, world.events().await];
    let refused = world.dispatcher.get(EVENTS).await;
    refused.problem(503, "overloaded");
    assert!(!refused.header("retry-after").is_empty());
    let theirs = Events::open(&world.stranger, EVENTS).await;
    let third = world.app.dispatcher(DOMAIN, "park-3");
    third.get(EVENTS).await.problem(503, "overloaded");
    assert_eq!(open(&world).await, 3);
    // Other requests are not concerned.
    world.to_park("d", "1").await;

    drop(theirs);
    eventually("a client that left is noticed", async || open(&world).await == 2).await;
    drop(Events::open(&third, EVENTS).await);
    drop(ours);
    eventually("all have left", async || open(&world).await == 0).await;
    let mut again = world.events().await;
    world.to_park("d", "2").await;
    assert_eq!(again.next().await.unwrap().data["message"]["text"], "2");
}

#[actix_web::test]
async fn a_stream_ends_when_it_is_old() {
    let world = World::with("[fleet_communications.conversations]\nstream_max_ms = 1000").await;
    let mut events = world.events().await;
    assert_eq!(events.next().await, None);
    eventually("its place is free", async || open(&world).await == 0).await;
}

#[actix_web::test]
async fn open_streams_do_not_hold_up_the_end() {
    let mut world = World::with("[http]\ngrace_ms = 30000\n").await;
    let mut streams = Vec::new();
    for _ in 0..10 {
        streams.push(world.events().await);
    }
    world.to_park("d", "1").await;
    for events in &mut streams {
        assert_eq!(events.next().await.unwrap().name, "message");
    }
    let stopped = Instant::now();
    world.app.stop();
    let took = stopped.elapsed();
    // The grace is half a minute.
    assert!(took.as_secs() < 15, "{took:?}");
    for events in &mut streams {
        assert_eq!(events.next().await, None, "it ends as it should, not by a reset");
        assert!(events.retry.is_some());
    }
}

#[actix_web::test]
async fn a_client_that_does_not_read_holds_nobody_up() {
    let world = World::with("[http]\nwrite_timeout_ms = 600000\n").await;
    let slow = world.events().await;
    let mut quick = world.events().await;
    // More than the buffers of both sides hold: 16 kB each.
    let long = "\u{1f695}".repeat(4096);
    for number in 0..400 {
        world.to_park("d", &format!("{}{number}", &long[..long.len() - 16])).await;
        let told = quick.next().await.unwrap();
        assert!(told.data["message"]["text"].as_str().unwrap().ends_with(&number.to_string()));
    }
    let mut slow = slow;
    for (number, event) in slow.take(400).await.into_iter().enumerate() {
        assert!(event.data["message"]["text"].as_str().unwrap().ends_with(&number.to_string()));
    }
}

#[actix_web::test]
async fn a_client_that_never_reads_loses_its_place() {
    let world = World::with("[http]\nwrite_timeout_ms = 300\n").await;
    let request = format!(
        "GET /{DOMAIN}/dispatcher/v1/{EVENTS} HTTP/1.1\r\nHost: a\r\n\
         Authorization: Bearer test-dispatcher\r\nX-Park-Id: {PARK}\r\nX-Dispatcher-Id: 1\r\n\r\n"
    );
    let stalled = unread(world.app.addr(), &request).await;
    eventually("it has a place", async || open(&world).await == 1).await;
    // Enough to fill what the kernel holds for it.
    let long = "\u{1f695}".repeat(4096);
    eventually("its place is free", async || {
        world.to_park("d", &long).await;
        open(&world).await == 0
    })
    .await;
    // What is read of its connection may fail for the same reason.
    assert!(world.app.count("http_write_timeouts_total").await >= 1);
    drop(stalled);
}

#[actix_web::test]
async fn the_api_document_tells_of_the_stream() {
    let world = World::start().await;
    let document = world.app.anonymous().get("openapi.json").await.expect(200);
    let path = "/fleet-communications/dispatcher/v1/conversations/events";
    let get = &document["paths"][path]["get"];
    assert!(get["responses"]["200"]["content"]["text/event-stream"].is_object(), "{get}");
    let headers: Vec<&str> =
        get["parameters"].as_array().unwrap().iter().filter_map(|p| p["name"].as_str()).collect();
    assert!(headers.contains(&"Last-Event-ID"), "{headers:?}");
}
