//! A cancellation stops what has not gone out, takes back what has, and its counts add up.

use jiff::{SignedDuration, Timestamp};

use super::*;

/// The outcome of a cancelled mailing counts everybody who was selected and not rejected.
async fn assert_adds_up(office: &Office, id: &str, outcome: &Value) {
    let recipients = office.mailing(id).await["recipients"].clone();
    let meant = number(&recipients["selected"]) - number(&recipients["failed"]);
    assert_eq!(sum(outcome), meant, "{outcome} of {recipients}");
}

/// An outcome with nobody of whom it cannot be known.
fn outcome_of(stopped: u64, recalled: u64, too_late: u64, pending: u64) -> Value {
    json!({"stopped": stopped, "recalled": recalled, "too_late": too_late, "pending": pending, "unknown": 0})
}

#[actix_web::test]
async fn before_its_time_nothing_goes_out() {
    let office = Office::of_drivers(10).await;
    let at = Timestamp::now() + SignedDuration::from_hours(1);
    let body = json!({"message": "x", "filter": {}, "send_at": at.to_string()});
    let id = id_of(&office.dispatcher.post("mailings", body).await.expect(202), "mailing_id");
    let nothing = outcome_of(0, 0, 0, 0);
    assert_eq!(office.cancel(&id).await, json!({"status": "cancelled", "outcome": nothing}));
    let due = "UPDATE task_queue.tasks SET run_at = now() WHERE queue = 'mailings'";
    office.app.database().execute(due).await;
    eventually("its task has seen it", async || office.tasks().await == 0).await;
    assert_eq!(office.mailing(&id).await["status"], "cancelled");
    assert_eq!(office.feeds_calls("create"), 0);
    office
        .dispatcher
        .post(&format!("mailings/{id}/retry"), json!({}))
        .await
        .problem(409, "mailing_not_failed");
}

#[actix_web::test]
async fn while_it_goes_out_every_driver_is_counted_once() {
    let office = Office::of_drivers(4_000).await;
    office.hold_from_the_second_chunk();
    let id = office.order("x").await;
    office.until_the_second_chunk(&id).await;
    let first = office.cancel(&id).await["outcome"].clone();
    assert_adds_up(&office, &id, &first).await;
    office.app.sandbox.clear_fault("feeds");
    let outcome = office.cancelled(&id).await;
    assert_adds_up(&office, &id, &outcome).await;
    assert!(number(&outcome["stopped"]) > 0 && number(&outcome["recalled"]) >= 1_000, "{outcome}");
    assert_eq!(outcome["too_late"], 0);
    let counts = office.app.sandbox.delivered_counts(Some(PARK));
    assert_eq!((counts.removed, counts.doubled), (number(&outcome["recalled"]), 0));
    assert_eq!(counts.deliveries, counts.removed, "nobody keeps it");
    assert_eq!(office.cancel(&id).await["outcome"], outcome, "again, the same");
    eventually("no task is left", async || office.tasks().await == 0).await;
    assert_eq!(office.mailing(&id).await["status"], "cancelled");
}

#[actix_web::test]
async fn while_recipients_are_selected_nobody_is_added_any_more() {
    let office = Office::of_drivers(3_000).await;
    let pass = json!({"kind": "delay", "ms": 1, "times": 1});
    office.app.fault("parks", json!([pass, {"kind": "hold_after_work"}]));
    let pages = || office.app.sandbox.calls("parks", "POST /v1/driver-profiles/list");
    let id = office.order("x").await;
    office
        .until(&id, "the second page is under way", |m| {
            number(&m["recipients"]["selected"]) > 0 && pages() > 1
        })
        .await;
    let outcome = office.cancel(&id).await["outcome"].clone();
    assert_adds_up(&office, &id, &outcome).await;
    let selected = office.mailing(&id).await["recipients"]["selected"].clone();
    office.app.sandbox.clear_fault("parks");
    eventually("no task is left", async || office.tasks().await == 0).await;
    assert_eq!(office.mailing(&id).await["recipients"]["selected"], selected);
    let outcome = office.cancelled(&id).await;
    assert_eq!((&outcome["stopped"], sum(&outcome)), (&selected, number(&selected)));
    assert_eq!(office.feeds_calls("create"), 0);
}

#[actix_web::test]
async fn after_the_end_it_is_taken_back_from_everybody() {
    let office = Office::of_drivers(2_500).await;
    assert!(office.app.sandbox.reject_channel(&channel(&ids(&office)[7]), Some("no_app")));
    let id = office.order("x").await;
    office.becomes(&id, "sent").await;
    let outcome = office.cancelled(&id).await;
    assert_eq!(outcome, outcome_of(0, 2_499, 0, 0));
    assert_adds_up(&office, &id, &outcome).await;
    assert_eq!(office.app.sandbox.delivered_counts(None).removed, 2_499);
    assert_eq!(office.mailing(&id).await["recipients"]["recalled"], 2_499);
}

#[actix_web::test]
async fn what_feeds_no_longer_has_is_too_late() {
    let office = Office::of_drivers(2_500).await;
    let id = office.order("x").await;
    office.becomes(&id, "sent").await;
    let read =
        json!({"kind": "answer", "status": 200, "body": {"removed": 300}, "route": "/remove"});
    office.app.fault("feeds", read);
    let outcome = office.cancelled(&id).await;
    assert_eq!(outcome, outcome_of(0, 900, 1_600, 0));
    assert_adds_up(&office, &id, &outcome).await;
}

#[actix_web::test]
async fn while_feeds_is_down_the_outcome_is_pending_and_settles_later() {
    let office = Office::of_drivers(3_000).await;
    let down = json!({"kind": "status", "status": 503});
    office.app.fault("feeds", json!([{"kind": "delay", "ms": 1, "times": 1}, down]));
    let id = office.order("x").await;
    office.until(&id, "it waits", |m| m["error"] == "feeds_unavailable").await;
    let cancelled = office.cancel(&id).await;
    assert_eq!(cancelled["status"], "cancelled");
    let pending = outcome_of(1_000, 0, 0, 2_000);
    assert_eq!(cancelled["outcome"], pending);
    office.app.sandbox.clear_fault("feeds");
    let outcome = office.cancelled(&id).await;
    assert_eq!(outcome, outcome_of(1_000, 2_000, 0, 0));
    assert_adds_up(&office, &id, &outcome).await;
    let counts = office.app.sandbox.delivered_counts(None);
    assert_eq!((counts.deliveries, counts.removed), (2_000, 2_000), "nobody keeps it");
}

#[actix_web::test]
async fn a_failed_mailing_can_be_taken_back_and_not_sent_again() {
    let office = Office::of_drivers(2_500).await;
    let lost = json!({"kind": "close_after_work", "times": 1});
    let pass = json!({"kind": "delay", "ms": 1, "times": 1});
    office.app.fault("feeds", json!([pass, lost, {"kind": "status", "status": 503}]));
    let id = office.order("x").await;
    office.until(&id, "it waits", |m| m["recipients"]["sent"] == 1_000).await;
    office.limit_attempts(1).await;
    office.becomes(&id, "failed").await;
    office.app.sandbox.clear_fault("feeds");
    let outcome = office.cancelled(&id).await;
    assert_eq!(outcome, outcome_of(500, 2_000, 0, 0));
    assert_adds_up(&office, &id, &outcome).await;
    office
        .dispatcher
        .post(&format!("mailings/{id}/retry"), json!({}))
        .await
        .problem(409, "mailing_not_failed");
}

/// The tasks that should take it back were given up while feeds was away for long.
#[actix_web::test]
async fn cancelling_again_resumes_what_was_given_up() {
    let office = Office::of_drivers(2_500).await;
    let down = json!({"kind": "status", "status": 503});
    office.app.fault("feeds", json!([{"kind": "delay", "ms": 1, "times": 1}, down]));
    let id = office.order("x").await;
    office.until(&id, "it waits", |m| m["recipients"]["sent"] == 1_000).await;
    assert_eq!(office.cancel(&id).await["outcome"]["pending"], 2_000);
    let give_up = "UPDATE task_queue.tasks SET state = 'dead', died_at = now() \
         WHERE queue = 'mailings' AND state = 'scheduled'";
    eventually("the tasks are dead", async || {
        office.app.database().execute(give_up).await;
        let alive =
            "SELECT count(*) FROM task_queue.tasks WHERE queue = 'mailings' AND state <> 'dead'";
        office.app.database().count(alive).await == 0
    })
    .await;
    office.app.sandbox.clear_fault("feeds");
    let outcome = office.cancelled(&id).await;
    assert_eq!(outcome, outcome_of(500, 2_000, 0, 0));
}
