//! Names go from parks to feeds and stay nowhere in between: in no table, no log, no metric.

use super::*;
use crate::support::PATIENCE;
use crate::support::app::{configuration, start_sandbox};
use crate::support::database::TestDatabase;
use crate::support::process::Server;

const NAME: &str = "Marker-Of-A-Name";
const MESSAGE: &str = "marker-of-a-message {first_name}";
const DRIVERS: usize = 120;

async fn nothing_is_kept_at(level: &str) {
    let (database, sandbox) = (TestDatabase::create(), start_sandbox());
    sandbox.set_park(PARK, json!({"drivers": DRIVERS})).unwrap();
    for id in &sandbox.driver_ids(PARK)[..50] {
        sandbox.set_driver(PARK, id, json!({"first_name": NAME})).unwrap();
    }
    let config = configuration(&database.url(), &sandbox);
    let env = [
        ("FLEET__DOMAINS", DOMAIN),
        ("FLEET__TELEMETRY__LOG", level),
        ("FLEET__TASKS__POLL_MS", "50"),
        ("FLEET__TASKS__BACKOFF_BASE_MS", "20"),
        ("FLEET__UPSTREAMS__FEEDS__BREAKER_FAILURES", "1000000"),
        ("FLEET__UPSTREAMS__PARKS__BREAKER_FAILURES", "1000000"),
    ];
    let mut server = Server::start(&config, &env).await;
    let root = server.anonymous();
    let dispatcher = root.dispatcher(DOMAIN, PARK);
    for kind in ["close_after_work", "truncate", "garbage"] {
        let fault = json!({"kind": kind, "times": 2});
        sandbox.set_fault("feeds", fault.clone()).unwrap();
        sandbox.set_fault("parks", fault).unwrap();
        dispatcher.post("mailings/preview", json!({"filter": {}})).await;
        let order = dispatcher.header("Idempotency-Key", kind);
        let order = order.post("mailings", json!({"message": MESSAGE, "filter": {}})).await;
        becomes(&dispatcher, &id_of(&order.expect(202), "mailing_id"), "sent").await;
    }
    let shown = dispatcher.post("mailings/preview", json!({"filter": {}})).await.expect(200);
    assert_eq!(shown["sample"][0]["first_name"], NAME, "names do come from parks");
    let (_, body) = sandbox.last_request("feeds", "create").unwrap();
    assert!(String::from_utf8(body.to_vec()).unwrap().contains("marker-of-a-message"));
    let metrics = root.get("metrics").await.text();
    let stored = database.dump().await;
    server.signal("TERM");
    assert!(server.wait(PATIENCE).await.is_some());
    assert!(stored.contains("marker-of-a-message"), "the dump shows what is there");
    let output = server.output();
    for (what, text) in [("tables", &stored), ("log", &output), ("metrics", &metrics)] {
        let lines: Vec<&str> = text.lines().filter(|line| line.contains(NAME)).collect();
        assert_eq!(lines, Vec::<&str>::new(), "in the {what} at {level}");
    }
    let told: Vec<&str> = output.lines().filter(|l| l.contains("marker-of-a-message")).collect();
    assert_eq!(told, Vec::<&str>::new(), "messages are not logged");
    let payloads = stored.lines().filter(|line| line.contains("task_queue.tasks.payload"));
    for payload in payloads {
        assert!(!payload.contains("marker"), "{payload}");
    }
    assert!(output.contains("a background task failed"), "trouble was logged:\n{output}");
}

#[actix_web::test]
async fn names_are_kept_nowhere_in_production() {
    nothing_is_kept_at("info").await;
}

#[actix_web::test]
async fn names_are_kept_nowhere_even_by_whoever_wants_to_see_it_all() {
    nothing_is_kept_at("trace,tokio_postgres=info").await;
}
