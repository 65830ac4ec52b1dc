//! Mailings whose task is gone are given up, and can be resumed.

use super::*;

const LOOK_NOW: &str = "UPDATE task_queue.schedules SET next_at = now()";

#[actix_web::test]
async fn a_mailing_whose_task_is_gone_fails_and_can_be_resumed() {
    let office = Office::of_drivers(10).await;
    office.app.fault("feeds", json!({"kind": "status", "status": 503}));
    let lost = office.order("lost").await;
    let kept = office.order("kept").await;
    for id in [&lost, &kept] {
        office.until(id, "it waits", |m| m["error"] == "feeds_unavailable").await;
    }
    // Many that wait for their time, and for which nothing has happened for longer, hide it not.
    let later = "WITH t AS (SELECT park_id, id FROM fleet_communications.mailing_templates LIMIT 1), \
         m AS (INSERT INTO fleet_communications.mailings \
         (park_id, id, template_id, created_by, status, message, updated_at) \
         SELECT t.park_id, 'later-' || n, t.id, 1, 'scheduled', 'x', now() - interval '1 day' \
         FROM t, generate_series(1, 2500) n RETURNING park_id, id) \
         INSERT INTO task_queue.tasks (tag, run_at, priority, max_attempts, state, queue, kind, park_id, \
         unique_key, traceparent, payload) SELECT 0, now() + interval '1 day', 1, 13, 'scheduled', \
         'mailings', 'communications.send_mailing', park_id, id, '', \
         jsonb_build_object('mailing_id', id) FROM m";
    let database = office.app.database();
    database.execute(later).await;
    let remove = format!("DELETE FROM task_queue.tasks WHERE unique_key = '{lost}' RETURNING 1");
    eventually("its task is gone", async || {
        let removed = database.query(&remove, &[]).await.len();
        let left = format!("SELECT count(*) FROM task_queue.tasks WHERE unique_key = '{lost}'");
        removed == 0 && database.count(&left).await == 0
    })
    .await;
    let age = "UPDATE fleet_communications.mailings SET updated_at = now() - interval '2 minutes' \
         WHERE id NOT LIKE 'later-%'";
    database.execute(age).await;
    database.execute(LOOK_NOW).await;

    let office = Office::of(office.app.restarted().await);
    let failed = office.becomes(&lost, "failed").await;
    assert_eq!(failed["error"], "task_lost");
    assert_eq!(office.mailing(&kept).await["status"], "sending");
    let given_up = "SELECT count(*) FROM fleet_communications.mailings WHERE status = 'failed'";
    assert_eq!(office.app.database().count(given_up).await, 1);
    office.app.sandbox.clear_fault("feeds");
    office.dispatcher.post(&format!("mailings/{lost}/retry"), json!({})).await.expect(202);
    for id in [&lost, &kept] {
        assert_eq!(office.becomes(id, "sent").await["recipients"], recipients(10, 10, 0));
    }
    assert_eq!(office.app.sandbox.delivered_counts(None).doubled, 0);
}
