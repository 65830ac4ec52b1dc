//! Scenario 7: overlapping long queries hold the vacuum horizon while the queue runs.

use std::time::{Duration, Instant};

use rand::RngExt;
use tokio_postgres::Client;

use super::rig::{Counts, Crowd, Run, drivers, seeds, until};

/// Tasks as the server would enqueue them, of mailings that are not there: their work is to find
/// that out.
const ENQUEUE: &str = "INSERT INTO task_queue.tasks (tag, run_at, priority, max_attempts, state, queue, kind, \
       park_id, traceparent, payload) \
     SELECT l.last + n, clock_timestamp(), 1, 13, 'ready', 'mailings', 'communications.send_mailing', \
       'park-1', '', jsonb_build_object('mailing_id', 'none') \
     FROM task_queue.line_end('mailings', 1::smallint, 'park-1', 0) l, generate_series(1, $1::bigint) n";
const HELD: &str = "SELECT COALESCE(max(age(backend_xmin)), 0)::bigint FROM pg_stat_activity \
     WHERE datname = current_database() AND state = 'idle in transaction'";

async fn hold(client: &Client) {
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM task_queue.tasks";
    client.batch_execute(begin).await.unwrap();
}

#[actix_web::test]
async fn the_backlog_returns_to_nothing_while_the_horizon_is_held() {
    for seed in seeds() {
        let mut run = Run::of("7 horizon", seed);
        let env = [
            ("FLEET__TASKS__QUEUES__MAILINGS", "32"),
            ("FLEET__TASKS__LEASE_MS", "60000"),
            ("FLEET__DATABASE__POOL_SIZE", "16"),
        ];
        let crowd = Crowd::of(2, &env).await;
        // 800 a second for as long as a run with many drivers takes, a second's worth in CI.
        let total = i64::try_from(drivers() / 4).unwrap();
        let holders = [crowd.database.connect().await, crowd.database.connect().await];
        hold(&holders[0]).await;
        let source = crowd.database.connect().await;
        let (mut enqueued, mut turn, mut held) = (0, 0, 0);
        let started = Instant::now();
        let mut next = started;
        while enqueued < total {
            let batch = run.random.random_range(20..=60).min(total - enqueued);
            source.execute(ENQUEUE, &[&batch]).await.unwrap();
            enqueued += batch;
            // The other begins before the one ends: the horizon is held all the time, and moves.
            if enqueued * 4 / total > i64::try_from(turn).unwrap() {
                held = held.max(crowd.database.count(HELD).await);
                hold(&holders[(turn + 1) % 2]).await;
                holders[turn % 2].batch_execute("COMMIT").await.unwrap();
                turn += 1;
            }
            next += Duration::from_micros(u64::try_from(batch).unwrap() * 1_000_000 / 800);
            tokio::time::sleep_until(next.into()).await;
        }
        let left = "SELECT count(*) FROM task_queue.tasks WHERE queue = 'mailings'";
        until("the backlog is nothing", async || crowd.database.count(left).await == 0).await;
        held = held.max(crowd.database.count(HELD).await);
        let still = holders[turn % 2].batch_execute("COMMIT").await;
        assert!(still.is_ok() && turn >= 2, "the queries did not overlap: {turn}");
        assert!(held > total / 40, "the horizon was not held: {held}");
        // An attempt whose own transaction completed the task while its lease was being renewed is
        // counted as lost; one that found no free connection has failed and came again.
        let ends = ["done", "lost"].map(|outcome| {
            format!(
                "task_attempts_total{{kind=\"communications.send_mailing\",outcome=\"{outcome}\"}} "
            )
        });
        let done = async || {
            let mut sum = 0;
            for server in &crowd.servers {
                let text = server.anonymous().get("metrics").await.text();
                let value = |end: &String| text.lines().find_map(|line| line.strip_prefix(end));
                let values = ends.iter().filter_map(value).map(|n| n.parse::<u64>().unwrap());
                sum += values.sum::<u64>();
            }
            sum
        };
        let total = u64::try_from(total).unwrap();
        until("all are counted", async || done().await >= total).await;
        let ran = done().await;
        let counts = Counts {
            selected: total,
            delivered: ran,
            lost: total.saturating_sub(ran),
            doubled: ran - total,
        };
        run.assert(turn + 1, counts);
    }
}
