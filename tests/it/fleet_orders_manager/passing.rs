//! What the server does not know passes through both ways as it was written; the plain phone does
//! not.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::*;

/// Members that no contract names. The numbers do not survive a float.
const UNKNOWN: &str = r#""fare":1.10,"huge":12345678901234567890123,"infinite":1e400,"tenth":0.1,"minus_nought":-0.0,"nested":{"deep":[{"price":10.00,"fare":"1.10"},[1E-7,null,true]],"phone":"of somebody else"},"text":"\u00e9\ud83d\ude00\/","поле":"ж","empty":{},"nothing":null"#;

type Members = BTreeMap<String, Box<RawValue>>;

fn members(text: &str) -> Members {
    serde_json::from_str(text).expect("an object")
}

/// The members of [`UNKNOWN`] in their very bytes.
#[track_caller]
fn assert_unchanged(text: &str, what: &str) {
    let found = members(text);
    for (name, value) in members(&format!("{{{UNKNOWN}}}")) {
        let found = found.get(&name).map(|value| value.get());
        assert_eq!(found, Some(value.get()), "{what}: {name}");
    }
}

/// A stale revision is answered with the order as it is, in the bytes of int-api.
#[track_caller]
fn assert_shows_the_order(stale: &Reply) {
    assert_eq!(stale.status, 409, "{}", stale.text());
    let problem = members(&stale.text());
    assert_eq!(problem["code"].get(), "\"revision_conflict\"");
    assert_unchanged(problem["current"].get(), "the order as it is");
}

/// A body with these members and all of [`UNKNOWN`].
fn with_unknown(body: &Value) -> String {
    let text = body.to_string();
    format!("{},{UNKNOWN}}}", text.strip_suffix('}').expect("an object"))
}

/// Each operation of int-api, the route that leads to it, and a body.
fn operations(id: &str) -> [(&'static str, &'static str, Value); 6] {
    [
        ("estimate", "orders/estimate", trip()),
        ("draft", "orders/draft", trip()),
        ("search", "orders/active-by-phone", json!({"phone": TYPED})),
        ("commit", "orders/commit", json!({"order_id": id})),
        ("edit", "orders/edit", json!({"order_id": id, "revision": 2, "phone": TYPED})),
        ("cancel", "orders/cancel", json!({"order_id": id, "revision": 3})),
    ]
}

#[actix_web::test]
async fn unknown_members_reach_int_api_as_they_were_written() {
    let desk = Desk::start().await;
    let id = desk.drafted(trip()).await;
    for (operation, route, body) in operations(&id) {
        let reply = post_text(&desk.dispatcher, route, with_unknown(&body)).await;
        assert_eq!(reply.status, 200, "{route}: {}", reply.text());
        assert_unchanged(&desk.sent(operation).1, operation);
    }
    // A cancellation without a revision is given the order's.
    let id = desk.drafted(trip()).await;
    let body = with_unknown(&json!({"order_id": id, "reason": "r"}));
    post_text(&desk.dispatcher, "orders/cancel", body).await.expect(200);
    assert_unchanged(&desk.sent("cancel").1, "cancel");
    assert_eq!(members(&desk.sent("cancel").1)["revision"].get(), "1");
}

#[actix_web::test]
async fn known_members_are_as_they_were_written_too() {
    let desk = Desk::start().await;
    let text = r#"{"phone":"+79990000001","route":[{"lat":55.750,"lon":3.76e1,"address":"\u0422","entrance":2.0}],"classes":["econom"],"requirements":{"fare":1.10}}"#;
    post_text(&desk.dispatcher, "orders/draft", text).await.expect(200);
    let sent = members(&desk.sent("draft").1);
    for name in ["route", "classes", "requirements"] {
        assert_eq!(sent[name].get(), members(text)[name].get());
    }
}

#[actix_web::test]
async fn an_order_comes_back_as_int_api_wrote_it() {
    let desk = Desk::start().await;
    let reply = post_text(&desk.dispatcher, "orders/draft", with_unknown(&trip())).await;
    let id = order_id(&reply.expect(200));
    desk.commit(&id).await.expect(200);
    let shown = desk.dispatcher.get(&format!("orders/{id}")).await;
    assert_eq!(shown.status, 200);
    assert_eq!(shown.header("content-type"), "application/json");
    assert_unchanged(&shown.text(), "the order");
    let int_api = Caller::anonymous(desk.app.sandbox.base_url("int-api")).token("another");
    let order = json!({"park_id": PARK, "order_id": id});
    assert_eq!(shown.body, int_api.post("v1/orders/info", order).await.body);

    let stale = desk.dispatcher.post("orders/edit", json!({"order_id": id, "revision": 1})).await;
    assert_shows_the_order(&stale);
    let stale = json!({"order_id": id, "revision": 1, "reason": "r"});
    let stale = desk.dispatcher.post("orders/cancel", stale).await;
    assert_shows_the_order(&stale);
}

#[actix_web::test]
async fn answers_are_int_apis_bytes() {
    let desk = Desk::start().await;
    let id = desk.drafted(trip()).await;
    for (operation, route, request) in operations(&id) {
        let body = json!({
            "z": "last first", "order_id": id, "orders": [{"price": "1.10", "unheard_of": [0.1]}],
            "status": "unheard_of", "extra": {"nested": [1, null, "\u{7f}é"]}, "a": 12_345_678_901_u64,
        });
        let fault = json!({"kind": "answer", "status": 200, "body": body, "route": operation});
        desk.app.fault("int-api", fault);
        let reply = desk.dispatcher.post(route, request).await;
        reply.expect(200);
        assert_eq!(reply.text(), body.to_string(), "{route}");
    }
}

#[actix_web::test]
async fn the_plain_phone_never_goes_on_and_its_id_does() {
    let desk = Desk::start().await;
    let id = desk.drafted(trip()).await;
    let personal = Caller::anonymous(desk.app.sandbox.base_url("personal")).token("another");
    let stored = personal.post("v1/phones/find", json!({"value": PHONE})).await.expect(200);
    for (operation, route, body) in operations(&id) {
        desk.dispatcher.post(route, body.clone()).await.expect(200);
        let (headers, sent) = desk.sent(operation);
        let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
        assert!(!digits(&sent).contains(DIGITS), "{operation}: {sent}");
        assert!(!digits(&format!("{headers:?}")).contains(DIGITS), "{operation}: {headers:?}");
        assert!(!members(&sent).contains_key("phone"), "{operation}");
        if body.get("phone").is_some() {
            assert_eq!(desk.sent_json(operation)["personal_phone_id"], stored["id"], "{operation}");
        }
    }
    desk.dispatcher.get(&format!("orders/{id}")).await.expect(200);
    assert!(!desk.sent("info").1.contains(DIGITS));
}

#[actix_web::test]
async fn what_the_server_says_itself_is_refused() {
    let desk = Desk::start().await;
    let ours = [
        "park_id",
        "personal_phone_id",
        "dispatcher_id",
        "dispatch_mode",
        "locale",
        "currency",
        "time_zone",
        "source",
    ];
    for (operation, route, body) in operations(NOBODYS) {
        let ours = if operation == "search" {
            &["park_id", "personal_phone_id", "states"][..]
        } else {
            &ours
        };
        for name in ours {
            let mut body = body.clone();
            body[name] = json!("other");
            desk.dispatcher.post(route, body).await.invalid_at(&format!("/{name}"));
        }
    }
    assert_eq!(desk.all_calls(), 0);
}

#[actix_web::test]
async fn a_member_that_stands_twice_is_refused() {
    let desk = Desk::start().await;
    for (_, route, body) in operations(NOBODYS) {
        let text = body.to_string();
        let text = text.strip_suffix('}').expect("an object");
        for twice in [
            r#""note":1,"note":1"#,
            r#""note":1,"\u006eote":2"#,
            r#""phone":"+79990000001","phone":"+79990000002""#,
        ] {
            let reply = post_text(&desk.dispatcher, route, format!("{text},{twice}}}")).await;
            reply.problem(400, "invalid_request");
        }
    }
    assert_eq!(desk.all_calls(), 0);
}

#[actix_web::test]
async fn a_drafts_key_is_handed_on_and_makes_one_order() {
    let desk = Desk::start().await;
    let keyed = desk.dispatcher.header("Idempotency-Key", "form-1/a");
    let token = || {
        let (headers, _) = desk.sent("draft");
        headers.get("x-idempotency-token").expect("a token").to_str().unwrap().to_owned()
    };
    desk.app.fault("int-api", json!({"kind": "close_after_work", "route": "/draft", "times": 1}));
    let id = order_id(&keyed.post("orders/draft", trip()).await.expect(200));
    assert_eq!(desk.calls("draft"), 2, "the answer was lost once");
    assert_eq!(order_id(&keyed.post("orders/draft", trip()).await.expect(200)), id);
    assert_eq!(token(), "form-1/a");
    assert_eq!(desk.the_order().order_id, id);

    // Without a key each call makes its own, and one only though its answer is lost.
    desk.app.fault("int-api", json!({"kind": "close_after_work", "route": "/draft", "times": 1}));
    desk.drafted(trip()).await;
    let first = token();
    desk.drafted(trip()).await;
    assert_ne!(first, token());
    assert_eq!(desk.app.sandbox.orders(PARK).len(), 3);

    let long = desk.dispatcher.header("Idempotency-Key", &"k".repeat(256));
    long.post("orders/draft", trip()).await.problem(400, "invalid_idempotency_key");
}

#[actix_web::test]
async fn estimates_and_searches_store_no_phone() {
    let desk = Desk::start().await;
    desk.dispatcher.post("orders/estimate", trip()).await.expect(200);
    assert_eq!(desk.sent_json("estimate").get("personal_phone_id"), None);
    let active = desk.dispatcher.post("orders/active-by-phone", json!({"phone": TYPED})).await;
    assert_eq!(active.expect(200), json!({"orders": []}));
    let calls = |route: &str| {
        desk.app.sandbox.calls("personal", &format!("POST /v1/{{type}}/{route}"))
            + desk.app.sandbox.calls("personal", &format!("POST /v1/phones/{route}"))
    };
    assert_eq!((calls("find"), calls("store")), (2, 0));
    assert_eq!(desk.calls("search"), 1, "a number that nobody has takes as long as any");
    desk.drafted(trip()).await;
    assert_eq!(calls("store"), 1);
}
