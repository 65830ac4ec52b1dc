//! Cursors are opaque, not secret: whoever takes one apart and puts something else together is refused or
//! given a page, whatever stands in it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::walk::{call, caller, guarded};
use super::{Ids, Request};
use crate::support::api::Operation;
use crate::support::app::TestApp;
use crate::support::client::Caller;

/// What may stand in the place of any part.
fn strange() -> Vec<Value> {
    let times =
        ["-009999-01-02T01:59:59Z", "9999-12-30T22:00:00.999999999Z", "1969-12-31T23:59:59Z"];
    let texts = ["", "\u{0}", "a\u{0}b", "' OR 1=1 --", "\u{202e}", "%00", "not/an/id"];
    let numbers = [0, -1, i64::MIN, i64::MAX];
    let mut all: Vec<Value> = times.iter().chain(&texts).map(|text| json!(text)).collect();
    all.extend(numbers.map(|number| json!(number)));
    all.extend([
        json!("x".repeat(600)),
        json!(f64::MAX),
        json!(1e-320),
        json!(null),
        json!([]),
        json!({}),
    ]);
    all
}

/// The paths to every part of a value.
fn parts(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Array(items) => {
            for (number, item) in items.iter().enumerate() {
                parts(item, &format!("{at}/{number}"), found);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                parts(member, &format!("{at}/{name}"), found);
            }
        }
        _ => {}
    }
}

/// A cursor with something else in the place of one part.
fn tampered(cursor: &str) -> Vec<String> {
    let content = URL_SAFE_NO_PAD.decode(cursor).expect("base64");
    let content: Value = serde_json::from_slice(&content).expect("JSON");
    let mut places = Vec::new();
    parts(&content, "", &mut places);
    let mut all = Vec::new();
    for place in places {
        for value in strange() {
            let mut changed = content.clone();
            *changed.pointer_mut(&place).expect("a place") = value;
            all.push(URL_SAFE_NO_PAD.encode(changed.to_string()));
        }
    }
    all
}

/// Two of everything that is listed and belongs to no park.
async fn fill(app: &TestApp) {
    let scooters = app.internal("scooter-accumulator");
    for id in ["c-1", "c-2"] {
        let cabinet = json!({"id": id, "lat": 55.75, "lon": 37.61, "cell_count": 5});
        scooters.post("cabinets", cabinet).await.expect(201);
        let accumulator = json!({"id": format!("a-{id}"), "charge": 1, "place": null});
        scooters.post("accumulators", accumulator).await.expect(201);
    }
    let moved = json!({"charge": 1, "place": {"contractor_id": "t"}});
    scooters.put("accumulators/a-c-1", moved).await.expect(200);
    let outages = "INSERT INTO deptrans.krt_outages (from_at, to_at) \
         VALUES (now() - interval '2 hours', now()), (now() - interval '1 hour', now())";
    app.database().execute(outages).await;
}

/// What comes before the cursor in the query: a list may have several kinds of cursor.
fn queries(operation: &Operation) -> &'static [&'static str] {
    if operation.takes("near") {
        return &["limit=1", "limit=1&near=55.7,37.6&radius_m=100000"];
    }
    &["limit=1"]
}

async fn page(caller: &Caller, operation: &Operation, ids: &Ids, query: String) -> (u16, Value) {
    // The accumulator that was moved.
    let operation = Operation {
        template: operation.template.replace("{accumulator_id}", "a-c-1"),
        ..operation.clone()
    };
    let reply = call(caller, &operation, ids, &Request { query, body: None }).await;
    (reply.status, reply.json())
}

#[actix_web::test]
async fn a_cursor_with_anything_in_it_is_refused_or_leads_somewhere() {
    let app = TestApp::start().await;
    let root = app.anonymous();
    let driver = app.sandbox.driver_ids("park-9")[0].clone();
    let ids = Ids::make(&root, "park-9", &driver).await;
    fill(&app).await;
    let mut lists = 0;
    for operation in guarded(&root).await {
        if !operation.takes("cursor") {
            continue;
        }
        let caller = caller(&root, &operation, &ids);
        for query in queries(&operation) {
            let (status, first) = page(&caller, &operation, &ids, (*query).to_owned()).await;
            let cursor = first["next_cursor"].as_str().or(first["cursor"].as_str());
            let cursor = cursor.unwrap_or_else(|| panic!("{operation}: {status} {first}"));
            for cursor in tampered(cursor) {
                let query = format!("{query}&cursor={cursor}");
                let (status, shown) = page(&caller, &operation, &ids, query).await;
                let well = status == 200
                    || (status == 400 && shown["code"] == "invalid_cursor")
                    || (status == 410 && shown["code"] == "cursor_expired");
                let content = URL_SAFE_NO_PAD.decode(&cursor).expect("base64");
                let content = String::from_utf8_lossy(&content);
                assert!(well, "{operation} {content:.200}: {status} {shown}");
            }
            lists += 1;
        }
    }
    assert!(lists >= 12, "{lists} lists");
}
