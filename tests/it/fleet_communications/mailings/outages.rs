//! parks or feeds are down: ordering works, the mailing says why it waits, and goes on by itself.

use super::*;

const DOWN: &str = r#"{"kind": "status", "status": 503}"#;

fn down() -> Value {
    serde_json::from_str(DOWN).unwrap()
}

#[actix_web::test]
async fn a_mailing_waits_for_what_is_down_and_goes_on_by_itself() {
    for upstream in ["parks", "feeds"] {
        let office = Office::of_drivers(1_500).await;
        office.app.fault(upstream, down());
        let id = office.order("x").await;
        let code = format!("{upstream}_unavailable");
        let waits =
            office.until(&id, "it says why it waits", |m| m["error"] == code.as_str()).await;
        assert_eq!(waits["status"], "sending");
        assert!(waits.get("finished_at").is_none(), "{waits}");
        let listed = office.dispatcher.get("mailings?status=sending").await.expect(200);
        assert_eq!(listed["items"][0]["error"], code.as_str());
        office.app.sandbox.clear_fault(upstream);
        let sent = office.becomes(&id, "sent").await;
        assert!(sent.get("error").is_none(), "{sent}");
        office.assert_reached(ids(&office));
    }
}

#[actix_web::test]
async fn an_outage_in_the_middle_skips_and_doubles_nobody() {
    let office = Office::of_drivers(3_500).await;
    let outage = json!({"kind": "status", "status": 500, "times": 1});
    let slow = json!({"kind": "delay", "ms": 300, "times": 1});
    let lost = json!({"kind": "close_after_work", "times": 1});
    office.app.fault("feeds", json!([slow, outage, lost]));
    office.app.fault("parks", json!([slow, lost, outage]));
    let id = office.order("x").await;
    let sent = office.becomes(&id, "sent").await;
    assert_eq!(sent["recipients"], recipients(3_500, 3_500, 0));
    office.assert_reached(ids(&office));
    assert!(office.feeds_calls("create") >= 6);
}

/// A mailing that failed after its first chunk.
async fn failed(office: &Office) -> String {
    office.app.fault(
        "feeds",
        json!([{"kind": "delay", "ms": 1, "times": 1}, {"kind": "status", "status": 503}]),
    );
    let id = office.order("x").await;
    office
        .until(&id, "it waits", |mailing| {
            mailing["error"] == "feeds_unavailable" && mailing["recipients"]["sent"] == 1_000
        })
        .await;
    office.limit_attempts(1).await;
    office.becomes(&id, "failed").await;
    id
}

#[actix_web::test]
async fn a_mailing_without_attempts_left_fails_and_retry_goes_on_where_it_stopped() {
    let office = Office::of_drivers(2_500).await;
    let id = failed(&office).await;
    let shown = office.mailing(&id).await;
    assert_eq!(shown["error"], "feeds_unavailable");
    assert_eq!(shown["recipients"], recipients(2_500, 1_000, 0));
    assert!(shown["finished_at"].is_string());
    assert_eq!(office.tasks().await, 0, "a retry enqueues another");
    let calls = office.feeds_calls("create");
    office.app.sandbox.clear_fault("feeds");
    let path = format!("mailings/{id}/retry");
    let retried = office.dispatcher.post(&path, json!({})).await.expect(202);
    assert_eq!((&retried["status"], retried.get("error")), (&json!("sending"), None));
    let sent = office.becomes(&id, "sent").await;
    assert_eq!(sent["recipients"], recipients(2_500, 2_500, 0));
    office.assert_reached(ids(&office));
    assert_eq!(office.feeds_calls("create"), calls + 2, "the first chunk is not sent again");
    office.dispatcher.post(&path, json!({})).await.problem(409, "mailing_not_failed");
    let failures = "fleet_communications_mailings_total{outcome=\"failed\"}";
    assert_eq!(office.app.count(failures).await, 1);
}

#[actix_web::test]
async fn of_many_retries_at_once_one_goes_on() {
    let office = Office::of_drivers(1_500).await;
    let id = failed(&office).await;
    office.app.sandbox.clear_fault("feeds");
    let path = format!("mailings/{id}/retry");
    let retries = (0..8).map(|_| office.dispatcher.post(&path, json!({})));
    let replies = futures_util::future::join_all(retries).await;
    let accepted = replies.iter().filter(|reply| reply.status == 202).count();
    let refused = replies.iter().filter(|reply| reply.status == 409).count();
    assert_eq!((accepted, refused), (1, 7));
    office.becomes(&id, "sent").await;
    office.assert_reached(ids(&office));
}

#[actix_web::test]
async fn a_selection_whose_place_is_forgotten_begins_anew_and_doubles_nobody() {
    let office = Office::of_drivers(2_500).await;
    let stale = json!({"kind": "answer", "status": 400, "body": {"code": "bad_cursor", "message": "x"}, "times": 1});
    let pass = json!({"kind": "delay", "ms": 1, "times": 1});
    // The second page, once it was begun anew the third.
    office.app.fault("parks", json!([pass, stale, pass, pass, stale]));
    let id = office.order("x").await;
    let sent = office.becomes(&id, "sent").await;
    assert_eq!(sent["recipients"], recipients(2_500, 2_500, 0));
    office.assert_reached(ids(&office));
    assert_eq!(office.app.sandbox.calls("parks", "POST /v1/driver-profiles/list"), 2 + 3 + 3);
}

#[actix_web::test]
async fn a_filter_that_parks_refuses_fails_in_the_end() {
    let office = Office::of_drivers(5).await;
    let refused = json!({"kind": "answer", "status": 400, "body": {"code": "x", "message": "x"}});
    office.app.fault("parks", refused);
    let id = office.order("x").await;
    office.until(&id, "it waits", |mailing| mailing["error"] == "parks_unavailable").await;
    office.limit_attempts(2).await;
    assert_eq!(office.becomes(&id, "failed").await["error"], "parks_unavailable");
}

/// parks answers the same page again and again.
#[actix_web::test]
async fn a_list_of_drivers_that_does_not_end_is_not_followed_for_ever() {
    let office = Office::of_drivers(5).await;
    let page = json!({"driver_profiles": [{"id": "a"}], "cursor": "again"});
    office.app.fault("parks", json!({"kind": "answer", "status": 200, "body": page}));
    let id = office.order("x").await;
    let sql = "UPDATE fleet_communications.mailings SET next_chunk = next_chunk + 9995 \
         WHERE next_chunk BETWEEN 1 AND 9000";
    let mailings = "SELECT count(*) FROM fleet_communications.mailings WHERE next_chunk > 9000";
    eventually("it is near the bound", async || {
        office.app.database().execute(sql).await;
        office.app.database().count(mailings).await == 1
    })
    .await;
    office.until(&id, "it waits", |mailing| mailing["error"] == "parks_unavailable").await;
    office.limit_attempts(1).await;
    let failed = office.becomes(&id, "failed").await;
    assert_eq!(failed["recipients"]["selected"], 1);
}
