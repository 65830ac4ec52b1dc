//! What cannot be recorded in fleet-customers is counted, logged and never in the way; what can
//! be is, also while the process stops.

use super::*;
use crate::support::app::{NO_DATABASE, start_sandbox};

/// A fleet-customers that is not there.
const NOBODY: &str = "[upstreams.fleet_customers]\nbase_url = 'http://127.0.0.1:9'\n\
     breaker_failures = 1000000\nattempts = 1\n";

#[actix_web::test]
async fn what_a_full_queue_does_not_take_is_counted_and_can_be_made_good() {
    const ORDERS: u64 = 12;
    let desk = Desk::with_customers(
        "[upstreams.int_api]\nattempts = 1\nbreaker_failures = 1000000\n\
         [fleet_orders_manager]\ncustomers_waiting = 1\n",
    )
    .await;
    desk.app.fault("int-api", json!({"kind": "hold", "route": "/info"}));
    let mut ids = Vec::new();
    for _ in 0..ORDERS {
        ids.push(desk.committed(trip()).await);
    }
    let lost = desk.customers_total("lost_queue_full").await;
    // Four are being recorded, one waits.
    assert!(lost >= ORDERS - 5, "{lost}");
    assert_eq!(lost + desk.customers_waiting().await, ORDERS);

    desk.app.sandbox.clear_fault("int-api");
    desk.nobody_waits().await;
    assert_eq!(desk.customers_total("recorded").await, ORDERS - lost);
    for id in &ids {
        desk.commit(id).await.expect(200);
        desk.nobody_waits().await;
    }
    let customer = customer(&desk.app.dispatcher(CUSTOMERS, PARK)).await;
    assert_eq!(customer["orders_count"], ORDERS, "each once");
}

#[actix_web::test]
async fn what_cannot_be_recorded_in_time_is_given_up() {
    let desk =
        Desk::alone(&format!("{NOBODY}[fleet_orders_manager]\ncustomers_give_up_ms = 500\n")).await;
    let id = desk.committed(trip()).await;
    desk.customers_ended("lost_given_up", 1).await;
    desk.commit(&id).await.expect(200);
    desk.customers_ended("lost_given_up", 2).await;
}

#[actix_web::test]
async fn what_can_never_be_recorded_is_not_tried_again() {
    let desk = Desk::with_customers("").await;
    let id = desk.drafted(trip()).await;
    let unknown = json!({"kind": "answer", "status": 404, "body": {"code": "x"}, "route": "/info"});
    desk.app.fault("int-api", unknown);
    desk.commit(&id).await.expect(200);
    desk.customers_ended("lost_refused", 1).await;
    assert_eq!(desk.calls("info"), 1);
}

#[actix_web::test]
async fn what_waits_when_the_process_stops_is_recorded_first() {
    let mut desk = Desk::with_customers("[http]\nfinish_ms = 20000\n").await;
    desk.app.fault("int-api", json!({"kind": "delay", "ms": 500, "route": "/info"}));
    for _ in 0..8 {
        desk.committed(trip()).await;
    }
    desk.app.stop();
    let counted = "SELECT orders_count::bigint FROM fleet_customers.customers";
    assert_eq!(desk.app.database().count(counted).await, 8);
}

#[actix_web::test]
async fn what_is_lost_when_the_process_ends_is_logged_without_anything_personal() {
    let sandbox = start_sandbox();
    let config = configuration(NO_DATABASE, &sandbox) + NOBODY;
    let mut server = Server::start(&config, &[("FLEET__DOMAINS", DOMAIN)]).await;
    let dispatcher = dispatcher(&server.anonymous(), DOMAIN);
    let mut ids = Vec::new();
    for _ in 0..3 {
        let id = order_id(&dispatcher.post("orders/draft", trip()).await.expect(200));
        commit(&dispatcher, &id).await.expect(200);
        ids.push(id);
    }
    server.signal("TERM");
    let ended = server.wait(PATIENCE).await.expect("it ends");
    assert_eq!(ended.code(), Some(0), "{}", server.output());
    let output = server.output();
    let lost: Vec<&str> = output.lines().filter(|line| line.contains("lost_at_stop")).collect();
    assert_eq!(lost.len(), 3, "{output}");
    for id in &ids {
        let told = |line: &&str| line.contains(id.as_str()) && line.contains("trace_id");
        assert_eq!(lost.iter().filter(|line| told(line)).count(), 1, "{output}");
    }
    assert!(!output.contains(DIGITS) && !output.contains("Тверская"), "{output}");
}

/// The whole stop is bounded though nothing can be recorded: int-api hangs, too.
#[actix_web::test]
async fn a_stop_does_not_wait_for_ever() {
    let sandbox = start_sandbox();
    let config = configuration(NO_DATABASE, &sandbox) + NOBODY;
    let env = [
        ("FLEET__DOMAINS", DOMAIN),
        ("FLEET__HTTP__FINISH_MS", "1000"),
        ("FLEET__UPSTREAMS__INT_API__TIMEOUT_MS", "60000"),
    ];
    let mut server = Server::start(&config, &env).await;
    let dispatcher = dispatcher(&server.anonymous(), DOMAIN);
    let id = order_id(&dispatcher.post("orders/draft", trip()).await.expect(200));
    sandbox.set_fault("int-api", json!({"kind": "hang", "route": "/info"})).unwrap();
    commit(&dispatcher, &id).await.expect(200);
    let hangs = async || sandbox.calls("int-api", "POST /v1/orders/info") > 0;
    eventually("it is being looked up", hangs).await;
    let signalled = std::time::Instant::now();
    server.signal("TERM");
    let ended = server.wait(PATIENCE).await.expect("it ends");
    assert_eq!(ended.code(), Some(0), "{}", server.output());
    assert!(signalled.elapsed() < std::time::Duration::from_secs(10), "{:?}", signalled.elapsed());
    assert!(server.output().contains("lost_at_stop"), "{}", server.output());
}
