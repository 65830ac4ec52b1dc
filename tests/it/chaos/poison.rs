//! Scenario 4: tasks that can never succeed, beside those that can.

use rand::RngExt;

use super::rig::{Crowd, Run, drivers, seeds, until};

/// Of each sort so many, before all others: what cannot be read, what belongs to no park, what
/// loses its worker in the last attempt, and in the one before it.
const POISON: &str = "INSERT INTO task_queue.tasks (tag, run_at, priority, attempt, max_attempts, state, \
       lease_until, queue, kind, park_id, traceparent, payload) \
     SELECT n, now(), 0, attempt, 13, state, lease, 'mailings', 'communications.send_mailing', park, '', payload \
     FROM generate_series(1, $1::bigint) n, (VALUES \
       (0::smallint, 'ready', NULL::timestamptz, 'park-1', '{}'::jsonb), \
       (0, 'ready', NULL, 'park-1', '{\"mailing_id\": [7]}'), \
       (0, 'ready', NULL, 'park-1', '\"\"'), \
       (0, 'ready', NULL, '', '{\"mailing_id\": \"x\"}'), \
       (12, 'running', now() - interval '1 hour', 'park-1', '[]'), \
       (13, 'running', now() - interval '1 hour', 'park-1', '{}')) AS p(attempt, state, lease, park, payload)";

#[actix_web::test]
async fn poison_is_put_aside_and_its_neighbours_go_on() {
    for seed in seeds() {
        let mut run = Run::of("4 poison", seed);
        let crowd = Crowd::of(1, &[]).await;
        let each: i64 = run.random.random_range(5..15);
        crowd.database.query(POISON, &[&each]).await;
        // What feeds says is stored, U+0000 and all.
        let mailing = crowd.order("park-1", drivers() / 2).await;
        let other = crowd.order("park-2", 30).await;
        let nul = crowd.database.connect().await;
        let nul = nul.execute("SELECT '\"\\u0000\"'::jsonb", &[]).await;
        assert!(nul.is_err(), "jsonb takes U+0000 now: look at what guards against it");
        let counts = crowd.outcome(&[mailing, other]).await;
        let dead = "SELECT count(*) FROM task_queue.tasks WHERE state = 'dead'";
        until("all poison is dead", async || crowd.database.count(dead).await == each * 6).await;
        let by_code = "SELECT error_code, count(*), max(attempt) FROM task_queue.tasks \
             WHERE state = 'dead' GROUP BY 1 ORDER BY 1";
        let codes: Vec<(String, i64)> = crowd
            .database
            .query(by_code, &[])
            .await
            .iter()
            .map(|row| (row.get(0), row.get(1)))
            .collect();
        let expected =
            [("internal", each), ("task_unreadable", each * 4), ("task_worker_lost", each)];
        assert_eq!(codes, expected.map(|(code, count)| (code.to_owned(), count)));
        run.assert(usize::try_from(each * 6).unwrap(), counts);
    }
}

#[actix_web::test]
async fn a_text_with_nul_from_outside_stops_nothing() {
    for seed in seeds() {
        let mut run = Run::of("4 U+0000", seed);
        let crowd = Crowd::of(1, &[]).await;
        crowd.sandbox.set_park("park-1", serde_json::json!({"drivers": 300})).unwrap();
        let ids = crowd.sandbox.driver_ids("park-1");
        let rejected = run.random.random_range(1..20);
        for id in &ids[..rejected] {
            let channel = format!("contractor:park-1:{id}");
            assert!(crowd.sandbox.reject_channel(&channel, Some("bad\u{0}app")));
        }
        let body = serde_json::json!({"message": "x", "filter": {}});
        let ordered = crowd.dispatcher("park-1").post("mailings", body).await.expect(202);
        let id = ordered["mailing_id"].as_str().unwrap().to_owned();
        let sent = "SELECT count(*) FROM fleet_communications.mailings WHERE status = 'sent'";
        until("it is sent", async || crowd.database.count(sent).await == 1).await;
        let failed = "SELECT count(*) FROM fleet_communications.mailing_recipients \
             WHERE mailing_id = $1 AND status = 'failed' AND error = 'badapp'";
        let failed: i64 = crowd.database.query(failed, &[&id]).await[0].get(0);
        assert_eq!(usize::try_from(failed).unwrap(), rejected);
        let delivered = crowd.sandbox.delivered_counts(None);
        let meant = (ids.len() - rejected) as u64;
        let counts = super::rig::Counts {
            selected: meant,
            delivered: delivered.deliveries,
            lost: meant - delivered.drivers as u64,
            doubled: delivered.doubled,
        };
        run.assert(rejected, counts);
    }
}
