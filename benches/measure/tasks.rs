//! P8 of docs/performance.md: the task queue, beside pgbench running the same statements in batches.
//! `make bench PART=tasks` runs it. It makes a database of its own in the server that `DATABASE_URL` names,
//! and drops it at the end. `QUICK=1`: fewer tasks, shorter.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fleet::platform::config::ConfigSource;
use fleet::platform::context::Context;
use fleet::platform::database::Database;
use fleet::platform::ids::ParkId;
use fleet::platform::shutdown;
use fleet::platform::tasks::{MIGRATIONS, NewTask, Outcome, Running, Task, Tasks};
use fleet::platform::telemetry::metrics::Metrics;
use serde::{Deserialize, Serialize};
use tokio::runtime::{Handle, Runtime};
use tokio_postgres::{Client, NoTls};

use crate::report::Row;

const DATABASE: &str = "fleet_bench_tasks";
const PARKS: usize = 50;
/// Scenario 7 of the reliability goals: so many tasks a second come in while the horizon is held.
const STEADY: usize = 800;

#[derive(Serialize, Deserialize)]
struct Nothing {
    number: usize,
}

impl Task for Nothing {
    const KIND: &'static str = "nothing";
    const QUEUE: &'static str = "bench";
}

pub fn run() {
    Runtime::new().expect("a runtime").block_on(measure());
}

async fn measure() {
    let quick = std::env::var_os("QUICK").is_some();
    let (tasks, held) = if quick { (20_000, 10) } else { (100_000, 120) };
    let server = std::env::var("DATABASE_URL").expect("DATABASE_URL");
    let (base, _) = server.rsplit_once('/').expect("a database in DATABASE_URL");
    let url = format!("{base}/{DATABASE}");
    let admin = connect(&server).await;
    admin.batch_execute(&format!("DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")).await.unwrap();
    admin.batch_execute(&format!("CREATE DATABASE {DATABASE}")).await.unwrap();
    let bench = Bench { url: url.clone(), client: connect(&url).await };
    bench.open(1).database.migrate(MIGRATIONS).await.expect("the migrations");

    for workers in [1, 4] {
        let limit = bench.pgbench(tasks, workers).await;
        let (own, claims) = bench.drain(tasks, workers).await;
        let ratio = own / limit;
        Row {
            figure: &format!("P8 {tasks} tasks claimed and completed, workers: {workers}"),
            server: format!("{own:.0}/s"),
            limit: format!("pgbench -c {workers}, batches of 100: {limit:.0}/s"),
            ratio: format!("{ratio:.2}"),
            goal: "≥ 0.5",
            met: Some(ratio >= 0.5),
            latency: claims.text(),
            ..Row::default()
        }
        .print();
    }
    let free = Duration::from_secs(if quick { 10 } else { 60 });
    let (left, claims) = bench.steady(free).await;
    steady_row(&format!("P8 {STEADY} tasks/s for {} s", free.as_secs()), left, &claims);
    let holder = connect(&url).await;
    holder
        .batch_execute(
            "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM task_queue.tasks",
        )
        .await
        .unwrap();
    let (left, claims) = bench.steady(Duration::from_secs(held)).await;
    steady_row(&format!("P8 the same for {held} s, vacuum horizon held"), left, &claims);
    let (own, claims) = bench.drain(tasks, 4).await;
    Row {
        figure: "P8 workers: 4, horizon still held",
        server: format!("{own:.0}/s"),
        latency: claims.text(),
        ..Row::default()
    }
    .print();
    drop(holder);
    drop(bench);
    admin.batch_execute(&format!("DROP DATABASE {DATABASE} WITH (FORCE)")).await.unwrap();
}

fn steady_row(figure: &str, left: i64, claims: &Claims) {
    Row {
        figure,
        server: format!("{left} left at the end"),
        goal: "claims p99 ≤ 10 ms",
        met: Some(claims.p99_ms <= 10.0),
        latency: claims.text(),
        ..Row::default()
    }
    .print();
}

/// How long claims took, at most: upper bounds of histogram buckets.
struct Claims {
    p50_ms: f64,
    p99_ms: f64,
}

impl Claims {
    fn text(&self) -> String {
        format!("≤ {} / ≤ {}", self.p50_ms, self.p99_ms)
    }
}

struct Bench {
    url: String,
    client: Client,
}

/// What one process has.
struct Process {
    database: Database,
    tasks: Tasks,
    metrics: Metrics,
    trigger: shutdown::ShutdownTrigger,
}

impl Bench {
    fn open(&self, threads: usize) -> Process {
        let text = format!(
            "[database]\nurl = '{}'\n[tasks]\nthreads = {threads}\nconcurrency = {}\n",
            self.url,
            200 * threads
        );
        let config = ConfigSource::texts(vec![text]).load().unwrap();
        let metrics = Metrics::default();
        let settings = config.section("database").unwrap();
        let database = Database::new(settings, &metrics, Handle::current()).unwrap();
        let (trigger, shutdown) = shutdown::channel();
        let settings = config.section("tasks").unwrap();
        let tasks = Tasks::new(settings, database.clone(), &metrics, shutdown, Handle::current());
        Process { database, tasks, metrics, trigger }
    }

    async fn fill(&self, process: &Process, count: usize) {
        let parks: Vec<ParkId> =
            (0..PARKS).map(|n| ParkId::parse(&format!("park-{n}")).unwrap()).collect();
        let new = |number| NewTask::new(Nothing { number }).of_park(&parks[number % PARKS]);
        for first in (0..count).step_by(2_000) {
            let chunk: Vec<_> = (first..count.min(first + 2_000)).map(new).collect();
            process.enqueue(&chunk).await;
        }
        self.client.batch_execute("ANALYZE task_queue.tasks").await.unwrap();
    }

    /// Tasks a second, and how long claims took.
    async fn drain(&self, count: usize, threads: usize) -> (f64, Claims) {
        let process = self.open(threads);
        self.fill(&process, count).await;
        let done = process.count_done();
        let started = Instant::now();
        while self.left().await > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let took = started.elapsed().as_secs_f64();
        assert_eq!(done.load(Ordering::Relaxed), count, "each once");
        (count as f64 / took, process.stop().await)
    }

    /// What is left after so long at a steady pace, and how long claims took.
    async fn steady(&self, length: Duration) -> (i64, Claims) {
        let process = self.open(2);
        let done = process.count_done();
        let mut pace = tokio::time::interval(Duration::from_millis(10));
        let (started, mut made) = (Instant::now(), 0);
        while started.elapsed() < length {
            pace.tick().await;
            let due = STEADY * usize::try_from(started.elapsed().as_millis()).unwrap() / 1000;
            let chunk: Vec<_> = (made..due).map(|n| NewTask::new(Nothing { number: n })).collect();
            process.enqueue(&chunk).await;
            made = due;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let left = self.left().await;
        assert!(done.load(Ordering::Relaxed) <= made, "each once");
        (left, process.stop().await)
    }

    async fn left(&self) -> i64 {
        let any = "SELECT count(*) FROM (SELECT FROM task_queue.tasks LIMIT 1000) t";
        self.client.query_one(any, &[]).await.unwrap().get(0)
    }

    /// The same statements in batches of 100, without anything around them.
    async fn pgbench(&self, count: usize, clients: usize) -> f64 {
        let process = self.open(1);
        self.fill(&process, count).await;
        let script = std::env::temp_dir().join(format!("fleet-bench-{}", std::process::id()));
        std::fs::write(&script, SCRIPT).unwrap();
        let pgbench = std::env::var("PGBENCH").unwrap_or_else(|_| "pgbench".to_owned());
        // Less than there are: it must not run out of tasks.
        let transactions = count / 100 / clients * 9 / 10;
        let output = Command::new(pgbench)
            .args(["-n", "-M", "prepared", "-c", &clients.to_string(), "-j", "2", "-t"])
            .args([&transactions.to_string(), "-f"])
            .arg(&script)
            .arg(&self.url)
            .env("PGOPTIONS", "-c plan_cache_mode=force_generic_plan -c enable_seqscan=off \
                 -c enable_bitmapscan=off -c enable_sort=off -c enable_hashjoin=off -c enable_mergejoin=off")
            .output()
            .expect("pgbench");
        std::fs::remove_file(&script).unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        let rate = said.split("tps = ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
        self.client.batch_execute("TRUNCATE task_queue.tasks").await.unwrap();
        rate.parse::<f64>().unwrap() * 100.0
    }
}

/// Claims 100 tasks, then completes them.
const SCRIPT: &str = "WITH claimed AS (UPDATE task_queue.tasks SET state = 'running', attempt = attempt + 1, \
    token = token + 1, lease_until = clock_timestamp() + interval '15 s' WHERE ctid = ANY(ARRAY(\
    SELECT line.ctid FROM UNNEST('{0,0,0}'::bigint[]) WITH ORDINALITY AS p(front, place) CROSS JOIN LATERAL (\
    SELECT t.ctid FROM task_queue.tasks t WHERE t.state = 'ready' AND t.priority = p.place - 1 \
    AND t.tag >= p.front AND t.queue = 'bench' AND t.kind = ANY('{nothing}'::text[]) \
    ORDER BY t.queue, t.priority, t.tag, t.id LIMIT 100 FOR UPDATE SKIP LOCKED) line LIMIT 100)) \
    RETURNING id, token, kind, park_id, priority, attempt, max_attempts, traceparent, payload) \
    SELECT array_agg(id) AS ids, array_agg(token) AS tokens FROM claimed \\gset\n\
    DELETE FROM task_queue.tasks WHERE ctid = ANY(ARRAY(SELECT c.ctid \
    FROM UNNEST(:ids::bigint[], :tokens::bigint[]) AS i(id, token) CROSS JOIN LATERAL (\
    SELECT t.ctid FROM task_queue.tasks t WHERE t.id = i.id AND t.token = i.token \
    AND t.lease_until IS NOT NULL FOR UPDATE) c)) RETURNING id;\n";

impl Process {
    async fn enqueue(&self, tasks: &[NewTask<Nothing>]) {
        let context = Context::background("bench", Duration::from_mins(1));
        let enqueue =
            async |connection: &mut _| self.tasks.enqueue_all(connection, &context, tasks).await;
        self.database.transaction(&context, enqueue).await.expect("it is enqueued");
    }

    fn count_done(&self) -> Arc<AtomicUsize> {
        let done = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&done);
        self.tasks.handle(move |_: Running<Nothing>| {
            count.fetch_add(1, Ordering::Relaxed);
            async { Ok(Outcome::Done) }
        });
        done
    }

    /// Stops it; says how long claims took.
    async fn stop(self) -> Claims {
        self.trigger.fire();
        self.tasks.stopped().await;
        let text = self.metrics.render();
        let buckets: Vec<(f64, f64)> = text
            .lines()
            .filter_map(|line| {
                line.strip_prefix("task_claim_duration_seconds_bucket{queue=\"bench\",le=\"")
            })
            .filter_map(|rest| rest.split_once("\"} "))
            .map(|(edge, count)| (edge.parse().unwrap_or(f64::INFINITY), count.parse().unwrap()))
            .collect();
        let all = buckets.last().map_or(0.0, |(_, count)| *count);
        let below = |share: f64| {
            let bucket = buckets.iter().find(|(_, count)| *count >= all * share);
            bucket.map_or(f64::NAN, |(edge, _)| edge * 1000.0)
        };
        self.database.close();
        Claims { p50_ms: below(0.5), p99_ms: below(0.99) }
    }
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("PostgreSQL");
    tokio::spawn(connection);
    client
}
