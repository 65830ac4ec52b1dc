//! `POST internal/v1/status-events`: the same events as from Kafka.

use serde_json::{Value, json};

use super::{DOMAIN, event, newest, start};

async fn post(app: &crate::support::app::TestApp, events: Vec<Value>) -> Value {
    let body = json!({ "events": events });
    let reply = app.internal(DOMAIN).post("status-events", body.clone()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

#[actix_web::test]
async fn the_newest_by_its_own_time_is_kept() {
    let app = start().await;
    let first = vec![
        event("d1", "online", "10:00:00", "a"),
        event("d2", "offline", "10:00:00", "a"),
        event("d1", "busy", "10:05:00", "a"),
    ];
    assert_eq!(
        post(&app, first.clone()).await,
        json!({"accepted": 2, "superseded": 1, "rejected": []})
    );
    assert_eq!(newest(&app, "d1").await, ("busy".to_owned(), "10:05:00".to_owned()));
    let older = vec![event("d1", "offline", "10:04:59.999999999", "z")];
    assert_eq!(post(&app, older).await, json!({"accepted": 0, "superseded": 1, "rejected": []}));
    assert_eq!(post(&app, first).await, json!({"accepted": 0, "superseded": 3, "rejected": []}));
    assert_eq!(newest(&app, "d1").await.0, "busy");
    assert_eq!(newest(&app, "d2").await.0, "offline");
}

#[actix_web::test]
async fn a_bad_event_is_told_and_does_not_refuse_the_rest() {
    let app = start().await;
    let mut extra = event("d1", "online", "10:00:00", "a");
    extra["more"] = json!({"phone": "+79990000001"});
    let events = vec![
        json!("no event"),
        extra,
        event("d2", "sleeping", "10:00:00", "a"),
        event("", "online", "10:00:00", "a"),
        event("d3", "online", "25:00:00", "a"),
        json!({"park_id": "park-1"}),
    ];
    let outcome = post(&app, events).await;
    assert_eq!(outcome["accepted"], 1);
    let rejected = outcome["rejected"].as_array().unwrap();
    let places: Vec<_> = rejected.iter().map(|one| one["index"].as_u64().unwrap()).collect();
    assert_eq!(places, [0, 2, 3, 4, 5]);
    assert!(rejected[1]["detail"].as_str().unwrap().contains("status"), "{outcome}");
    let rows = app.database().count("SELECT count(*) FROM deptrans.status_queue").await;
    let letters = app.database().count("SELECT count(*) FROM deptrans.dead_letters").await;
    assert_eq!((rows, letters), (1, 0));
    let counted = |labels: &str| format!("deptrans_status_events_total{{{labels}}}");
    assert_eq!(app.count(&counted("outcome=\"unreadable\",source=\"http\"")).await, 5);
    assert_eq!(app.count(&counted("outcome=\"accepted\",source=\"http\"")).await, 1);
}

#[actix_web::test]
async fn nothing_and_a_thousand_are_taken_and_one_more_is_not() {
    let app = start().await;
    assert_eq!(post(&app, vec![]).await, json!({"accepted": 0, "superseded": 0, "rejected": []}));
    let many = |count: usize| -> Vec<Value> {
        (0..count).map(|n| event(&format!("d{n}"), "online", "10:00:00", "a")).collect()
    };
    assert_eq!(post(&app, many(1_000)).await["accepted"], 1_000);
    let body = json!({ "events": many(1_001) });
    let reply = app.internal(DOMAIN).post("status-events", body.clone()).await;
    assert_eq!(reply.status, 400);
    let body = json!({ "events": [], "more": 1 });
    assert_eq!(app.internal(DOMAIN).post("status-events", body.clone()).await.status, 400);
}
