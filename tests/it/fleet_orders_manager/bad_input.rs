//! What is malformed is refused with its place, and goes nowhere.

use super::*;

/// Every route that takes a body, with one that is right.
fn routes() -> [(&'static str, Value); 6] {
    [
        ("orders/estimate", trip()),
        ("orders/draft", trip()),
        ("orders/active-by-phone", json!({"phone": TYPED})),
        ("orders/commit", json!({"order_id": NOBODYS})),
        (
            "orders/edit",
            json!({"order_id": NOBODYS, "revision": 1, "phone": TYPED, "route": trip()["route"]}),
        ),
        ("orders/cancel", json!({"order_id": NOBODYS, "revision": 1, "reason": "r"})),
    ]
}

/// Values that a member must not have, and where the fault is told.
fn wrong() -> Vec<(&'static str, Value, &'static str)> {
    let point = |lat: Value, lon: Value| json!([{"lat": 1, "lon": 2}, {"lat": lat, "lon": lon}]);
    vec![
        ("phone", json!("call me"), "/phone"),
        ("phone", json!("+7 999"), "/phone"),
        ("phone", json!(79_990_000_001_u64), "/phone"),
        ("route", json!([]), "/route"),
        ("route", json!("there"), "/route"),
        ("route", json!([5]), "/route/0"),
        ("route", json!([{"lat": 1}]), "/route/0"),
        ("route", point(json!(90.1), json!(2)), "/route/1/lat"),
        ("route", point(json!(1), json!(-180.1)), "/route/1/lon"),
        ("route", point(json!("1"), json!(2)), "/route/1/lat"),
        ("route", json!([{"lat": 1, "lon": 2, "address": 3}]), "/route/0/address"),
        ("classes", json!([]), "/classes"),
        ("classes", json!("econom"), "/classes"),
        ("classes", json!(["econom", ""]), "/classes/1"),
        ("classes", json!(["x".repeat(65)]), "/classes/0"),
        ("order_id", json!(""), "/order_id"),
        ("order_id", json!("two words"), "/order_id"),
        ("order_id", json!("x".repeat(65)), "/order_id"),
        ("order_id", json!(5), "/order_id"),
        ("order_id", Value::Null, "/order_id"),
        ("revision", json!(-1), "/revision"),
        ("revision", json!(1.5), "/revision"),
        ("revision", json!("1"), "/revision"),
        ("reason", json!("x".repeat(1_001)), "/reason"),
        ("reason", json!(5), "/reason"),
    ]
}

#[actix_web::test]
async fn a_wrong_value_is_told_with_its_place() {
    let desk = Desk::start().await;
    let mut tried = 0;
    for (route, body) in routes() {
        for (name, value, pointer) in wrong() {
            // A commit passes on what it does not read.
            if body.get(name).is_some() {
                let mut body = body.clone();
                body[name] = value;
                desk.dispatcher.post(route, body).await.invalid_at(pointer);
                tried += 1;
            }
        }
    }
    assert_eq!(tried, 67, "each value on each route that takes it");
    assert_eq!(desk.all_calls(), 0);
}

#[actix_web::test]
async fn a_member_that_is_missing_is_told() {
    let desk = Desk::start().await;
    for (route, names) in [
        ("orders/estimate", &["route", "classes"][..]),
        ("orders/draft", &["route", "classes"]),
        ("orders/active-by-phone", &["phone"]),
        ("orders/commit", &["order_id"]),
        ("orders/edit", &["order_id", "revision"]),
        ("orders/cancel", &["order_id"]),
    ] {
        let body = routes().into_iter().find(|(known, _)| *known == route).expect("a body").1;
        for name in names {
            let mut body = body.clone();
            body.as_object_mut().unwrap().remove(*name);
            let reply = desk.dispatcher.post(route, body).await;
            let problem = reply.problem(400, "invalid_request");
            let told = problem["errors"][0]["detail"].as_str().unwrap_or_default();
            assert!(told.contains(name), "{route}, {name}: {problem}");
        }
    }
    assert_eq!(desk.all_calls(), 0);
}

#[actix_web::test]
async fn what_is_no_object_is_refused() {
    let desk = Desk::start().await;
    for (route, body) in routes() {
        for text in ["null", "5", "\"text\"", "[]"] {
            post_text(&desk.dispatcher, route, text).await.problem(400, "invalid_request");
        }
        // The values without their names.
        let values: Vec<Value> = body.as_object().unwrap().values().cloned().collect();
        let reply = desk.dispatcher.post(route, json!(values)).await;
        reply.problem(400, "invalid_request");
        for text in ["", "{", "{\"phone\": \"+7", "\u{feff}{}"] {
            post_text(&desk.dispatcher, route, text).await.problem(400, "invalid_json");
        }
        let xml = desk.dispatcher.header("Content-Type", "text/xml");
        xml.post(route, body).await.problem(415, "unsupported_media_type");
    }
    assert_eq!(desk.all_calls(), 0);
}

#[actix_web::test]
async fn an_id_that_cannot_be_one_is_nobodys() {
    let desk = Desk::start().await;
    for id in ["two%20words", "%D0%B6", &"x".repeat(65), "%00"] {
        let reply = desk.dispatcher.get(&format!("orders/{id}")).await;
        assert_eq!(reply.status, 404, "{id}: {}", reply.text());
    }
    assert_eq!(desk.all_calls(), 0);
    // What could be one is asked for, as one value.
    for id in ["..%2Fx", "%22%7D", "a?b"] {
        let reply = desk.dispatcher.get(&format!("orders/{id}")).await;
        assert_eq!(reply.status, 404, "{id}: {}", reply.text());
    }
}

#[actix_web::test]
async fn only_a_dispatcher_with_a_park_may_call() {
    let desk = Desk::start().await;
    let all =
        routes().into_iter().map(|(route, body)| (Method::POST, route, Some(body.to_string())));
    for (method, route, body) in all.chain([(Method::GET, "orders/x", None)]) {
        let call = async |caller: Caller| caller.send(method.clone(), route, body.clone()).await;
        let dispatcher = &desk.dispatcher;
        call(dispatcher.without("Authorization")).await.problem(401, "unauthenticated");
        call(dispatcher.token("nobodys")).await.problem(401, "unauthenticated");
        for token in ["test-driver", "test-internal", "test-takeout"] {
            assert_eq!(call(dispatcher.token(token)).await.status, 403, "{token} on {route}");
        }
        call(dispatcher.without("X-Park-Id")).await.problem(400, "invalid_identity");
        call(dispatcher.header("X-Park-Id", "two words")).await.problem(400, "invalid_identity");
        call(dispatcher.without("X-Dispatcher-Id")).await.problem(400, "invalid_identity");
        for id in ["", "abc", "1.5", "9223372036854775808"] {
            call(dispatcher.header("X-Dispatcher-Id", id)).await.problem(400, "invalid_identity");
        }
        let hasty = dispatcher.header("X-Request-Timeout-Ms", "0");
        call(hasty).await.problem(400, "invalid_timeout");
    }
    assert_eq!(desk.all_calls(), 0);
    assert_eq!(desk.app.sandbox.calls("fleet-parks", "GET /v1/parks/{park_id}"), 0);
}
