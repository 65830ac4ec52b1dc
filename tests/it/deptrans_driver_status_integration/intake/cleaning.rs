//! What rested for long goes; what waits stays.

use super::{DOMAIN, event};
use crate::support::app::{TOKEN_KEY, TestApp, configuration, start_sandbox};
use crate::support::eventually;
use crate::support::kafka::Kafka;
use crate::support::process::run;
use serde_json::json;
use uuid::Uuid;

#[actix_web::test]
async fn old_resting_statuses_and_old_letters_go() {
    let mut app = TestApp::builder().domains(&[DOMAIN]).start().await;
    let drivers = ["waits", "rests", "fresh", "believed"];
    let events: Vec<_> = drivers.iter().map(|d| event(d, "online", "10:00:00", "e")).collect();
    let taken = app.internal(DOMAIN).post("status-events", json!({ "events": events })).await;
    assert_eq!(taken.status, 200);
    app.stop();
    let sql = "UPDATE deptrans.status_queue SET due_at = NULL, queued_at = NULL, \
           reported_on_line = fleet_platform.readable_id(driver_id) = 'believed', \
           occurred_at = now() - interval '49 hours'; \
         UPDATE deptrans.status_queue SET due_at = occurred_at, queued_at = occurred_at \
           WHERE fleet_platform.readable_id(driver_id) = 'waits'; \
         UPDATE deptrans.status_queue SET occurred_at = now() - interval '47 hours' \
           WHERE fleet_platform.readable_id(driver_id) = 'fresh'; \
         INSERT INTO deptrans.dead_letters SELECT gen_random_uuid(), now() - n * interval '1 day', \
           't', 0, n, 'not_json: it is not JSON', '' FROM generate_series(13, 16) n";
    app.database().execute(sql).await;
    let mut app = app.restarted().await;
    let old =
        "SELECT count(*) FROM deptrans.dead_letters WHERE received_at < now() - interval '14 days'";
    eventually("old letters go", async || app.database().count(old).await == 0).await;
    let left = "SELECT fleet_platform.readable_id(driver_id) FROM deptrans.status_queue ORDER BY 1";
    let rows = app.database().query(left, &[]).await;
    let left: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(left, ["believed", "fresh", "waits"]);
    let letters = app.database().query("SELECT \"offset\" FROM deptrans.dead_letters", &[]).await;
    assert_eq!(letters.iter().map(|row| row.get(0)).collect::<Vec<i64>>(), [13]);
    app.stop();
}

#[actix_web::test]
async fn an_operator_lists_shows_and_discards_dead_letters() {
    let kafka = Kafka::embedded();
    let app = TestApp::builder().domains(&[DOMAIN]).config(kafka.config()).start().await;
    kafka.send([(0, &b"no \x1b[2J event"[..]), (0, b"{}")]);
    eventually("both are kept", async || kafka.committed_total() == 2).await;
    let config = configuration(&app.database().url(), &start_sandbox());
    let cli = |arguments: &[&str]| {
        let all = [&["dead-letters"], arguments].concat();
        run(&all, &config, &[])
    };
    let listed = cli(&["list"]);
    assert_eq!(listed.code(), Some(0), "{listed:?}");
    assert!(
        listed.stdout.contains("not_json") && listed.stdout.contains("not_an_event"),
        "{listed:?}"
    );
    let listed = cli(&["list", "--reason", "not_json"]);
    let line = listed.stdout.lines().nth(1).expect("one letter");
    assert_eq!(listed.stdout.lines().count(), 2, "{listed:?}");
    let id = line.split('\t').next().unwrap();
    let shown = cli(&["show", id]);
    assert_eq!(shown.stdout, "no \\u{1b}[2J event\n", "opened, and harmless to a terminal");
    let other_key = format!("{config}\n").replace("dGVzdC10ZXN0", "ZGVzdC10ZXN0");
    let refused = run(&["dead-letters", "show", id], &other_key, &[]);
    assert!(refused.code() == Some(1) && !refused.output().contains("event\n"), "{refused:?}");
    let previous = [("FLEET__SECRETS__PREVIOUS_TOKEN_KEYS", TOKEN_KEY)];
    let opened = run(&["dead-letters", "show", id], &other_key, &previous);
    assert_eq!(opened.stdout, shown.stdout, "the key that was changed still opens it");
    assert_eq!(cli(&["show", &Uuid::nil().to_string()]).code(), Some(1));
    assert_eq!(cli(&["discard"]).code(), Some(1), "it wants to be told which");
    assert!(cli(&["discard", id]).stdout.starts_with("1 discarded"));
    assert!(cli(&["discard", "--all"]).stdout.starts_with("1 discarded"));
    assert_eq!(cli(&["list"]).stdout.lines().count(), 1);
}
