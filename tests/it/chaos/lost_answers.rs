//! Scenario 2: feeds does the work, and its answer is lost.

use rand::RngExt;
use rand::seq::IndexedRandom;
use serde_json::{Value, json};

use super::rig::{Crowd, Run, drivers, seeds, until};

/// Of these the first four have done the work.
const KINDS: [&str; 7] = [
    "close_after_work",
    "truncate",
    "delay_after_work",
    "close_after_work",
    "garbage",
    "close",
    "status",
];
/// Longer than the client waits.
const TIMEOUT_MS: &str = "700";
const LATE_MS: u64 = 1_200;

fn fault(run: &mut Run) -> (Value, bool) {
    let kind = *KINDS.choose(&mut run.random).unwrap();
    let mut fault = json!({"kind": kind, "times": 1, "route": "/create"});
    match kind {
        "delay_after_work" => fault["ms"] = json!(LATE_MS),
        "status" => fault["status"] = json!(run.random.random_range(500..=504)),
        _ => {}
    }
    (fault, KINDS[..4].contains(&kind))
}

#[actix_web::test]
async fn lost_answers_of_feeds_are_asked_for_again_under_the_same_id() {
    for seed in seeds() {
        let mut run = Run::of("2 lost answers", seed);
        let env = [("FLEET__UPSTREAMS__FEEDS__TIMEOUT_MS", TIMEOUT_MS)];
        let crowd = Crowd::of(2, &env).await;
        let faults: Vec<(Value, bool)> = (0..8).map(|_| fault(&mut run)).collect();
        let list: Vec<&Value> = faults.iter().map(|(fault, _)| fault).collect();
        crowd.sandbox.set_fault("feeds", json!(list)).unwrap();
        let mailings = [crowd.order("park-1", drivers()).await, crowd.order("park-2", 700).await];
        let counts = crowd.outcome(&mailings).await;
        let control =
            crate::support::client::Caller::anonymous(format!("http://{}", crowd.sandbox.addr()));
        until("every fault has struck", async || {
            control.get("__sandbox/faults").await.expect(200).get("feeds").is_none()
        })
        .await;
        let calls = crowd.sandbox.calls("feeds", "POST /v1/feeds/create");
        let requests = crowd.sandbox.delivered_counts(None).requests as u64;
        assert_eq!(requests, drivers().div_ceil(1_000) + 1, "one id for each chunk");
        assert!(calls >= requests + faults.len() as u64, "{calls} calls of {requests} requests");
        let lost = faults.iter().filter(|(_, worked)| *worked).count();
        run.assert(lost, counts);
    }
}
