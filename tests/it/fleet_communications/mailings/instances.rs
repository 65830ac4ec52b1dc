//! Several instances, and one that is killed.

use super::*;
use crate::support::app::{configuration, start_sandbox};
use crate::support::database::TestDatabase;
use crate::support::process::Server;

const DRIVERS: usize = 3_000;

fn dispatcher(server: &Server) -> Caller {
    server.anonymous().dispatcher(DOMAIN, PARK)
}

#[actix_web::test]
async fn a_killed_instances_mailing_is_taken_over_and_nobody_is_left_out_or_told_twice() {
    let (database, sandbox) = (TestDatabase::create(), start_sandbox());
    sandbox.set_park(PARK, json!({"drivers": DRIVERS})).unwrap();
    // The second answer does not come, but its work is done: whoever is killed meanwhile has handed
    // over and does not know.
    let pass = json!({"kind": "delay", "ms": 1, "times": 1});
    sandbox.set_fault("feeds", json!([pass, {"kind": "hold_after_work"}])).unwrap();
    let config = configuration(&database.url(), &sandbox);
    let env = [
        ("FLEET__DOMAINS", DOMAIN),
        ("FLEET__TASKS__LEASE_MS", "1000"),
        ("FLEET__TASKS__POLL_MS", "50"),
        ("FLEET__TASKS__BACKOFF_BASE_MS", "20"),
    ];
    let first = Server::start(&config, &env).await;
    let order = json!({"message": "Hi {first_name}", "filter": {}});
    let ordered = dispatcher(&first).post("mailings", order).await.expect(202);
    let id = id_of(&ordered, "mailing_id");
    eventually("it goes out", async || {
        number(&mailing(&dispatcher(&first), &id).await["recipients"]["sent"]) > 0
            && sandbox.delivered_counts(None).requests > 1
    })
    .await;
    drop(first);
    sandbox.clear_fault("feeds");
    let held = sandbox.delivered_counts(None).drivers;
    assert!((1..DRIVERS).contains(&held), "it was killed too late: {held}");
    let second = Server::start(&config, &env).await;
    let sent = becomes(&dispatcher(&second), &id, "sent").await;
    assert_eq!(sent["recipients"], recipients(DRIVERS, DRIVERS, 0));
    let counts = sandbox.delivered_counts(Some(PARK));
    assert_eq!((counts.drivers, counts.deliveries), (DRIVERS, DRIVERS as u64));
    assert_eq!((counts.doubled, counts.mismatches), (0, 0));
    let metrics = second.anonymous().get("metrics").await.text();
    let rescued = metrics.contains("tasks_rescued_total{queue=\"mailings\"} 1");
    assert!(rescued || requests_repeated(&sandbox), "it was killed in between");
}

/// Whether a chunk was handed over more than once.
fn requests_repeated(sandbox: &fleet::sandbox::Sandbox) -> bool {
    let requests = sandbox.delivered_counts(None).requests as u64;
    sandbox.calls("feeds", "POST /v1/feeds/create") > requests
}

#[actix_web::test]
async fn two_instances_send_many_mailings_once_each() {
    const MAILINGS: usize = 8;
    let (database, sandbox) = (TestDatabase::create(), start_sandbox());
    sandbox.set_park(PARK, json!({"drivers": 1_100})).unwrap();
    let config = configuration(&database.url(), &sandbox);
    let env = [
        ("FLEET__DOMAINS", DOMAIN),
        ("FLEET__TASKS__QUEUES__MAILINGS", "2"),
        ("FLEET__TASKS__POLL_MS", "50"),
    ];
    let servers = [Server::start(&config, &env).await, Server::start(&config, &env).await];
    let dispatchers = servers.each_ref().map(dispatcher);
    let mut ids = Vec::new();
    for number in 0..MAILINGS {
        let order = json!({"message": format!("mailing {number}"), "filter": {}});
        let ordered = dispatchers[number % 2].post("mailings", order).await.expect(202);
        ids.push(id_of(&ordered, "mailing_id"));
    }
    for (number, id) in ids.iter().enumerate() {
        let sent = becomes(&dispatchers[(number + 1) % 2], id, "sent").await;
        assert_eq!(sent["recipients"], recipients(1_100, 1_100, 0));
    }
    let counts = sandbox.delivered_counts(Some(PARK));
    assert_eq!(counts.deliveries, (MAILINGS * 1_100) as u64);
    assert_eq!((counts.doubled, counts.mismatches, counts.requests), (0, 0, MAILINGS * 2));
}
