//! The process starts and ends as an operator's tools expect.

use std::time::{Duration, Instant};

use actix_web::http::Method;
use fleet::sandbox::Sandbox;
use futures_util::future::{join, join_all};
use serde_json::json;

use super::{DOMAIN, PARK, order_of, passenger};
use crate::support::app::{NO_DATABASE, configuration, start_sandbox};
use crate::support::client::Caller;
use crate::support::database::TestDatabase;
use crate::support::eventually;
use crate::support::process::{Server, run};
use crate::support::{PATIENCE, STALL};

/// What a process may take beyond its bounds on a busy machine.
const SLACK: Duration = STALL;

/// What a process under test needs, and how it is called.
struct World {
    database: TestDatabase,
    sandbox: Sandbox,
}

impl World {
    fn make() -> Self {
        Self { database: TestDatabase::create(), sandbox: start_sandbox() }
    }

    fn config(&self, more: &str) -> String {
        // Sections of ours are in the text already: keys are added to them.
        let text = configuration(&self.database.url(), &self.sandbox);
        text.replacen("grace_ms = 5000\n", more, 1)
    }
}

fn dispatcher(server: &Server) -> Caller {
    server.anonymous().dispatcher(DOMAIN, PARK)
}

fn internal(server: &Server) -> Caller {
    server.anonymous().internal(DOMAIN)
}

async fn in_flight(server: &Server, count: usize) {
    let line = format!("\nhttp_requests_in_flight {count}\n");
    eventually("the requests are under way", async || {
        server.anonymous().get("metrics").await.text().contains(&line)
    })
    .await;
}

#[actix_web::test]
async fn at_sigterm_readiness_goes_first_and_running_requests_are_served() {
    let world = World::make();
    let config =
        world.config("drain_ms = 8000\ngrace_ms = 5000\n").replacen("drain_ms = 0\n", "", 1);
    let mut server =
        Server::start(&config, &[("FLEET__UPSTREAMS__PERSONAL__TIMEOUT_MS", "20000")]).await;
    let fault = json!({"kind": "delay", "ms": 9000, "route": "/phones/find"});
    world.sandbox.set_fault("personal", fault).unwrap();
    let caller = dispatcher(&server);
    let slow = caller.post("customers/find-by-phone", json!({"phone": "+79990000001"}));
    let stop = async {
        in_flight(&server, 1).await;
        let signalled = Instant::now();
        server.signal("TERM");
        eventually("/readyz says that it stops", async || {
            let ready = server.anonymous().get("readyz").await;
            ready.status == 503 && ready.json()["status"] == "stopping"
        })
        .await;
        // Balancers have not noticed yet: what they send is still served.
        dispatcher(&server).get("customers").await.expect(200);
        assert_eq!(server.anonymous().get("livez").await.status, 200);
        assert!(signalled.elapsed() < Duration::from_secs(8), "{:?}", signalled.elapsed());
        signalled
    };
    let (reply, signalled) = join(slow, stop).await;
    reply.problem(404, "customer_not_found");
    let ended = server.wait(PATIENCE).await.expect("it ends");
    assert_eq!(ended.code(), Some(0), "{}", server.output());
    assert!(signalled.elapsed() < Duration::from_secs(13) + SLACK, "{:?}", signalled.elapsed());
    let refused = server.anonymous().try_send(Method::GET, "livez", None).await;
    assert!(refused.is_err(), "nobody listens any more");
}

#[actix_web::test]
async fn a_request_that_outlasts_the_grace_is_cut_and_the_process_ends() {
    let world = World::make();
    let config = world.config("grace_ms = 1000\n");
    let mut server =
        Server::start(&config, &[("FLEET__UPSTREAMS__PERSONAL__TIMEOUT_MS", "60000")]).await;
    world.sandbox.set_fault("personal", json!({"kind": "hang"})).unwrap();
    let caller = dispatcher(&server);
    let body = Some(json!({"phone": "+79990000001"}).to_string());
    let hanging = caller.try_send(Method::POST, "customers/find-by-phone", body);
    let stop = async {
        in_flight(&server, 1).await;
        let signalled = Instant::now();
        server.signal("TERM");
        signalled
    };
    let (cut, signalled) = join(hanging, stop).await;
    assert!(cut.is_err(), "{cut:?}");
    let ended = server.wait(PATIENCE).await.expect("it ends");
    assert_eq!(ended.code(), Some(0), "{}", server.output());
    let took = signalled.elapsed();
    assert!(
        took >= Duration::from_millis(900) && took < Duration::from_secs(1) + SLACK,
        "{took:?}"
    );
}

#[actix_web::test]
async fn idle_connections_and_silent_ones_do_not_hold_the_end_up() {
    let world = World::make();
    let mut server = Server::start(&world.config("grace_ms = 15000\n"), &[]).await;
    let idle = server.anonymous();
    idle.get("livez").await;
    let silent = tokio::net::TcpStream::connect(server.addr()).await.unwrap();
    let signalled = Instant::now();
    server.signal("INT");
    let ended = server.wait(PATIENCE).await.expect("it ends");
    assert_eq!(ended.code(), Some(0), "{}", server.output());
    assert!(signalled.elapsed() < 2 * SLACK, "{:?}", signalled.elapsed());
    drop(silent);
}

#[actix_web::test]
async fn a_process_without_its_database_stops_in_time_too() {
    let world = World::make();
    let gone = [("FLEET__DATABASE__URL", NO_DATABASE), ("FLEET__DOMAINS", "fleet-customers")];
    let mut server = Server::spawn(&world.config("grace_ms = 1000\n"), &gone);
    server.wait_for("readyz", 503).await;
    let signalled = Instant::now();
    server.signal("TERM");
    let ended = server.wait(PATIENCE).await.expect("it ends");
    assert_eq!(ended.code(), Some(0), "{}", server.output());
    assert!(signalled.elapsed() < 2 * SLACK, "{:?}", signalled.elapsed());
}

#[actix_web::test]
async fn calls_repeated_with_their_keys_after_a_kill_take_effect_once_each() {
    const PASSENGERS: usize = 5;
    const KEYS: usize = 1_000;
    let world = World::make();
    let config = world.config("grace_ms = 5000\n");
    let mut server = Server::start(&config, &[]).await;

    let answered = std::cell::Cell::new(0);
    let call = async |internal: &Caller, key: usize| {
        let internal = internal.header("Idempotency-Key", &format!("key-{key}"));
        let body = Some(order_of(&passenger(key % PASSENGERS)).to_string());
        let reply = internal.try_send(Method::POST, "customers/upsert", body).await;
        answered.set(answered.get() + usize::from(reply.is_ok()));
        reply
    };
    let caller = internal(&server);
    let storm = join_all((0..KEYS).map(|key| call(&caller, key)));
    let kill = async {
        eventually("some were answered", async || answered.get() > KEYS / 20).await;
        server.signal("KILL");
    };
    let (storm, ()) = join(storm, kill).await;
    let first: Vec<Option<serde_json::Value>> = storm
        .into_iter()
        .map(|reply| reply.ok().filter(|reply| reply.status == 200).map(|reply| reply.json()))
        .collect();
    assert!(first.iter().any(Option::is_none), "all were answered before the kill");
    assert!(server.wait(PATIENCE).await.is_some());

    let server = Server::start(&config, &[]).await;
    let caller = internal(&server);
    let again = join_all((0..KEYS).map(async |key| {
        let last = std::cell::RefCell::new(None);
        eventually("the call succeeds", async || {
            let reply = call(&caller, key).await.expect("an answer");
            // The killed process's transaction may still hold the key, and all call at once.
            assert!(matches!(reply.status, 200 | 409 | 503 | 504), "{}", reply.text());
            let done = reply.status == 200;
            *last.borrow_mut() = Some(reply.json());
            done
        })
        .await;
        last.into_inner().expect("an answer")
    }))
    .await;
    for (first, again) in first.iter().zip(&again) {
        if let Some(first) = first {
            assert_eq!(first, again, "a repeated call is answered as the first was");
        }
    }
    for number in 0..PASSENGERS {
        let counted = format!(
            "SELECT orders_count::bigint FROM fleet_customers.customers \
             WHERE fleet_platform.readable_id(personal_phone_id) = '{}'",
            passenger(number)
        );
        let expected = i64::try_from(KEYS / PASSENGERS).unwrap();
        assert_eq!(world.database.count(&counted).await, expected, "{number}");
    }
}

#[actix_web::test]
async fn the_probe_says_whether_the_server_answers() {
    let world = World::make();
    let config = world.config("");
    let mut server = Server::start(&config, &[]).await;
    let listen = server.addr().to_string();
    let probe = |arguments: &[&str]| run(arguments, &config, &[("FLEET__HTTP__LISTEN", &listen)]);
    for arguments in [&["probe"][..], &["probe", "--ready"]] {
        let ended = probe(arguments);
        assert_eq!((ended.code(), ended.output().as_str()), (Some(0), ""), "{arguments:?}");
    }
    // Without its database it lives, and takes no requests.
    let without = configuration(NO_DATABASE, &world.sandbox);
    let mut unready = Server::spawn(&without, &[("FLEET__DOMAINS", DOMAIN)]);
    unready.wait_for("livez", 200).await;
    let other = unready.addr().to_string();
    let ready = run(&["probe", "--ready"], &without, &[("FLEET__HTTP__LISTEN", &other)]);
    assert_eq!(ready.code(), Some(1));
    assert!(ready.output().contains("503"), "{}", ready.output());
    server.signal("KILL");
    server.wait(PATIENCE).await;
    let gone = probe(&["probe"]);
    assert_eq!(gone.code(), Some(1));
    assert!(gone.output().contains("nobody answers"), "{}", gone.output());
}
