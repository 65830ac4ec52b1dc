//! What the server adds to what a dispatcher says.

use super::*;

/// What fleet-parks says of a park, as int-api is told.
fn of_park(mode: &str, locale: &str, currency: &str, time_zone: &str) -> Value {
    json!({"dispatch_mode": mode, "locale": locale, "currency": currency, "time_zone": time_zone})
}

#[track_caller]
fn assert_has(sent: &Value, expected: &Value) {
    for (name, value) in expected.as_object().expect("an object") {
        assert_eq!(&sent[name], value, "{name} in {sent}");
    }
}

#[actix_web::test]
async fn estimates_and_drafts_tell_how_the_park_works() {
    let desk = Desk::start().await;
    let change = json!({
        "dispatch_mode": "aggregator", "locale": "kk", "currency": "USD", "time_zone": "Asia/Oral",
    });
    desk.app.sandbox.change_park("park-9", change.clone()).unwrap();
    for (park, expected) in [
        ("park-1", of_park("saas", "ru", "RUB", "Europe/Moscow")),
        ("park-2", of_park("whitelabel", "ru", "KZT", "Asia/Almaty")),
        ("park-3", of_park("aggregator", "ru", "RUB", "Asia/Yekaterinburg")),
        ("park-9", change),
    ] {
        let dispatcher = desk.app.dispatcher(DOMAIN, park);
        let estimate = dispatcher.post("orders/estimate", trip()).await.expect(200);
        assert_eq!(estimate["currency"], expected["currency"]);
        dispatcher.post("orders/draft", trip()).await.expect(200);
        let whence = json!({"park_id": park, "dispatcher_id": 4711, "source": DOMAIN});
        for operation in ["estimate", "draft"] {
            let sent = desk.sent_json(operation);
            assert_has(&sent, &expected);
            assert_has(&sent, &whence);
        }
    }
}

#[actix_web::test]
async fn changes_tell_who_makes_them() {
    let desk = Desk::alone("[fleet_orders_manager]\nsource = 'night-desk'\n").await;
    let id = desk.committed(trip()).await;
    assert_eq!(desk.sent_json("commit"), json!({"park_id": PARK, "order_id": id}));
    let greatest = i64::MAX;
    let dispatcher = desk.dispatcher.header("X-Dispatcher-Id", &greatest.to_string());
    let edit = json!({"order_id": id, "revision": 2, "phone": "+79990000002"});
    dispatcher.post("orders/edit", edit).await.expect(200);
    dispatcher.post("orders/cancel", json!({"order_id": id})).await.expect(200);
    let whence = json!({"park_id": PARK, "dispatcher_id": greatest, "source": "night-desk"});
    for operation in ["edit", "cancel"] {
        assert_has(&desk.sent_json(operation), &whence);
    }
    let fields = desk.the_order().fields;
    let kept = fields["personal_phone_id"].get();
    assert_eq!(kept, desk.sent_json("edit")["personal_phone_id"].to_string());
}

#[actix_web::test]
async fn an_order_without_a_phone_is_an_order() {
    let desk = Desk::start().await;
    let mut trip = trip();
    trip.as_object_mut().unwrap().remove("phone");
    desk.dispatcher.post("orders/estimate", trip.clone()).await.expect(200);
    let id = desk.committed(trip.clone()).await;
    assert_eq!(desk.sent_json("draft").get("personal_phone_id"), None);
    trip["phone"] = Value::Null;
    desk.dispatcher.post("orders/draft", trip).await.expect(200);
    assert_eq!(desk.sent_json("draft").get("phone"), None);
    assert_eq!(
        desk.dispatcher.get(&format!("orders/{id}")).await.expect(200)["status"],
        "committed"
    );
}

/// What is missing is told; nothing is sent on in its place.
#[actix_web::test]
async fn no_half_filled_request_is_sent_on() {
    let desk = Desk::alone("[upstreams.personal]\nbreaker_failures = 1000000\n").await;
    let id = desk.drafted(trip()).await;
    let before = desk.all_calls();
    for fault in [
        json!({"kind": "status", "status": 500}),
        json!({"kind": "close"}),
        json!({"kind": "garbage"}),
    ] {
        desk.app.fault("personal", fault.clone());
        for (route, body) in [
            ("orders/estimate", trip()),
            ("orders/draft", trip()),
            ("orders/active-by-phone", json!({"phone": TYPED})),
            ("orders/edit", json!({"order_id": id, "revision": 1, "phone": TYPED})),
        ] {
            let reply = desk.dispatcher.post(route, body).await;
            reply.problem(503, "personal_unavailable");
            assert!(come_back(&reply) >= 1, "{route}");
        }
    }
    assert_eq!(desk.all_calls(), before);
    // What needs no phone goes on.
    let mut trip = trip();
    trip.as_object_mut().unwrap().remove("phone");
    desk.committed(trip).await;
}
