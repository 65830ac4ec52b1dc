//! Whoever does not answer is named within the caller's time, on every route.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::*;
use crate::support::STALL;

/// Long enough to come as far as whoever does not answer.
const PATIENCE_MS: &str = "8000";
const BOUND: Duration = Duration::from_secs(8).saturating_add(STALL);
/// Their own limits are longer than what the callers have.
const SLOW: &str = "[upstreams.int_api]\ntimeout_ms = 20000\nbreaker_failures = 1000000\n\
     [upstreams.personal]\ntimeout_ms = 20000\nbreaker_failures = 1000000\n\
     [upstreams.fleet_parks]\ntimeout_ms = 20000\nbreaker_failures = 1000000\n";

async fn assert_named(desk: &Desk, route: &str, body: Option<Value>, code: &str) {
    let caller = desk.dispatcher.header("X-Request-Timeout-Ms", PATIENCE_MS);
    let started = Instant::now();
    let reply = match body {
        Some(body) => caller.post(route, body).await,
        None => caller.get(route).await,
    };
    assert!(started.elapsed() < BOUND, "{route}: {:?}", started.elapsed());
    reply.problem(504, code);
    assert!(come_back(&reply) >= 1, "{route}");
}

#[actix_web::test]
async fn a_hanging_int_api_is_named() {
    let desk = Desk::alone(SLOW).await;
    let id = desk.drafted(trip()).await;
    desk.app.fault("int-api", json!({"kind": "hang"}));
    let calls = [
        ("orders/estimate", Some(trip())),
        ("orders/draft", Some(trip())),
        ("orders/active-by-phone", Some(json!({"phone": TYPED}))),
        ("orders/commit", Some(json!({"order_id": id}))),
        ("orders/edit", Some(json!({"order_id": id, "revision": 1}))),
        ("orders/cancel", Some(json!({"order_id": id, "revision": 1}))),
        ("orders/cancel", Some(json!({"order_id": id}))),
        (&format!("orders/{id}"), None),
    ];
    let calls = calls.map(|(route, body)| assert_named(&desk, route, body, "int_api_unavailable"));
    join_all(calls).await;
}

#[actix_web::test]
async fn a_hanging_personal_is_named() {
    let desk = Desk::alone(SLOW).await;
    let id = desk.drafted(trip()).await;
    desk.app.fault("personal", json!({"kind": "hang"}));
    let calls = [
        ("orders/estimate", trip()),
        ("orders/draft", trip()),
        ("orders/active-by-phone", json!({"phone": TYPED})),
        ("orders/edit", json!({"order_id": id, "revision": 1, "phone": TYPED})),
    ];
    let calls =
        calls.map(|(route, body)| assert_named(&desk, route, Some(body), "personal_unavailable"));
    join_all(calls).await;
    desk.commit(&id).await.expect(200);
}

#[actix_web::test]
async fn a_hanging_fleet_parks_is_named() {
    let desk = Desk::alone(SLOW).await;
    desk.app.fault("fleet-parks", json!({"kind": "hang"}));
    let calls = ["orders/estimate", "orders/draft"]
        .map(|route| assert_named(&desk, route, Some(trip()), "fleet_parks_unavailable"));
    join_all(calls).await;
}

#[actix_web::test]
async fn an_int_api_that_is_broken_is_named_on_every_route() {
    let desk = Desk::alone(FAULTS).await;
    let id = desk.drafted(trip()).await;
    for fault in [
        json!({"kind": "status", "status": 500}),
        json!({"kind": "status", "status": 401}),
        json!({"kind": "close"}),
        json!({"kind": "garbage"}),
    ] {
        desk.app.fault("int-api", fault.clone());
        let order = json!({"order_id": id, "revision": 1});
        for (route, body) in [
            ("orders/estimate", trip()),
            ("orders/draft", trip()),
            ("orders/active-by-phone", json!({"phone": TYPED})),
            ("orders/active-by-phone", json!({"phone": "+79990000077"})),
            ("orders/edit", order.clone()),
            ("orders/cancel", order),
        ] {
            let reply = desk.dispatcher.post(route, body).await;
            reply.problem(503, "int_api_unavailable");
            assert!(come_back(&reply) >= 1, "{fault} on {route}");
        }
        let shown = desk.dispatcher.get(&format!("orders/{id}")).await;
        shown.problem(503, "int_api_unavailable");
    }
}
