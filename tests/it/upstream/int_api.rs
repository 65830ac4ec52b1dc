//! The stand-in for int-api, against its contract.

use serde_json::{Value, json};

use super::plain::{Plain, code};
use crate::support::eventually;

const PARK: &str = "park-1";

fn draft() -> Value {
    json!({
        "park_id": PARK, "personal_phone_id": "0a", "dispatcher_id": 7, "dispatch_mode": "saas",
        "source": "dispatcher", "classes": ["econom", "comfort"],
        "route": [{"lat": 55.75, "lon": 37.61, "address": "Тверская, 7"}],
    })
}

async fn drafted(plain: &Plain, token: &str) -> String {
    let (status, body) =
        plain.with_header("X-Idempotency-Token", token).post("draft", &draft()).await;
    assert_eq!(status, 200, "{body}");
    body["order_id"].as_str().unwrap().to_owned()
}

fn plain() -> Plain {
    Plain::start("int-api", "/v1/orders/")
}

#[actix_web::test]
async fn an_order_goes_from_draft_to_cancelled() {
    let plain = plain();
    let id = drafted(&plain, "t-1").await;
    let order = json!({"park_id": PARK, "order_id": id});
    let search = json!({"park_id": PARK, "personal_phone_id": "0a", "states": ["active"]});
    assert_eq!(plain.post("search", &search).await, (200, json!({"orders": []})));

    let committed = (200, json!({"order_id": id, "status": "committed"}));
    for _ in 0..2 {
        assert_eq!(plain.post("commit", &order).await, committed);
    }
    let (_, found) = plain.post("search", &search).await;
    let found = &found["orders"][0];
    assert_eq!(found["order_id"], id);
    assert_eq!((&found["status"], &found["class"]), (&json!("committed"), &json!("econom")));
    assert_eq!(found["route"], draft()["route"]);
    assert!(found["created_at"].as_str().unwrap().ends_with('Z'));

    plain.sandbox.set_order_status(&id, "driving").unwrap();
    assert_eq!(plain.post("commit", &order).await, committed, "the same answer, later too");
    let edit =
        |revision| json!({"park_id": PARK, "order_id": id, "revision": revision, "comment": "c"});
    let (status, refused) = plain.post("edit", &edit(2)).await;
    assert_eq!((status, code(&refused)), (409, "revision_conflict"));
    let edited = json!({"order_id": id, "status": "driving", "revision": 4});
    assert_eq!(plain.post("edit", &edit(3)).await, (200, edited));

    let cancel = |revision| json!({"park_id": PARK, "order_id": id, "revision": revision, "reason": "changed_mind"});
    let (status, refused) = plain.post("cancel", &cancel(3)).await;
    assert_eq!((status, code(&refused)), (409, "revision_conflict"));
    let cancelled = json!({"order_id": id, "status": "cancelled", "revision": 5});
    assert_eq!(plain.post("cancel", &cancel(4)).await, (200, cancelled));
    let (status, refused) = plain.post("cancel", &cancel(5)).await;
    assert_eq!((status, code(&refused)), (409, "not_cancellable"));
    let (status, refused) = plain.post("commit", &order).await;
    assert_eq!((status, code(&refused)), (409, "order_cancelled"));
    assert_eq!(plain.post("search", &search).await, (200, json!({"orders": []})));
}

#[actix_web::test]
async fn a_token_makes_one_order_in_a_park() {
    let plain = plain();
    let id = drafted(&plain, "t-1").await;
    plain.sandbox.set_fault("int-api", json!({"kind": "close_after_work", "times": 1})).unwrap();
    let with_token = plain.with_header("X-Idempotency-Token", "t-2");
    assert!(with_token.try_post("draft", &draft()).await.is_err(), "the answer is lost");
    assert_eq!(plain.sandbox.orders(PARK).len(), 2, "the work is done");
    drafted(&plain, "t-2").await;
    assert_eq!(drafted(&plain, "t-1").await, id);
    assert_eq!(plain.sandbox.orders(PARK).len(), 2);

    let mut other = draft();
    other["park_id"] = json!("park-2");
    let (_, body) = with_token.post("draft", &other).await;
    assert_eq!(plain.sandbox.orders("park-2")[0].order_id, body["order_id"]);
    assert_eq!(plain.post("draft", &draft()).await.0, 400, "without a token");
}

#[actix_web::test]
async fn fields_that_are_not_known_come_back_byte_for_byte() {
    let plain = plain();
    let draft = draft().to_string();
    let draft = format!(
        r#"{},"fare":{{"max":1.50,"big":12345678901234567890123.10}},"revision":9}}"#,
        draft.strip_suffix('}').unwrap()
    );
    let with_token = plain.with_header("X-Idempotency-Token", "t");
    let (status, body) = with_token.send("draft", draft.clone()).await;
    assert_eq!(status, 200, "{body}");
    let id: Value = serde_json::from_str(&body).unwrap();
    let order = json!({"park_id": PARK, "order_id": id["order_id"]});
    let (status, info) = plain.send("info", order.to_string()).await;
    assert_eq!(status, 200);
    assert!(info.contains(r#""fare":{"max":1.50,"big":12345678901234567890123.10}"#), "{info}");
    assert!(info.contains(r#""revision":1,"#) && info.contains(r#""status":"draft""#), "{info}");

    let (headers, body) = plain.sandbox.last_request("int-api", "draft").unwrap();
    assert_eq!(headers.get("x-idempotency-token").unwrap(), "t");
    assert_eq!(body, draft);
    let (_, last) = plain.control("GET", "/int-api/last/draft", None).await;
    assert_eq!(last["headers"]["x-idempotency-token"], "t");
    assert_eq!(last["body"]["fare"]["max"], 1.5);
}

#[actix_web::test]
async fn what_breaks_the_contract_is_refused() {
    let plain = plain();
    let with = |name: &str, value: Value| {
        let mut body = draft();
        body[name] = value;
        body
    };
    let point = |lat: f64| json!([{"lat": lat, "lon": 37.6, "address": ""}]);
    let token = plain.with_header("X-Idempotency-Token", "t");
    for (body, expected) in [
        (with("phone", json!("+79990000001")), "phone_not_allowed"),
        (with("phone", Value::Null), "phone_not_allowed"),
        (with("park_id", Value::Null), "bad_request"),
        (with("dispatcher_id", Value::Null), "bad_request"),
        (with("dispatch_mode", json!("other")), "bad_request"),
        (with("source", json!("")), "bad_request"),
        (with("route", json!([])), "bad_route"),
        (with("route", point(90.1)), "bad_route"),
        (with("classes", json!([])), "bad_classes"),
        (json!([]), "bad_request"),
    ] {
        let (status, refused) = token.post("draft", &body).await;
        assert_eq!((status, code(&refused)), (400, expected), "{body}");
    }
    assert_eq!(plain.sandbox.orders(PARK).len(), 0);
    let (status, estimate) = plain.post("estimate", &draft()).await;
    assert_eq!(status, 200);
    assert!(estimate["offer_id"].is_string() && estimate["currency"] == "RUB", "{estimate}");
    assert_eq!(estimate["estimates"][1]["class"], "comfort");
    assert!(estimate["estimates"][1]["price"].is_string());
    assert!(estimate["estimates"][1]["eta_seconds"].is_u64());
}

#[actix_web::test]
async fn another_parks_order_is_not_there() {
    let plain = plain();
    let id = drafted(&plain, "t").await;
    let order = json!({"park_id": "park-2", "order_id": id, "revision": 1, "reason": "r"});
    for operation in ["commit", "info", "edit", "cancel"] {
        assert_eq!(plain.post(operation, &order).await.0, 404, "{operation}");
    }
    let kept = plain.sandbox.orders(PARK).remove(0);
    assert_eq!((kept.status.as_str(), kept.revision), ("draft", 1));
}

#[actix_web::test]
async fn orders_are_moved_over_http_too() {
    let plain = plain();
    let id = drafted(&plain, "t").await;
    let path = format!("/int-api/orders/{id}/status");
    let to = |status: &str| Some(json!({ "status": status }));
    assert_eq!(plain.control("POST", &path, to("completed")).await.0, 204);
    assert_eq!(plain.control("POST", &path, to("lost")).await.0, 400);
    assert_eq!(plain.control("POST", "/int-api/orders/none/status", to("driving")).await.0, 404);
    let info = json!({"park_id": PARK, "order_id": id});
    let (_, info) = plain.post("info", &info).await;
    assert_eq!((&info["status"], &info["revision"]), (&json!("completed"), &json!(2)));
}

#[actix_web::test]
async fn a_transient_refusal_is_a_fault() {
    let plain = plain();
    let id = drafted(&plain, "t").await;
    let in_progress = json!({"code": "commit_in_progress", "message": "wait"});
    let faults = json!([
        {"kind": "answer", "status": 409, "body": in_progress, "route": "/commit", "times": 1},
        {"kind": "delay_after_work", "ms": 1, "route": "/commit"},
    ]);
    plain.sandbox.set_fault("int-api", faults).unwrap();
    let order = json!({"park_id": PARK, "order_id": id});
    assert_eq!(plain.post("commit", &order).await, (409, in_progress));
    assert_eq!(plain.sandbox.orders(PARK)[0].status, "draft");
    assert_eq!(plain.post("commit", &order).await.0, 200);
}

#[actix_web::test]
async fn a_slow_commit_lands_after_its_client_gave_up() {
    let plain = plain();
    let id = drafted(&plain, "t").await;
    plain.sandbox.set_fault("int-api", json!({"kind": "hold"})).unwrap();
    let order = json!({"park_id": PARK, "order_id": id});
    let has_arrived = async || plain.sandbox.last_request("int-api", "commit").is_some();
    tokio::select! {
        answer = plain.try_post("commit", &order) => panic!("{answer:?} before the client gave up"),
        () = eventually("the commit arrives", has_arrived) => {}
    }
    assert_eq!(plain.sandbox.orders(PARK)[0].status, "draft");
    plain.sandbox.clear_fault("int-api");
    let is_committed = async || plain.sandbox.orders(PARK)[0].status == "committed";
    eventually("the order is committed", is_committed).await;
}
