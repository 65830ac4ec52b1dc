//! Cancellations that race with what they cancel: whoever wins, the end is the same.

use std::time::Duration;

use futures_util::future::{join, join_all};

use super::*;

#[actix_web::test]
async fn a_cancellation_at_any_moment_leaves_nobody_with_the_message() {
    const DRIVERS: usize = 30;
    const ROUNDS: u64 = 60;
    let office = Office::of_drivers(DRIVERS).await;
    let race = async |round: u64| {
        let id = office.order(&format!("round {round}")).await;
        // Moments all over the few milliseconds that it takes: no proof hangs on them.
        tokio::time::sleep(Duration::from_micros(round * 700)).await;
        let (one, other) = join(office.cancel(&id), office.cancel(&id)).await;
        assert_eq!((&one["status"], &other["status"]), (&json!("cancelled"), &json!("cancelled")));
        id
    };
    let mut rounds = Vec::new();
    for first in (0..ROUNDS).step_by(3) {
        rounds.extend(join_all((first..first + 3).map(race)).await);
    }
    let (mut recalled, mut stopped, mut empty) = (0, 0, 0);
    for id in &rounds {
        let outcome = office.cancelled(id).await;
        let shown = office.mailing(id).await;
        assert_eq!(shown["status"], "cancelled");
        let selected = number(&shown["recipients"]["selected"]);
        assert_eq!(sum(&outcome), selected, "{outcome} of {shown}");
        assert_eq!(outcome["too_late"], 0, "{shown}");
        assert!(selected == 0 || selected == DRIVERS as u64, "{shown}");
        recalled += number(&outcome["recalled"]);
        stopped += number(&outcome["stopped"]);
        empty += u64::from(selected == 0);
    }
    eventually("no task is left", async || office.tasks().await == 0).await;
    let counts = office.app.sandbox.delivered_counts(Some(PARK));
    assert_eq!(counts.deliveries, counts.removed, "whoever got it does not keep it");
    assert_eq!((counts.removed, counts.doubled), (recalled, 0));
    assert_eq!(recalled + stopped + empty * DRIVERS as u64, ROUNDS * DRIVERS as u64);
}

#[actix_web::test]
async fn a_retry_that_races_with_a_cancellation_sends_nothing_afterwards() {
    let office = Office::of_drivers(20).await;
    for round in 0..10_u64 {
        office.app.fault("feeds", json!({"kind": "status", "status": 503}));
        let id = office.order(&format!("round {round}")).await;
        office.until(&id, "it waits", |m| m["error"] == "feeds_unavailable").await;
        office.limit_attempts(1).await;
        office.becomes(&id, "failed").await;
        office.app.sandbox.clear_fault("feeds");
        let path = format!("mailings/{id}/retry");
        let (retried, _) = join(office.dispatcher.post(&path, json!({})), office.cancel(&id)).await;
        assert!(matches!(retried.status, 202 | 409), "{}", retried.text());
        let outcome = office.cancelled(&id).await;
        assert_eq!(sum(&outcome), 20, "{outcome}");
        eventually("no task is left", async || office.tasks().await == 0).await;
        assert_eq!(office.mailing(&id).await["status"], "cancelled");
    }
    let counts = office.app.sandbox.delivered_counts(Some(PARK));
    assert_eq!((counts.deliveries, counts.doubled), (counts.removed, 0));
}
