//! Another park's order is an order that nobody has, on every route, and at no extra cost.

use super::*;

/// Everything that can be asked about an order.
async fn all(caller: &Caller, id: &str) -> Vec<Reply> {
    vec![
        commit(caller, id).await,
        caller.post("orders/edit", json!({"order_id": id, "revision": 2, "comment": "x"})).await,
        caller.post("orders/edit", json!({"order_id": id, "revision": 99})).await,
        caller.post("orders/cancel", json!({"order_id": id, "revision": 2})).await,
        caller.post("orders/cancel", json!({"order_id": id, "revision": 99})).await,
        caller.post("orders/cancel", json!({"order_id": id, "reason": "r"})).await,
        caller.get(&format!("orders/{id}")).await,
    ]
}

#[actix_web::test]
async fn a_foreign_order_is_as_unknown_as_nobodys() {
    let desk = Desk::start().await;
    for status in ["draft", "committed", "driving", "completed", "cancelled"] {
        let id = desk.drafted(trip()).await;
        desk.app.sandbox.set_order_status(&id, status).unwrap();
        let kept = || {
            let mut orders = desk.app.sandbox.orders(PARK);
            let order = orders.pop().expect("an order");
            (order.status, order.revision, order.fields.len())
        };
        let before = kept();
        let foreign = all(&desk.stranger, &id).await;
        let nobodys = all(&desk.stranger, NOBODYS).await;
        for (foreign, nobodys) in foreign.iter().zip(&nobodys) {
            let foreign = foreign.problem(404, "order_not_found");
            let nobodys = nobodys.problem(404, "order_not_found");
            assert_eq!(without_trace(foreign), without_trace(nobodys), "{status}");
        }
        assert_eq!(kept(), before, "nothing was changed");
    }
}

#[actix_web::test]
async fn a_phone_leads_to_the_parks_own_orders_only() {
    let desk = Desk::start().await;
    let id = desk.committed(trip()).await;
    let phone = json!({"phone": PHONE});
    let found = desk.stranger.post("orders/active-by-phone", phone.clone()).await;
    assert_eq!(found.text(), r#"{"orders":[]}"#);
    let found = desk.dispatcher.post("orders/active-by-phone", phone).await.expect(200);
    assert_eq!(found["orders"][0]["order_id"], id.as_str());
    let unknown = json!({"phone": "+79990000099"});
    let unknown = desk.stranger.post("orders/active-by-phone", unknown).await;
    assert_eq!(unknown.text(), r#"{"orders":[]}"#, "a number that no park knows looks the same");
}

#[actix_web::test]
async fn the_check_costs_no_call_of_its_own() {
    let desk = Desk::start().await;
    let id = desk.drafted(trip()).await;
    let calls = |operation| desk.calls(operation);
    let cost = async |call: Reply, before: u64| (call.status, desk.all_calls() - before);
    let post = async |caller: &Caller, route: &str, body: Value| {
        let before = desk.all_calls();
        cost(caller.post(route, body).await, before).await
    };
    for (caller, status) in [(&desk.stranger, 404), (&desk.dispatcher, 200)] {
        let order = json!({"order_id": id});
        assert_eq!(post(caller, "orders/commit", order.clone()).await, (status, 1));
        assert_eq!(post(caller, "orders/commit", order.clone()).await, (status, 1));
        let edit = json!({"order_id": id, "revision": 2, "comment": "x"});
        assert_eq!(post(caller, "orders/edit", edit).await, (status, 1));
        let before = desk.all_calls();
        assert_eq!(cost(caller.get(&format!("orders/{id}")).await, before).await, (status, 1));
        let cancel = json!({"order_id": id, "revision": 3});
        assert_eq!(post(caller, "orders/cancel", cancel).await, (status, 1));
    }
    assert_eq!(calls("info"), 2, "asked for only by those who look");
    // Without a revision the order must be looked at for its own.
    let id = desk.drafted(trip()).await;
    let cancel = json!({"order_id": id});
    assert_eq!(post(&desk.stranger, "orders/cancel", cancel.clone()).await, (404, 1));
    assert_eq!(post(&desk.dispatcher, "orders/cancel", cancel).await, (200, 2));
}

/// While int-api fails, too, an order that landed is shown to its own park only.
#[actix_web::test]
async fn a_broken_commit_tells_a_stranger_nothing() {
    let desk = Desk::alone(FAULTS).await;
    let id = desk.committed(trip()).await;
    for kind in ["close", "close_after_work", "truncate", "garbage"] {
        desk.app.fault("int-api", json!({"kind": kind, "route": "/commit"}));
        desk.commit(&id).await.expect(200);
        let foreign = commit(&desk.stranger, &id).await;
        let nobodys = commit(&desk.stranger, NOBODYS).await;
        assert!(come_back(&foreign) >= 1, "{kind}");
        assert_eq!(without_trace(foreign.json()), without_trace(nobodys.json()), "{kind}");
    }
    desk.app.sandbox.clear_fault("int-api");
    assert_eq!(desk.the_order().revision, 2);
}

/// An int-api that shows another park's order all the same.
#[actix_web::test]
async fn an_order_that_says_it_is_another_parks_is_not_shown() {
    let desk = Desk::alone(FAULTS).await;
    let id = desk.drafted(trip()).await;
    let shown = json!({
        "order_id": id, "park_id": OTHER_PARK, "status": "committed", "revision": 2, "comment": "x",
    });
    let info = json!({"kind": "answer", "status": 200, "body": shown, "route": "/info"});
    desk.app.fault("int-api", info.clone());
    desk.dispatcher.get(&format!("orders/{id}")).await.problem(404, "order_not_found");
    let cancel = desk.dispatcher.post("orders/cancel", json!({"order_id": id})).await;
    cancel.problem(404, "order_not_found");
    let stale = json!({"order_id": id, "revision": 99});
    let stale = desk.dispatcher.post("orders/edit", stale).await;
    assert!(!stale.text().contains(OTHER_PARK), "{}", stale.text());
    desk.app.fault("int-api", json!([{"kind": "close", "route": "/commit"}, info]));
    assert!(come_back(&desk.commit(&id).await) >= 1, "that it is committed is said of another");
    assert_eq!(desk.the_order().status, "draft");
}
