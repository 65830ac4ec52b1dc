//! Scenarios 3 and 5: a worker that stands still past its lease, and one that is told to stop.

use std::time::{Duration, Instant};

use rand::RngExt;
use serde_json::json;

use super::rig::{Crowd, Mailing, Run, drivers, seeds, slow_feeds, until};

/// So long that the other one, which is not stopped, keeps its own.
const LEASE_MS: &str = "6000";
/// By then a task of a worker that stands still has been taken over.
const OVERTAKEN: Duration = Duration::from_secs(18);
/// From SIGTERM to the end.
const EXIT: Duration = Duration::from_secs(15);

/// Orders mailings, one a park, until both processes have one. From then on feeds takes so many
/// milliseconds for each chunk.
async fn occupy(crowd: &Crowd, mailings: &mut Vec<Mailing>, chunk_ms: u64) {
    crowd.sandbox.set_fault("feeds", json!({"kind": "hold_after_work"})).unwrap();
    for _ in 0..3 {
        let park = format!("park-{}", mailings.len() + 1);
        mailings.push(crowd.order(&park, drivers() / 2).await);
    }
    until("both work", async || crowd.running().await == 2).await;
    slow_feeds(&crowd.sandbox, chunk_ms);
}

/// What the database says of mailings, all of it.
async fn stored(crowd: &Crowd) -> Vec<String> {
    let dump = crowd.database.dump().await;
    let lines = dump.lines().filter(|line| line.starts_with("fleet_communications."));
    let mut lines: Vec<String> = lines.map(str::to_owned).collect();
    lines.sort();
    lines
}

#[actix_web::test]
async fn a_worker_that_was_overtaken_changes_nothing_when_it_goes_on() {
    for seed in seeds() {
        let mut run = Run::of("3 SIGSTOP", seed);
        let crowd = Crowd::of(2, &[("FLEET__TASKS__LEASE_MS", LEASE_MS)]).await;
        let mut mailings = Vec::new();
        occupy(&crowd, &mut mailings, 150).await;
        let victim = &crowd.servers[run.random.random_range(0..2)];
        // Stopped between two tasks, or inside a transaction (which holds its task until the
        // database ends the session), it is not overtaken: then at another moment.
        let mut stops = 0;
        loop {
            run.pause(0, 300).await;
            let before = crowd.rescues().await;
            victim.signal("STOP");
            stops += 1;
            let started = Instant::now();
            while crowd.rescues().await == before && started.elapsed() < OVERTAKEN {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            if crowd.rescues().await > before {
                break;
            }
            assert!(stops < 10, "its task was not taken over in {stops} stops");
            victim.signal("CONT");
            // Meanwhile the other may have done everything.
            if crowd.running().await < 2 {
                occupy(&crowd, &mut mailings, 150).await;
            }
        }
        let counts = crowd.outcome(&mailings).await;
        let before = stored(&crowd).await;
        victim.signal("CONT");
        let lost = "task_attempts_total{kind=\"communications.send_mailing\",outcome=\"lost\"} ";
        until("it has seen that its claim is void", async || {
            victim.anonymous().get("metrics").await.text().contains(lost)
        })
        .await;
        assert!(before == stored(&crowd).await, "the late write changed something");
        let counts_after = crowd.outcome(&mailings).await;
        assert_eq!(counts_after.delivered, counts.delivered, "it delivered something late");
        run.assert(crowd.rescues().await, counts_after);
    }
}

#[actix_web::test]
async fn a_process_that_is_told_to_stop_hands_its_work_back() {
    for seed in seeds() {
        let mut run = Run::of("5 SIGTERM", seed);
        let stop = [("FLEET__TASKS__STOP_MS", "300")];
        // It may stand still without its task being taken.
        let mut crowd = Crowd::of(1, &[stop[0], ("FLEET__TASKS__LEASE_MS", "30000")]).await;
        // A batch takes longer than the process may go on.
        slow_feeds(&crowd.sandbox, 3_000);
        let mailing = crowd.order("park-1", drivers()).await;
        until("a chunk was handed over", async || {
            crowd.sandbox.delivered_counts(None).deliveries > 0
        })
        .await;
        run.pause(0, 500).await;
        crowd.servers[0].signal("TERM");
        let ended = crowd.servers[0].wait(EXIT).await;
        assert!(ended.is_some(), "still there {EXIT:?} after SIGTERM");
        let task = "SELECT state, attempt, error_code IS NULL FROM task_queue.tasks WHERE queue = 'mailings'";
        let task = &crowd.database.query(task, &[]).await[0];
        let task: (String, i16, bool) = (task.get(0), task.get(1), task.get(2));
        assert_eq!(task, ("ready".to_owned(), 0, true), "the attempt does not count");
        assert_eq!(crowd.rescues().await, 0, "handed back, not taken");

        // The next has no chance to hand anything back.
        crowd.spawn(&stop);
        crowd.servers[1].wait_for("readyz", 200).await;
        until("it works", async || crowd.running().await == 1).await;
        crowd.servers[1].signal("TERM");
        run.pause(0, 250).await;
        crowd.kill(1);
        slow_feeds(&crowd.sandbox, 20);
        crowd.spawn(&[]);
        crowd.servers[1].wait_for("readyz", 200).await;
        let counts = crowd.outcome(&[mailing]).await;
        run.assert(1 + crowd.rescues().await, counts);
    }
}
