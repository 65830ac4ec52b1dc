//! Edits and cancellations, each based on the revision that the dispatcher saw.

use super::*;

/// A stale revision, as int-api says it.
fn stale() -> Value {
    json!({
        "kind": "answer", "status": 409, "body": {"code": "revision_conflict"}, "route": "/cancel",
    })
}

#[actix_web::test]
async fn what_an_edit_names_is_changed_and_nothing_else() {
    let desk = Desk::start().await;
    let id = desk.committed(trip()).await;
    let before = desk.dispatcher.get(&format!("orders/{id}")).await.expect(200);
    let edit = json!({
        "order_id": id, "revision": 2, "classes": ["comfort"], "comment": "ворота 2",
        "route": [{"lat": 1.5, "lon": 2.5, "address": "здесь"}], "requirements": {"pet": true},
    });
    let edited = desk.dispatcher.post("orders/edit", edit.clone()).await.expect(200);
    assert_eq!(edited, json!({"order_id": id, "status": "committed", "revision": 3}));
    let mut expected = before;
    for name in ["classes", "comment", "route", "requirements"] {
        expected[name] = edit[name].clone();
    }
    expected["revision"] = json!(3);
    expected["class"] = json!("comfort");
    assert_eq!(desk.dispatcher.get(&format!("orders/{id}")).await.expect(200), expected);
}

#[actix_web::test]
async fn another_phone_leads_to_the_order_and_the_old_one_does_not() {
    let desk = Desk::start().await;
    let id = desk.committed(trip()).await;
    let edit = json!({"order_id": id, "revision": 2, "phone": "+7 999 000-00-02"});
    desk.dispatcher.post("orders/edit", edit).await.expect(200);
    for (phone, found) in [("+79990000002", 1), (PHONE, 0)] {
        let active = desk.dispatcher.post("orders/active-by-phone", json!({"phone": phone})).await;
        assert_eq!(active.expect(200)["orders"].as_array().map(Vec::len), Some(found), "{phone}");
    }
}

#[actix_web::test]
async fn what_int_api_refuses_is_told_with_its_code() {
    let desk = Desk::start().await;
    let id = desk.committed(trip()).await;
    desk.app.sandbox.set_order_status(&id, "completed").unwrap();
    let order = json!({"order_id": id, "revision": 3});
    desk.dispatcher.post("orders/edit", order.clone()).await.problem(409, "not_editable");
    desk.dispatcher.post("orders/cancel", order).await.problem(409, "not_cancellable");
    let unseen = json!({"order_id": id});
    desk.dispatcher.post("orders/cancel", unseen).await.problem(409, "not_cancellable");
    for (operation, body) in [
        ("estimate", trip()),
        ("draft", trip()),
        ("edit", json!({"order_id": id, "revision": 3})),
        ("cancel", json!({"order_id": id, "revision": 3})),
    ] {
        for (status, answered) in [(400, 400), (402, 422), (409, 409), (422, 422)] {
            let code = json!({"code": "tariff_closed"});
            let fault =
                json!({"kind": "answer", "status": status, "body": code, "route": operation});
            desk.app.fault("int-api", fault);
            let reply = desk.dispatcher.post(&format!("orders/{operation}"), body.clone()).await;
            reply.problem(answered, "tariff_closed");
        }
        let busy = json!({
            "kind": "answer", "status": 409, "body": {"code": "busy"}, "retry_after": 7,
        });
        desk.app.fault("int-api", busy);
        let reply = desk.dispatcher.post(&format!("orders/{operation}"), body).await;
        reply.problem(503, "busy");
        assert_eq!(come_back(&reply), 7, "{operation}");
    }
}

#[actix_web::test]
async fn a_cancellation_without_a_revision_is_of_the_order_as_it_is() {
    let desk = Desk::start().await;
    let id = desk.committed(trip()).await;
    let mut changed_meanwhile = stale();
    changed_meanwhile["times"] = json!(2);
    desk.app.fault("int-api", changed_meanwhile);
    let cancel = json!({"order_id": id, "reason": "changed_mind"});
    let cancelled = desk.dispatcher.post("orders/cancel", cancel.clone()).await.expect(200);
    assert_eq!(cancelled, json!({"order_id": id, "status": "cancelled", "revision": 3}));
    assert_eq!((desk.calls("info"), desk.calls("cancel")), (3, 3));
    assert_eq!(desk.the_order().fields["reason"].get(), "\"changed_mind\"");

    // One that never stands still is shown as it is.
    desk.app.fault("int-api", stale());
    let refused = desk.dispatcher.post("orders/cancel", cancel).await;
    let refused = refused.problem(409, "revision_conflict");
    assert_eq!(refused["current"]["revision"], 3);
}

#[actix_web::test]
async fn a_stale_revision_is_told_though_the_order_cannot_be_shown() {
    let desk = Desk::start().await;
    let id = desk.committed(trip()).await;
    desk.app.fault("int-api", json!({"kind": "close", "route": "/info"}));
    for route in ["orders/edit", "orders/cancel"] {
        let reply = desk.dispatcher.post(route, json!({"order_id": id, "revision": 1})).await;
        let problem = reply.problem(409, "revision_conflict");
        assert_eq!(problem.get("current"), None);
    }
    assert_eq!(desk.the_order().revision, 2);
}

/// A change is never made twice, and one whose answer was lost is not taken for refused.
#[actix_web::test]
async fn a_change_is_sent_once() {
    for (kind, revision) in [("close", 2), ("close_after_work", 3), ("garbage", 2)] {
        for operation in ["edit", "cancel"] {
            let desk = Desk::start().await;
            let id = desk.committed(trip()).await;
            desk.app.fault("int-api", json!({"kind": kind, "route": operation}));
            let change = json!({"order_id": id, "revision": 2});
            let reply = desk.dispatcher.post(&format!("orders/{operation}"), change).await;
            assert!(come_back(&reply) >= 1, "{kind} {operation}");
            assert_eq!(desk.calls(operation), 1, "{kind} {operation}");
            assert_eq!(desk.the_order().revision, revision, "{kind} {operation}");
        }
    }
}
