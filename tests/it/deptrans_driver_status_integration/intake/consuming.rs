//! Events come from Kafka.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{DOMAIN, event, newest};
use crate::support::app::TestApp;
use crate::support::eventually;
use crate::support::kafka::{Kafka, on_each_broker};

async fn start(kafka: &Kafka) -> TestApp {
    TestApp::builder().domains(&[DOMAIN]).config(kafka.config()).start().await
}

fn send(kafka: &Kafka, partition: i32, events: &[Value]) {
    let texts: Vec<String> = events.iter().map(Value::to_string).collect();
    kafka.send(texts.iter().map(|text| (partition, text.as_bytes())));
}

on_each_broker! {
    async fn the_newest_status_of_each_driver_is_kept(kafka: Kafka) {
        let app = start(&kafka).await;
        send(&kafka, 0, &[
            event("d1", "online", "10:00:00", "a"),
            event("d1", "busy", "10:05:00", "a"),
            event("d1", "online", "10:04:00", "a"),
        ]);
        send(&kafka, 1, &[event("d2", "offline", "10:00:00", "a")]);
        eventually("all are committed", async || kafka.committed_total() == 4).await;
        assert_eq!(newest(&app, "d1").await, ("busy".to_owned(), "10:05:00".to_owned()));
        assert_eq!(newest(&app, "d2").await.0, "offline");
        let ready = app.anonymous().get("readyz").await.json();
        let rows = ready["dependencies"].as_array().unwrap().clone();
        assert!(rows.contains(&json!({"name": "kafka", "status": "ok"})), "{ready}");
    }
}

on_each_broker! {
    /// What cannot be read holds nobody up; it is kept where only the key shows it, and named in no log
    /// and no metric.
    async fn what_cannot_be_read_is_kept_sealed_and_the_rest_goes_on(kafka: Kafka) {
        let app = start(&kafka).await;
        let secret = "79990001122";
        let long = format!("{secret}{}", "x".repeat(100_000));
        let wrong = event("d1", secret, "10:00:00", "a").to_string();
        let good = event("d1", "busy", "10:00:00", "a").to_string();
        let future = json!({"park_id": "park-1", "driver_id": "d1", "status": "offline",
            "occurred_at": "2999-01-01T00:00:00Z", "event_id": "a"}).to_string();
        let bodies: [&[u8]; 6] =
            [long.as_bytes(), b"", b"\xff\x00", wrong.as_bytes(), good.as_bytes(), future.as_bytes()];
        kafka.send(bodies.map(|body| (2, body)));
        eventually("all are committed", async || kafka.committed_total() == 6).await;
        assert_eq!(newest(&app, "d1").await.0, "busy");
        let sql = "SELECT \"offset\", split_part(reason, ':', 1), length(body)::bigint, topic \
             FROM deptrans.dead_letters WHERE partition = 2 ORDER BY \"offset\"";
        let rows = app.database().query(sql, &[]).await;
        let kept: BTreeMap<i64, String> =
            rows.iter().map(|row| (row.get::<_, i64>(0), row.get::<_, String>(1))).collect();
        let expected = [(0, "not_an_event"), (1, "not_json"), (2, "not_json"), (3, "bad_status"),
            (5, "time_in_future")].map(|(offset, reason)| (offset, reason.to_owned()));
        assert_eq!(kept, BTreeMap::from(expected));
        assert!(rows.iter().all(|row| row.get::<_, i64>(2) < 17_000 && row.get::<_, &str>(3) == kafka.topic()));
        assert!(!app.database().dump().await.contains(secret), "it is sealed");
        assert!(!app.anonymous().get("metrics").await.text().contains(secret));
        let unreadable = "deptrans_status_events_total{outcome=\"unreadable\",source=\"kafka\"}";
        assert_eq!(app.count(unreadable).await, 5);
    }
}
