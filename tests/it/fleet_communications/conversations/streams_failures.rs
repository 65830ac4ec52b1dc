//! Streams across instances, and when notifications or the database fail.

use actix_web::rt;
use fleet::sandbox::Sandbox;

use super::*;
use crate::support::PATIENCE;
use crate::support::app::{configuration, start_sandbox};
use crate::support::database::TestDatabase;
use crate::support::eventually;
use crate::support::postgres::Postgres;
use crate::support::process::Server;

/// Only notifications are quick enough to be what wakes a stream here.
const SELDOM: &str = "look_ms = 300000\n";
/// Notifications are not needed.
const OFTEN: &str = "look_ms = 200\n";

/// Processes that share a database and stand-ins.
struct Instances {
    database: TestDatabase,
    sandbox: Sandbox,
}

impl Instances {
    fn make() -> Self {
        Self { database: TestDatabase::create(), sandbox: start_sandbox() }
    }

    async fn start(&self, settings: &str) -> Server {
        let config = configuration(&self.database.url(), &self.sandbox);
        let config = format!(
            "domains = ['{DOMAIN}']\n{config}[fleet_communications.conversations]\n{settings}"
        );
        Server::start(&config, &[]).await
    }
}

fn dispatcher(server: &Server) -> Caller {
    server.anonymous().dispatcher(DOMAIN, PARK)
}

fn driver(server: &Server) -> Caller {
    server.anonymous().driver(DOMAIN, PARK, "d")
}

#[actix_web::test]
async fn what_one_instance_writes_another_tells() {
    let instances = Instances::make();
    let (one, two) = (instances.start(SELDOM).await, instances.start(SELDOM).await);
    let mut events = Events::open(&dispatcher(&one), EVENTS).await;
    for number in 1..=5 {
        let written = write(&driver(&two), &number.to_string()).await;
        let told = events.next().await.unwrap();
        assert_eq!(told.data, message_event("d", &written));
    }
}

#[actix_web::test]
async fn of_an_instance_that_is_killed_its_clients_go_on_at_another() {
    let instances = Instances::make();
    let (one, two) = (instances.start(SELDOM).await, instances.start(SELDOM).await);
    let writing = driver(&two);
    let mut events = Events::open(&dispatcher(&one), EVENTS).await;
    let writer = rt::spawn(async move {
        let mut written = Vec::new();
        for number in 0..60 {
            written.push(write(&writing, &number.to_string()).await["id"].clone());
        }
        written
    });
    let mut seen = events.take(20).await;
    one.signal("KILL");
    while let Some(event) = events.next().await {
        seen.push(event);
    }
    let last = seen.last().unwrap().id;
    let resumed = dispatcher(&two).header("Last-Event-ID", &last.to_string());
    let mut events = Events::open(&resumed, EVENTS).await;
    seen.extend(events.take(60 - seen.len()).await);
    let written = writer.await.unwrap();
    let seen: Vec<Value> = seen.iter().map(|event| event.data["message"]["id"].clone()).collect();
    assert_eq!(seen, written);
}

/// Ends the sessions that listen to notifications, with a message written while nobody does.
async fn while_nobody_listens(world: &World) {
    let database = world.app.database();
    let listening = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE '%LISTEN%'";
    let ping = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE datname = current_database() AND pid <> pg_backend_pid() AND query IN ('SELECT;', 'SELECT')";
    let ended = database.query(listening, &[]).await.len() + database.query(ping, &[]).await.len();
    assert!(ended > 0, "a session listened");
}

#[actix_web::test]
async fn a_lost_notification_is_made_up_for() {
    let world = World::with(&format!("[fleet_communications.conversations]\n{SELDOM}")).await;
    let mut events = world.events().await;
    for number in 1..=5 {
        while_nobody_listens(&world).await;
        world.to_park("d", &number.to_string()).await;
        // When it listens again, it looks for what it may have missed.
        assert_eq!(events.next().await.unwrap().data["message"]["text"], number.to_string());
    }
}

#[actix_web::test]
async fn without_any_notification_streams_look_for_themselves() {
    let world = World::with(&format!("[fleet_communications.conversations]\n{OFTEN}")).await;
    let mut events = world.events().await;
    // As the product writes it, without telling.
    let silent = "WITH s AS (UPDATE fleet_communications.park_streams SET last_seq = last_seq + 1 RETURNING *) \
         INSERT INTO fleet_communications.events (park_id, seq, contractor_id, kind, created_at, by_park, up_to) \
         SELECT park_id, last_seq, 'd', 'read', now(), true, gen_random_uuid() FROM s";
    world.to_park("d", "1").await;
    events.next().await.unwrap();
    for _ in 0..3 {
        world.app.database().execute(silent).await;
        assert_eq!(events.next().await.unwrap().name, "read");
    }
}

#[actix_web::test]
async fn an_open_stream_outlives_a_restart_of_the_database() {
    let mut postgres = Postgres::start().await;
    let config = format!(
        "[database]\nurl = '{}'\nconnect_timeout_ms = 4000\n\
         [fleet_communications.conversations]\nheartbeat_ms = 200\n{SELDOM}",
        postgres.url()
    );
    let app = TestApp::builder().domains(&[DOMAIN]).without_database().config(config).start();
    let world = World::of(app.await);
    let mut events = world.events().await;
    world.to_park("d", "1").await;
    assert_eq!(events.next().await.unwrap().id, 1);

    postgres.stop_at_once();
    let text = json!({ "text": "lost" });
    let refused = world.driver("d").post("conversation/messages", text).await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    world.dispatcher.get(EVENTS).await.problem(503, "database_unavailable");
    events.heartbeat().await;
    events.heartbeat().await;

    postgres.start_again().await;
    eventually("messages are taken again", async || {
        let reply = world.driver("d").post("conversation/messages", json!({ "text": "2" })).await;
        reply.status == 201
    })
    .await;
    let event = tokio::time::timeout(PATIENCE, events.next()).await.unwrap().unwrap();
    assert_eq!((event.id, &event.data["message"]["text"]), (2, &json!("2")));
}

#[actix_web::test]
async fn a_database_that_hangs_does_not_silence_a_stream() {
    let postgres = Postgres::start().await;
    let config = format!(
        "[database]\nurl = '{}'\nconnect_timeout_ms = 4000\n\
         [fleet_communications.conversations]\nheartbeat_ms = 200\nlook_ms = 300\n",
        postgres.url()
    );
    let app = TestApp::builder().domains(&[DOMAIN]).without_database().config(config).start();
    let world = World::of(app.await);
    let mut events = world.events().await;
    world.to_park("d", "1").await;
    assert_eq!(events.next().await.unwrap().id, 1);
    postgres.freeze();
    for _ in 0..5 {
        events.heartbeat().await;
    }
    postgres.thaw();
    eventually("messages are taken again", async || {
        let reply = world.driver("d").post("conversation/messages", json!({ "text": "2" })).await;
        reply.status == 201
    })
    .await;
    assert_eq!(events.next().await.unwrap().id, 2);
}
