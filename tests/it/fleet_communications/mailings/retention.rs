//! Recipients of mailings that ended long ago go, and later the mailings themselves.

use super::*;
use crate::support::database::TestDatabase;

const REMOVED: &str = "fleet_cleaning_rows_total{what=\"fleet_communications.mailing_recipients\"}";
const DAYS: &str = "[fleet_communications]\nrecipient_days = 30\n";

/// A mailing with chunks of a thousand, in the state of its chunks, that ended so many days ago.
async fn fill(
    database: &TestDatabase,
    park: &str,
    id: &str,
    (status, chunk): (&str, &str),
    count: i32,
    days: Option<i32>,
) {
    let finished = days.map_or("NULL".to_owned(), |days| format!("now() - interval '{days} days'"));
    let sql = format!(
        "INSERT INTO fleet_communications.mailing_templates (park_id, id, message, created_by) \
           VALUES ('{park}', 't', 'x', 1) ON CONFLICT DO NOTHING; \
         INSERT INTO fleet_communications.mailings \
           (park_id, id, template_id, created_at, created_by, status, updated_at, finished_at, message, \
            selected_at, selected, sent) \
           VALUES ('{park}', '{id}', 't', now() - interval '100 days', 1, '{status}', now(), {finished}, \
             'x', now(), {count}, CASE WHEN '{chunk}' = 'sent' THEN {count} ELSE 0 END); \
         INSERT INTO fleet_communications.mailing_chunks (park_id, mailing_id, chunk, state, size, sent) \
           SELECT '{park}', '{id}', n, '{chunk}', s.size, CASE WHEN '{chunk}' = 'sent' THEN s.size ELSE 0 END \
           FROM generate_series(0, ({count} - 1) / 1000) n, LEAST(1000, {count} - 1000 * n) AS s(size); \
         INSERT INTO fleet_communications.mailing_recipients \
           (park_id, mailing_id, contractor_id, chunk, status) \
           SELECT '{park}', '{id}', 'd-' || n, (n - 1) / 1000, \
             CASE WHEN '{chunk}' = 'sent' THEN 'sent' ELSE 'selected' END \
           FROM generate_series(1, {count}) n"
    );
    database.execute(&sql).await;
}

async fn serve(database: TestDatabase) -> Office {
    serve_with(database, DAYS).await
}

async fn serve_with(database: TestDatabase, days: &str) -> Office {
    let builder = TestApp::builder().domains(&[DOMAIN]).database(database);
    Office::of(builder.config(USUAL).config(days).start().await)
}

async fn kept(office: &Office) -> Vec<(String, String, i64)> {
    let sql = "SELECT park_id, mailing_id, count(*) FROM fleet_communications.mailing_recipients \
         GROUP BY 1, 2 ORDER BY 1, 2";
    let rows = office.app.database().query(sql, &[]).await;
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

#[actix_web::test]
async fn recipients_of_old_mailings_go_and_all_others_stay() {
    const SENT: (&str, &str) = ("sent", "sent");
    let database = TestDatabase::create();
    fill(&database, PARK, "old", SENT, 2_500, Some(31)).await;
    fill(&database, PARK, "cancelled", ("cancelled", "dropped"), 10, Some(31)).await;
    fill(&database, PARK, "failed", ("failed", "waiting"), 10, Some(31)).await;
    fill(&database, PARK, "nobody", SENT, 0, Some(31)).await;
    fill(&database, PARK, "fresh", SENT, 30, Some(29)).await;
    fill(&database, PARK, "unfinished", ("sending", "waiting"), 40, None).await;
    fill(&database, OTHER_PARK, "old", SENT, 50, Some(29)).await;
    let office = serve(database).await;
    eventually("they are removed", async || office.app.count(REMOVED).await == 2_520).await;
    let row = |park: &str, id: &str, count| (park.to_owned(), id.to_owned(), count);
    let others = [row(PARK, "fresh", 30), row(PARK, "unfinished", 40), row(OTHER_PARK, "old", 50)];
    assert_eq!(kept(&office).await, others);
    let noted = "SELECT count(*) FROM fleet_communications.mailings \
         WHERE recipients_removed_at IS NOT NULL AND id IN ('old', 'cancelled', 'failed')";
    assert_eq!(office.app.database().count(noted).await, 3);

    // The history tells the same as before.
    let old = office.mailing("old").await;
    assert_eq!(
        (&old["status"], &old["recipients"]),
        (&json!("sent"), &recipients(2_500, 2_500, 0))
    );
}

#[actix_web::test]
async fn what_ended_too_long_ago_is_not_resumed() {
    let database = TestDatabase::create();
    fill(&database, PARK, "old", ("failed", "waiting"), 3, Some(31)).await;
    fill(&database, PARK, "fresh", ("failed", "waiting"), 3, Some(29)).await;
    let office = serve(database).await;
    let retry =
        async |id: &str| office.dispatcher.post(&format!("mailings/{id}/retry"), json!({})).await;
    retry("old").await.problem(409, "mailing_closed");
    eventually("they are removed", async || office.app.count(REMOVED).await == 3).await;
    retry("old").await.problem(409, "mailing_closed");
    // Also when they would be kept for longer by now.
    let later = "UPDATE fleet_communications.mailings SET finished_at = now() - interval '2 days'";
    office.app.database().execute(later).await;
    retry("old").await.problem(409, "mailing_closed");
    let resumed = retry("fresh").await.expect(202);
    assert_eq!(resumed["status"], "sending");
    let sent = office.becomes("fresh", "sent").await;
    assert_eq!(sum(&sent["recipients"]), 6, "{sent}");
    assert_eq!(office.cancel("old").await["outcome"]["stopped"], 3);
}

#[actix_web::test]
async fn the_tables_are_not_read_from_end_to_end() {
    let database = TestDatabase::create();
    for number in 1..=20 {
        let days = if number <= 2 { 31 } else { 1 };
        fill(&database, PARK, &format!("m-{number}"), ("sent", "sent"), 1_000, Some(days)).await;
    }
    // Enough of them that their index is worth it.
    let more = "INSERT INTO fleet_communications.mailings \
           (park_id, id, template_id, created_by, status, finished_at, message, selected) \
         SELECT park_id, 'n-' || n, template_id, 1, 'sent', now(), message, 1 \
         FROM fleet_communications.mailings, generate_series(1, 2000) n WHERE id = 'm-1'";
    database.execute(more).await;
    database.execute("ANALYZE").await;
    let office = serve(database).await;
    eventually("they are removed", async || office.app.count(REMOVED).await == 2_000).await;
    let scans =
        "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'mailings_to_clean'";
    eventually("the index was used", async || office.app.database().count(scans).await > 0).await;
    let reads = "SELECT seq_scan FROM pg_stat_user_tables \
         WHERE schemaname = 'fleet_communications' AND relname = 'mailing_recipients'";
    assert_eq!(office.app.database().count(reads).await, 0);
}

/// What is left of a kind, by park and id.
async fn left(office: &Office, table: &str) -> Vec<String> {
    let sql = format!("SELECT park_id || ' ' || id FROM fleet_communications.{table} ORDER BY 1");
    office.app.database().query(&sql, &[]).await.iter().map(|row| row.get(0)).collect()
}

#[actix_web::test]
async fn mailings_that_ended_long_ago_go_with_all_they_had() {
    const GONE: &str = "fleet_cleaning_rows_total{what=\"fleet_communications.mailings\"}";
    const BOTH: &str = "[fleet_communications]\nrecipient_days = 30\nmailing_days = 60\n";
    const SENT: (&str, &str) = ("sent", "sent");
    let database = TestDatabase::create();
    // More than one batch.
    for number in 0..150 {
        fill(&database, PARK, &format!("old-{number}"), SENT, 3, Some(61)).await;
    }
    fill(&database, PARK, "nobody", SENT, 0, Some(61)).await;
    fill(&database, PARK, "failed", ("failed", "waiting"), 2_500, Some(61)).await;
    fill(&database, PARK, "cancelled", ("cancelled", "dropped"), 10, Some(61)).await;
    fill(&database, PARK, "fresh", SENT, 3, Some(59)).await;
    fill(&database, PARK, "unfinished", ("sending", "waiting"), 4, None).await;
    fill(&database, OTHER_PARK, "old-1", SENT, 3, Some(59)).await;
    let office = serve_with(database, BOTH).await;
    eventually("they are removed", async || office.app.count(GONE).await == 153).await;
    let others = ["park-1 fresh", "park-1 unfinished", "park-2 old-1"];
    assert_eq!(left(&office, "mailings").await, others);
    let chunks = "SELECT count(*) FROM fleet_communications.mailing_chunks";
    assert_eq!(office.app.database().count(chunks).await, 3);
    assert_eq!(kept(&office).await, [(PARK.to_owned(), "unfinished".to_owned(), 4)]);

    // To its park it is as if it had never been.
    office.dispatcher.get("mailings/old-1").await.problem(404, "mailing_not_found");
    for what in ["retry", "cancel"] {
        let reply = office.dispatcher.post(&format!("mailings/failed/{what}"), json!({})).await;
        reply.problem(404, "mailing_not_found");
    }
    let history = office.dispatcher.get("mailings").await.expect(200);
    let shown: Vec<_> = history["items"].as_array().unwrap().iter().map(|it| &it["id"]).collect();
    assert_eq!(shown.len(), 2, "{history}");
    assert_eq!(office.mailing("fresh").await["message"], "x");
}

#[actix_web::test]
async fn deleted_templates_go_after_the_last_of_their_mailings() {
    const GONE: &str = "fleet_cleaning_rows_total{what=\"fleet_communications.mailing_templates\"}";
    const BOTH: &str = "[fleet_communications]\nrecipient_days = 30\nmailing_days = 60\n";
    let database = TestDatabase::create();
    fill(&database, PARK, "fresh", ("sent", "sent"), 3, Some(59)).await;
    fill(&database, OTHER_PARK, "old", ("sent", "sent"), 3, Some(61)).await;
    let templates = format!(
        "INSERT INTO fleet_communications.mailing_templates (park_id, id, message, created_by, deleted_at) \
         SELECT '{PARK}', id, 'x', 1, now() - make_interval(days => days) \
           FROM (VALUES ('deleted', 61), ('just deleted', 59), ('saved', NULL)) AS t(id, days); \
         UPDATE fleet_communications.mailing_templates SET deleted_at = now() - interval '99 days' \
           WHERE id = 't'"
    );
    database.execute(&templates).await;
    let office = serve_with(database, BOTH).await;
    // That of the other park's mailing goes in this round or in the next.
    eventually("they are removed", async || office.app.count(GONE).await >= 1).await;
    let stay = ["park-1 just deleted", "park-1 saved", "park-1 t"];
    let is_left = left(&office, "mailing_templates").await;
    assert!(stay.iter().all(|id| is_left.contains(&(*id).to_owned())), "{is_left:?}");
    assert!(!is_left.contains(&"park-1 deleted".to_owned()), "{is_left:?}");
    // The history still shows a mailing of it; to order another it is not there.
    assert_eq!(office.mailing("fresh").await["template_id"], "t");
    let again = office.dispatcher.post("mailings", json!({"template_id": "t"})).await;
    again.problem(404, "template_not_found");
}
