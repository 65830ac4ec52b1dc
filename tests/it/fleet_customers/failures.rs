//! `personal` fails in every way there is. (What happens when PostgreSQL does: `platform`.)

use std::cell::RefCell;
use std::time::{Duration, Instant};

use futures_util::join;

use super::*;
use crate::support::client::Reply;
use crate::support::{STALL, eventually};

/// The breaker mends itself at once.
const FAULTS: &str = "[upstreams.personal]\nbreaker_failures = 1000\nbreaker_open_ms = 100\n\
     body_limit_bytes = 65536\n";
/// Short, so that what is tried three times is over soon. A busy machine may miss it, too.
const QUICK: &str = "timeout_ms = 700\n";
/// Three attempts and the pauses between them, with room for a busy machine.
const BOUND: Duration = Duration::from_secs(8);

/// Every way to fail by an answer, as the sandbox can be asked for it.
fn failing() -> Vec<Value> {
    vec![
        json!({"kind": "status", "status": 500}),
        json!({"kind": "status", "status": 503}),
        json!({"kind": "status", "status": 503, "retry_after": 60}),
        json!({"kind": "status", "status": 429}),
        json!({"kind": "status", "status": 401}),
        json!({"kind": "status", "status": 418}),
        json!({"kind": "close"}),
        json!({"kind": "close_after_work"}),
        json!({"kind": "garbage"}),
        json!({"kind": "truncate"}),
        json!({"kind": "huge"}),
    ]
}

/// Every way to take too long.
fn hanging() -> Vec<Value> {
    vec![
        json!({"kind": "hang"}),
        json!({"kind": "delay", "ms": 2000}),
        json!({"kind": "slow_body", "ms": 100}),
    ]
}

/// Runs a call and holds it to the bound.
async fn bounded(what: &Value, call: impl Future<Output = Reply>) -> Reply {
    let started = Instant::now();
    let reply = call.await;
    assert!(started.elapsed() < BOUND, "{what}: {:?}", started.elapsed());
    reply
}

/// A server, and a customer with a name.
async fn rig(config: &str) -> (Customers, String) {
    let customers = Customers::with(&format!("{FAULTS}{config}")).await;
    let id = ordered(&customers).await;
    (customers, id)
}

/// An order, once it is taken; who it is of.
async fn ordered(customers: &Customers) -> String {
    let id = RefCell::new(String::new());
    eventually("an order is taken", async || {
        let order = json!({
            "park_id": PARK, "phone": PHONE, "name": "Анна", "ordered_at": "2026-05-01T12:00:00Z",
        });
        let reply = customers.internal.post("customers/upsert", order).await;
        if reply.status == 200 {
            id.replace(id_of(&reply.json()));
        }
        reply.status == 200
    })
    .await;
    id.into_inner()
}

fn assert_degraded(customer: &Value, id: &str) {
    assert_eq!(customer["personal_phone_id"], id);
    assert_eq!(customer["degraded"], json!(["personal"]), "{customer}");
    assert_eq!((customer.get("phone"), customer.get("name")), (None, None), "{customer}");
    assert_eq!(customer["orders_count"], 1, "what is ours is there");
}

/// Everything that needs `personal` says that it is missing; everything else answers.
async fn assert_suffers(customers: &Customers, id: &str, what: &Value) {
    let path = &format!("customers/{id}");
    let (dispatcher, internal) = (&customers.dispatcher, &customers.internal);
    let order = |who: Value| {
        let mut order = json!({"park_id": PARK, "ordered_at": "2026-05-02T12:00:00Z"});
        json_patch::merge(&mut order, &who);
        internal.post("customers/upsert", order)
    };
    let edit = json!({"name": "Вера", "sms_enabled": true, "order_options": null});
    let find = dispatcher.post("customers/find-by-phone", json!({"phone": PHONE}));
    let keys = json!({"customers": [{"park_id": PARK, "personal_phone_id": id}]});
    let (find, by_phone, with_name, put, patch, profile, list, retrieved) = join!(
        bounded(what, find),
        bounded(what, order(json!({"phone": PHONE}))),
        bounded(what, order(json!({"personal_phone_id": id, "name": "Вера"}))),
        bounded(what, dispatcher.put(path, edit.clone())),
        bounded(what, dispatcher.patch(path, edit.clone())),
        bounded(what, dispatcher.get(path)),
        bounded(what, dispatcher.get("customers")),
        bounded(what, internal.post("customers/retrieve", keys)),
    );
    for reply in [find, by_phone, with_name, put, patch] {
        reply.problem(503, "personal_unavailable");
        assert!(!reply.header("retry-after").is_empty());
    }
    assert_degraded(&profile.expect(200), id);
    assert_eq!(profile.etag(), "\"v1\"", "{what}: nothing was written");
    assert_degraded(&list.expect(200)["items"][0], id);
    let retrieved = retrieved.expect(200);
    assert_eq!(retrieved["items"][0]["orders_count"], 1);
    assert_eq!(retrieved["items"][0].get("degraded"), None, "personal has no part in it");
}

#[actix_web::test]
async fn however_personal_fails_what_needs_it_says_so_and_the_rest_answers() {
    for (faults, config) in [(failing(), ""), (hanging(), QUICK)] {
        let (customers, id) = rig(config).await;
        for fault in faults {
            customers.app.fault("personal", fault.clone());
            assert_suffers(&customers, &id, &fault).await;
            customers.app.sandbox.clear_fault("personal");
            eventually(&format!("all is there after {fault}"), async || {
                let profile = customers.profile(&id).await;
                profile["phone"] == PHONE && profile["name"] == "Анна"
            })
            .await;
        }
        assert_eq!(ordered(&customers).await, id);
    }
}

#[actix_web::test]
async fn a_personal_that_is_down_is_one_that_fails() {
    let (customers, id) = rig("").await;
    customers.app.sandbox.stop().await;
    assert_suffers(&customers, &id, &json!("down")).await;
}

#[actix_web::test]
async fn a_fault_that_passes_is_not_seen() {
    for (fault, config) in [
        (json!({"kind": "status", "status": 503, "times": 1}), ""),
        (json!({"kind": "close", "times": 1}), ""),
        (json!({"kind": "hang", "times": 1}), "timeout_ms = 3000\n"),
        (json!({"kind": "truncate", "times": 1}), ""),
    ] {
        let (customers, id) = rig(config).await;
        customers.app.fault("personal", fault.clone());
        let found = customers.dispatcher.post("customers/find-by-phone", json!({"phone": PHONE}));
        assert_eq!(found.await.expect(200)["name"], "Анна", "{fault}");
        customers.app.fault("personal", fault);
        assert_eq!(customers.profile(&id).await["name"], "Анна");
    }
}

#[actix_web::test]
async fn a_profile_answers_within_its_callers_patience_while_personal_hangs() {
    let customers = Customers::with("[upstreams.personal]\ntimeout_ms = 20000\n").await;
    let id = customers.order(PARK, PHONE).await;
    customers.app.fault("personal", json!({"kind": "hang"}));
    let patience = Duration::from_secs(10);
    let hasty = customers.dispatcher.header("X-Request-Timeout-Ms", "10000");
    let started = Instant::now();
    let path = format!("customers/{id}");
    let (profile, list, found) = join!(
        hasty.get(&path),
        hasty.get("customers"),
        hasty.post("customers/find-by-phone", json!({"phone": PHONE})),
    );
    assert_degraded(&profile.expect(200), &id);
    assert_degraded(&list.expect(200)["items"][0], &id);
    found.problem(504, "deadline_exceeded");
    assert!(started.elapsed() < patience + STALL, "{:?}", started.elapsed());
}

#[actix_web::test]
async fn only_one_of_both_kinds_failing_is_degraded_too() {
    let (customers, id) = rig("").await;
    for kind in ["/phones/", "/names/"] {
        customers.app.fault("personal", json!({"kind": "status", "status": 500, "route": kind}));
        assert_degraded(&customers.profile(&id).await, &id);
    }
}

#[actix_web::test]
async fn a_failed_order_can_be_repeated_under_its_key() {
    let (customers, id) = rig("").await;
    let keyed = customers.internal.header("Idempotency-Key", "order-1");
    let order = json!({"park_id": PARK, "phone": PHONE, "ordered_at": "2026-05-02T12:00:00Z"});
    customers.app.fault("personal", json!({"kind": "status", "status": 500}));
    keyed.post("customers/upsert", order.clone()).await.problem(503, "personal_unavailable");
    customers.app.sandbox.clear_fault("personal");
    for _ in 0..2 {
        keyed.post("customers/upsert", order.clone()).await.expect(200);
    }
    assert_eq!(customers.profile(&id).await["orders_count"], 2);
}

#[actix_web::test]
async fn a_value_that_personal_refuses_is_the_callers_fault() {
    let (customers, _) = rig("").await;
    let refusal = json!({"kind": "status", "status": 400, "route": "/phones/"});
    customers.app.fault("personal", refusal);
    let find = customers.dispatcher.post("customers/find-by-phone", json!({"phone": PHONE}));
    find.await.invalid_at("/phone");
    let order = json!({"park_id": PARK, "phone": PHONE, "ordered_at": "2026-05-02T12:00:00Z"});
    customers.internal.post("customers/upsert", order).await.invalid_at("/phone");
    let refusal = json!({"kind": "status", "status": 400, "route": "/names/"});
    customers.app.fault("personal", refusal);
    let order = json!({
        "park_id": PARK, "phone": PHONE, "name": "Вера", "ordered_at": "2026-05-02T12:00:00Z",
    });
    customers.internal.post("customers/upsert", order).await.invalid_at("/name");
}

#[actix_web::test]
async fn while_the_breaker_is_open_answers_come_at_once_and_readyz_names_personal() {
    let config = "[upstreams.personal]\nattempts = 1\nbreaker_failures = 2\nbreaker_open_ms = 2000";
    let customers = Customers::with(config).await;
    let id = customers.order(PARK, PHONE).await;
    let anonymous = customers.app.anonymous();
    customers.app.fault("personal", json!({"kind": "close"}));
    // Breakers belong to the process, so one worker's failures count for both.
    eventually("the breaker opens", async || {
        customers.profile(&id).await;
        let ready = anonymous.get("readyz").await.expect(200);
        let row = json!({"name": "personal", "status": "unavailable", "reason": "breaker_open"});
        ready["status"] == "degraded" && ready["dependencies"].as_array().unwrap().contains(&row)
    })
    .await;
    customers.app.sandbox.clear_fault("personal");
    eventually("it recovers by itself", async || {
        customers.profile(&id).await.get("degraded").is_none()
    })
    .await;
    customers.app.ready().await;
}
