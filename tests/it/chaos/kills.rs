//! Scenario 1: `kill -9`, again and again, and a new process each time.

use rand::RngExt;
use serde_json::json;

use super::rig::{Crowd, Run, drivers, seeds, slow_feeds, until};

#[actix_web::test]
async fn killing_instances_loses_and_doubles_no_recipient() {
    for seed in seeds() {
        let mut run = Run::of("1 kill -9", seed);
        let mut crowd = Crowd::of(3, &[]).await;
        crowd.sandbox.set_fault("feeds", json!({ "kind": "hold_after_work" })).unwrap();
        // Three mailings, so that each process has one: whoever is killed leaves one behind.
        let (great, small) = (drivers(), drivers() / 2);
        let mut mailings = vec![crowd.order("park-1", great).await];
        for park in ["park-2", "park-3"] {
            mailings.push(crowd.order(park, small).await);
        }
        // One of them is killed at work in any case.
        until("all three work", async || crowd.running().await == 3).await;
        crowd.kill(0);
        crowd.spawn(&[]);
        let mut kills = 1;
        slow_feeds(&crowd.sandbox, run.random.random_range(100..200));
        // Every two seconds on the average, where there is enough to do.
        let (from, to) = if great < 50_000 { (50, 400) } else { (1_000, 3_000) };
        while !crowd.are_sent(&mailings).await {
            run.pause(from, to).await;
            let victim = run.random.random_range(0..crowd.servers.len());
            let all_work = async || crowd.running().await == crowd.open(&mailings).await;
            until("all work, or have done it", all_work).await;
            crowd.kill(victim);
            crowd.spawn(&[]);
            kills += 1;
            assert!(kills < 2_000, "no end");
        }
        let counts = crowd.outcome(&mailings).await;
        let rescues = crowd.rescues().await;
        until("no task is left", async || crowd.running().await == 0).await;
        run.assert(rescues, counts);
    }
}
