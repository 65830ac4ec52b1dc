//! Whatever happens to an order, at whatever level: no phone, no address, no comment, no token and
//! no unknown member gets into logs or metrics.

use super::*;
use crate::support::app::start_sandbox;
use crate::support::names_of_series;

/// Stands in every text of an order that a dispatcher writes.
const MARKER: &str = "marker-of-the-order";
const UPSTREAM_TOKEN: &str = "upstream-token-7731";
const WRONG_TOKEN: &str = "wrong-token-7731";

/// The lines that show what they must not.
fn leaks(text: &str) -> Vec<&str> {
    let bytes = |text: &str| {
        let numbers: Vec<String> = text.bytes().map(|byte| byte.to_string()).collect();
        numbers.join(", ")
    };
    let words = [MARKER, UPSTREAM_TOKEN, WRONG_TOKEN, "test-dispatcher\"", "Bearer test"];
    let words = words.map(str::to_owned).into_iter().chain([bytes(MARKER), bytes(DIGITS)]);
    let words: Vec<String> = words.collect();
    let leaks = |line: &&str| {
        let digits: String = line.chars().filter(char::is_ascii_digit).collect();
        digits.contains(DIGITS) || words.iter().any(|word| line.contains(word.as_str()))
    };
    text.lines().filter(leaks).collect()
}

fn marked() -> Value {
    json!({
        "phone": TYPED, "classes": ["econom"], "comment": MARKER, "note": {MARKER: TYPED},
        "route": [{"lat": 55.75, "lon": 37.61, "address": MARKER}],
    })
}

/// Everything that a dispatcher does with an order, whatever comes of it.
async fn work(orders: &Caller) {
    orders.post("orders/active-by-phone", json!({"phone": TYPED})).await;
    orders.post("orders/estimate", marked()).await;
    let keyed = orders.header("Idempotency-Key", MARKER);
    let drafted = keyed.post("orders/draft", marked()).await;
    let drafted =
        if drafted.status == 200 { order_id(&drafted.json()) } else { NOBODYS.to_owned() };
    commit(orders, &drafted).await;
    for revision in [1, 2] {
        let edit =
            json!({"order_id": drafted, "revision": revision, "comment": MARKER, "phone": TYPED});
        orders.post("orders/edit", edit).await;
    }
    orders.get(&format!("orders/{drafted}")).await;
    orders.post("orders/cancel", json!({"order_id": drafted, "reason": MARKER})).await;
}

async fn mistakes(orders: &Caller) {
    for body in [
        format!("{{\"phone\": \"{PHONE}\""),
        format!("{{\"phone\": \"{PHONE} {MARKER}\", \"route\": [], \"classes\": \"{MARKER}\"}}"),
        format!("{{\"{MARKER}\": \"{PHONE}\", \"{MARKER}\": 2}}"),
    ] {
        for route in ["draft", "estimate", "active-by-phone", "commit", "edit", "cancel"] {
            let reply = post_text(orders, &format!("orders/{route}"), body.clone()).await;
            assert_eq!(reply.status, 400, "{}", reply.text());
        }
    }
    orders.get(&format!("orders/{MARKER}")).await;
    orders.get("orders/%2B79990000001").await;
    orders.token(WRONG_TOKEN).post("orders/draft", marked()).await.problem(401, "unauthenticated");
}

async fn nothing_is_shown_at(level: &str) {
    let (database, sandbox) = (TestDatabase::create(), start_sandbox());
    let config = configuration(&database.url(), &sandbox)
        .replace("name = 'test-dispatcher'", "name = 'front'")
        .replace("token = 'test-fleet'", &format!("token = '{UPSTREAM_TOKEN}'"));
    let env = [
        ("FLEET__TELEMETRY__LOG", level),
        ("FLEET__FLEET_ORDERS_MANAGER__PARK_TTL_MS", "1"),
        ("FLEET__FLEET_ORDERS_MANAGER__PARK_STALE_MS", "50"),
        ("FLEET__UPSTREAMS__INT_API__BREAKER_FAILURES", "1000000"),
        ("FLEET__UPSTREAMS__PERSONAL__BREAKER_FAILURES", "1000000"),
        ("FLEET__UPSTREAMS__FLEET_PARKS__BREAKER_FAILURES", "1000000"),
    ];
    let mut server = Server::start(&config, &env).await;
    let orders = dispatcher(&server.anonymous(), DOMAIN);
    work(&orders).await;
    mistakes(&orders).await;
    let hasty = orders.header("X-Request-Timeout-Ms", "400");
    for stand_in in ["int-api", "personal", "fleet-parks"] {
        for fault in [
            json!({"kind": "status", "status": 500}),
            json!({"kind": "answer", "status": 409, "body": {"code": format!("{MARKER} {PHONE}"), "message": PHONE}}),
            json!({"kind": "garbage"}),
            json!({"kind": "truncate"}),
            json!({"kind": "close_after_work"}),
            json!({"kind": "hang"}),
        ] {
            sandbox.set_fault(stand_in, fault).unwrap();
            work(&hasty).await;
        }
        sandbox.clear_fault(stand_in);
    }
    let metrics = names_of_series(&server.anonymous().get("metrics").await.text());
    sandbox.set_fault("int-api", json!({"kind": "close", "route": "/info"})).unwrap();
    eventually("all is well but for one route", async || {
        orders.post("orders/draft", marked()).await.status == 200
    })
    .await;
    let lost = order_id(&orders.post("orders/draft", marked()).await.expect(200));
    commit(&orders, &lost).await.expect(200);
    server.signal("TERM");
    assert!(server.wait(PATIENCE).await.is_some());

    let output = server.output();
    assert_eq!(leaks(&output), Vec::<&str>::new(), "in the log at {level}");
    assert_eq!(leaks(&metrics), Vec::<&str>::new(), "in the metrics");
    for line in output.lines() {
        let parsed: Result<Value, _> = serde_json::from_str(line);
        assert!(parsed.is_ok_and(|line| line["level"].is_string()), "no JSON: {line}");
    }
    // It did log what went wrong.
    for code in
        ["int_api_unavailable", "personal_unavailable", "fleet_parks_unavailable", "lost_at_stop"]
    {
        let told = |line: &&str| line.contains(code) && line.contains("trace_id");
        assert!(output.lines().any(|line| told(&line)), "no {code} in the log:\n{output}");
    }
}

#[actix_web::test]
async fn nothing_personal_is_logged_in_production() {
    nothing_is_shown_at("info").await;
}

#[actix_web::test]
async fn nothing_personal_is_logged_by_whoever_wants_to_see_it_all() {
    nothing_is_shown_at("trace,tokio_postgres=trace").await;
}
