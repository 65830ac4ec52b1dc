//! Any number of instances share the work; they may stop, and PostgreSQL may stop under them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fleet::platform::tasks::{Outcome, Running, Selection};

use super::rig::{Instance, Note, Numbers, World, note, prepare, trace};
use crate::support::app::PATIENT;
use crate::support::eventually;
use crate::support::postgres::Postgres;

#[actix_web::test]
async fn instances_share_the_work_and_each_task_takes_effect_once() {
    let world = World::make().await;
    let instances = [world.instance(), world.instance(), world.instance()];
    for instance in &instances {
        instance.leave_traces();
    }
    let all: Vec<i64> = (0..1500).collect();
    let enqueue = instances.iter().zip(all.chunks(500)).map(async |(instance, numbers)| {
        for chunk in numbers.chunks(50) {
            let tasks: Vec<_> = chunk.iter().map(|number| note(*number)).collect();
            instance.enqueue_all(&tasks).await;
        }
    });
    futures_util::future::join_all(enqueue).await;
    world.drained().await;
    assert_eq!(world.traces().await, all);
    // A lease that was to be renewed just after the commit is found void: done, and told as lost.
    let ends = ["done", "lost"]
        .map(|outcome| format!("task_attempts_total{{kind=\"note\",outcome=\"{outcome}\"}}"));
    eventually("all are counted", async || {
        let each = instances.iter().flat_map(|one| ends.iter().map(|series| one.metric(series)));
        each.sum::<u64>() == 1500
    })
    .await;
    let waited = "task_wait_seconds_count{queue=\"notes\"}";
    assert_eq!(instances.iter().map(|instance| instance.metric(waited)).sum::<u64>(), 1500);
}

#[actix_web::test]
async fn what_runs_when_the_process_stops_is_handed_back_and_does_not_count() {
    let world = World::make().await;
    let stopping = world.instance_with("stop_ms = 200\nconcurrency = 4\n");
    let begun = Numbers::default();
    let noted = begun.clone();
    stopping.tasks.handle(move |running: Running<Note>| {
        noted.push(running.task.number);
        async {
            std::future::pending::<()>().await;
            Ok(Outcome::Done)
        }
    });
    stopping.enqueue_all(&(0..6).map(note).collect::<Vec<_>>()).await;
    begun.reach(4).await;
    let started = Instant::now();
    stopping.stop().await;
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    assert_eq!(world.stored("ready").await, 6);
    let other = world.instance();
    let tasks = other.list(Selection::default()).await;
    assert!(tasks.iter().all(|task| task.attempt == 0 && task.error_code.is_none()), "{tasks:?}");
    let handed_back = "task_attempts_total{kind=\"note\",outcome=\"handed_back\"}";
    assert_eq!(stopping.metric(handed_back), 4);
    assert_eq!(begun.len(), 4, "nothing is claimed while stopping");
    other.leave_traces();
    world.drained().await;
    assert_eq!(world.traces().await, (0..6).collect::<Vec<_>>());
}

#[actix_web::test]
async fn what_ends_within_the_time_given_is_finished() {
    let world = World::make().await;
    let stopping = world.instance_with("stop_ms = 20000\n");
    let begun = Numbers::default();
    let (noted, database) = (begun.clone(), stopping.database.clone());
    stopping.tasks.handle(move |running: Running<Note>| {
        noted.push(running.task.number);
        let database = database.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let done = database.transaction(&running.context, async |connection| {
                trace(connection, running.task.number).await?;
                running.complete_in(connection).await
            });
            done.await?;
            Ok(Outcome::Done)
        }
    });
    stopping.enqueue(note(1)).await.unwrap();
    begun.reach(1).await;
    let started = Instant::now();
    stopping.stop().await;
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert_eq!(world.stored("").await, 0);
    assert_eq!(world.traces().await, [1]);
}

#[actix_web::test]
async fn stopping_again_and_again_loses_nothing_and_kills_nothing() {
    let world = World::make().await;
    let source = world.instance();
    let all: Vec<i64> = (0..400).collect();
    source.enqueue_all(&all.iter().map(|number| note(*number)).collect::<Vec<_>>()).await;
    for _ in 0..4 {
        let instance = world.instance_with("stop_ms = 0\nconcurrency = 8\n");
        let database = instance.database.clone();
        let begun = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&begun);
        instance.tasks.handle(move |running: Running<Note>| {
            let is_late = count.fetch_add(1, Ordering::SeqCst) >= 50;
            let database = database.clone();
            async move {
                if is_late {
                    // Something is left for the next, and is handed back.
                    std::future::pending::<()>().await;
                }
                let done = database.transaction(&running.context, async |connection| {
                    trace(connection, running.task.number).await?;
                    running.complete_in(connection).await
                });
                done.await?;
                Ok(Outcome::Done)
            }
        });
        eventually("it works", async || begun.load(Ordering::SeqCst) > 40).await;
        instance.stop().await;
        assert_eq!(world.stored("running").await, 0);
    }
    source.leave_traces();
    world.drained().await;
    assert_eq!(world.traces().await, all);
}

#[actix_web::test]
async fn a_database_that_restarts_under_the_queue_loses_nothing_and_doubles_nothing() {
    let mut postgres = Postgres::start().await;
    prepare(&postgres.url()).await;
    let database = format!("[database]\nurl = '{}'\npool_size = 4\n{PATIENT}", postgres.url());
    let keys = "lease_ms = 2000\n";
    let instances = [Instance::of(&database, keys), Instance::of(&database, keys)];
    for instance in &instances {
        instance.leave_traces();
    }
    let url = postgres.url();
    let traced = async || traced(&url).await;
    let mut acknowledged = Vec::new();
    for round in 0..2_i64 {
        for chunk in 0..20_i64 {
            let first = round * 10_000 + chunk * 50;
            instances[0].enqueue_all(&(first..first + 50).map(note).collect::<Vec<_>>()).await;
            acknowledged.extend(first..first + 50);
        }
        let before = usize::try_from(round).unwrap() * 1000;
        eventually("some are done", async || traced().await.len() > before + 20).await;
        postgres.stop_at_once();
        postgres.start_again().await;
        eventually("all are done", async || traced().await.len() >= acknowledged.len()).await;
        assert_eq!(traced().await, acknowledged, "none lost, none twice");
    }
}

#[actix_web::test]
async fn a_database_that_freezes_under_the_queue_loses_nothing_and_doubles_nothing() {
    let postgres = Postgres::start().await;
    prepare(&postgres.url()).await;
    let url = postgres.url();
    let database = format!("[database]\nurl = '{url}'\npool_size = 4\n{PATIENT}");
    let instances = [Instance::of(&database, "lease_ms = 2000\n"), Instance::of(&database, "")];
    for instance in &instances {
        instance.leave_traces();
    }
    let all: Vec<i64> = (0..3000).collect();
    instances[0].enqueue_all(&all.iter().map(|number| note(*number)).collect::<Vec<_>>()).await;
    eventually("some are done", async || traced(&url).await.len() > 50).await;
    postgres.freeze();
    // Longer than the shorter lease, and than statements may take.
    tokio::time::sleep(Duration::from_secs(4)).await;
    postgres.thaw();
    eventually("all are done", async || traced(&url).await.len() >= all.len()).await;
    assert_eq!(traced(&url).await, all, "none lost, none twice");
}

/// Traces in a database that no [`World`] knows.
async fn traced(url: &str) -> Vec<i64> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let rows = client.query("SELECT number FROM traces ORDER BY number", &[]).await.unwrap();
    rows.iter().map(|row| row.get::<_, i64>(0)).collect()
}
