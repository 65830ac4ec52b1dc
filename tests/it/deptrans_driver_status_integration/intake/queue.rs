//! What an event does to the queue: places, leases and outages.

use serde_json::json;

use super::{DOMAIN, event, start};
use crate::support::app::TestApp;

async fn take(app: &TestApp, driver: &str, status: &str, time: &str) {
    let body = json!({ "events": [event(driver, status, time, "e")] });
    assert_eq!(app.internal(DOMAIN).post("status-events", body.clone()).await.status, 200);
}

/// What stands in the only row.
async fn row(app: &TestApp, columns: &str) -> String {
    let sql = format!("SELECT row({columns})::text FROM deptrans.status_queue");
    let rows = app.database().query(&sql, &[]).await;
    assert_eq!(rows.len(), 1);
    rows[0].get(0)
}

#[actix_web::test]
async fn who_waits_keeps_his_place_and_his_lease() {
    let app = start().await;
    take(&app, "d1", "online", "10:00:00").await;
    let taken = "UPDATE deptrans.status_queue SET due_at = now() + interval '1 hour', attempts = 3, \
         lease = '00000000-0000-0000-0000-000000000001', queued_at = now() - interval '1 minute'";
    app.database().execute(taken).await;
    let before = row(&app, "queued_at, due_at, lease, attempts").await;
    take(&app, "d1", "offline", "10:01:00").await;
    assert_eq!(row(&app, "queued_at, due_at, lease, attempts").await, before);
    assert_eq!(row(&app, "status, off_line, replaced").await, "(offline,t,1)");
}

#[actix_web::test]
async fn who_rests_is_due_at_once_and_an_older_event_wakes_nobody() {
    let app = start().await;
    take(&app, "d1", "online", "10:00:00").await;
    take(&app, "d1", "busy", "10:01:00").await;
    assert_eq!(row(&app, "replaced").await, "(1)");
    let sent = "UPDATE deptrans.status_queue SET due_at = NULL, queued_at = NULL, attempts = 2, \
         reported_on_line = true";
    app.database().execute(sent).await;
    take(&app, "d1", "offline", "10:00:30").await;
    assert_eq!(row(&app, "status, due_at, queued_at").await, "(busy,,)");
    take(&app, "d1", "offline", "10:02:00").await;
    let due = "status, due_at <= now(), queued_at <= now(), attempts, replaced, reported_on_line";
    assert_eq!(row(&app, due).await, "(offline,t,t,0,0,t)");
}

#[actix_web::test]
async fn an_open_outage_counts_what_was_replaced_while_it_waited() {
    let app = start().await;
    let superseded = async || {
        app.database().count("SELECT superseded FROM deptrans.krt_outages ORDER BY id DESC").await
    };
    app.database().execute("INSERT INTO deptrans.krt_outages (from_at) VALUES (now())").await;
    take(&app, "d1", "online", "10:00:00").await;
    assert_eq!(superseded().await, 0, "nothing waited before");
    take(&app, "d1", "busy", "10:01:00").await;
    take(&app, "d1", "busy", "10:01:00").await;
    take(&app, "d1", "offline", "10:00:30").await;
    assert_eq!(superseded().await, 1);
    // Two of one driver in a batch: the first would have waited, and been replaced.
    let events = [event("d1", "busy", "10:02:00", "e"), event("d1", "online", "10:03:00", "e")];
    let body = json!({ "events": events });
    for _ in 0..2 {
        assert_eq!(app.internal(DOMAIN).post("status-events", body.clone()).await.status, 200);
        assert_eq!(superseded().await, 3, "sent again, it counts nothing");
    }
    app.database().execute("UPDATE deptrans.krt_outages SET to_at = now()").await;
    take(&app, "d1", "offline", "10:04:00").await;
    assert_eq!(superseded().await, 3, "it is over");
}
