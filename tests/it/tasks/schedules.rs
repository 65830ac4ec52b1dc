//! A schedule's task is there once a tick, however many instances know it.

use std::time::Duration;

use fleet::platform::tasks::{Outcome, Running};

use super::rig::{Instance, Note, Numbers, World};
use crate::support::eventually;

const EVERY: Duration = Duration::from_hours(1);
const DUE: &str = "UPDATE task_queue.schedules SET next_at = now()";

/// Notes each run of the scheduled task.
fn scheduled(instance: &Instance, runs: &Numbers) {
    let noted = runs.clone();
    instance.tasks.handle(move |running: Running<Note>| {
        noted.push(running.task.number);
        async { Ok(Outcome::Done) }
    });
    instance.tasks.every("hourly", EVERY, || Note { number: 1 });
}

/// Instances with the schedule; all look at the table at once when they start.
fn start_three(world: &World, runs: &Numbers) -> Vec<Instance> {
    (0..3)
        .map(|_| {
            let instance = world.instance();
            scheduled(&instance, runs);
            instance
        })
        .collect()
}

#[actix_web::test]
async fn three_instances_run_a_tick_once() {
    let world = World::make().await;
    let runs = Numbers::default();
    let mut instances = start_three(&world, &runs);
    runs.reach(1).await;
    for round in 2..5 {
        world.drained().await;
        drop(instances);
        // What was missed for hours is caught up once.
        world
            .test
            .execute("UPDATE task_queue.schedules SET next_at = next_at - interval '9 hours'")
            .await;
        instances = start_three(&world, &runs);
        runs.reach(round).await;
        eventually("the tick is taken", async || {
            let ahead = "SELECT count(*) FROM task_queue.schedules \
                 WHERE next_at > now() AND next_at <= now() + every";
            world.test.count(ahead).await == 1
        })
        .await;
    }
    world.drained().await;
    // Each instance has looked again since; nobody found the tick due.
    for instance in &instances {
        instance.stop().await;
    }
    assert_eq!(runs.len(), 4);
}

#[actix_web::test]
async fn short_ticks_come_once_each_to_three_instances() {
    let world = World::make().await;
    let runs = Numbers::default();
    let instances: Vec<Instance> = (0..3).map(|_| world.instance()).collect();
    for instance in &instances {
        let noted = runs.clone();
        instance.tasks.handle(move |_: Running<Note>| {
            noted.push(1);
            async { Ok(Outcome::Done) }
        });
        instance.tasks.every("often", Duration::from_millis(200), || Note { number: 1 });
    }
    // The next tick, and how many tasks of earlier ones may still run.
    let look = "SELECT round(extract(epoch FROM next_at) * 5)::bigint, \
         (SELECT count(*) FROM task_queue.tasks) FROM task_queue.schedules";
    runs.reach(1).await;
    let now = async || {
        let row = &world.test.query(look, &[]).await[0];
        (row.get::<_, i64>(0), row.get::<_, i64>(1))
    };
    let (began, waiting) = now().await;
    let had = runs.len();
    runs.reach(had + 10).await;
    for instance in &instances {
        instance.stop().await;
    }
    let ticks = now().await.0 - began;
    let most = usize::try_from(ticks + waiting).unwrap();
    assert!(runs.len() - had <= most, "{} runs in {ticks} ticks", runs.len() - had);
}

#[actix_web::test]
async fn a_tick_whose_session_was_ended_is_taken_by_another() {
    let world = World::make().await;
    let runs = Numbers::default();
    let _instances = start_three(&world, &runs);
    runs.reach(1).await;
    world.drained().await;
    // Somebody took the tick and enqueued, and is ended before it commits.
    let taker = world.test.connect().await;
    let take = "UPDATE task_queue.schedules SET next_at = next_at + every WHERE next_at <= now()";
    let before = loop {
        world.drained().await;
        let before = runs.len();
        world.test.execute(DUE).await;
        taker.batch_execute("BEGIN").await.unwrap();
        if taker.execute(take, &[]).await.unwrap() == 1 {
            break before;
        }
        // One of the three was faster.
        taker.batch_execute("ROLLBACK").await.unwrap();
        runs.reach(before + 1).await;
    };
    let enqueue = "INSERT INTO task_queue.tasks (tag, run_at, priority, max_attempts, state, queue, kind, park_id, \
         unique_key, traceparent, payload) VALUES (1, now(), 1, 5, 'ready', 'notes', 'note', '', \
         'schedule hourly', '', '{\"number\": 666}')";
    taker.batch_execute(enqueue).await.unwrap();
    // Another looks meanwhile, and waits for the first.
    let late = world.instance();
    scheduled(&late, &runs);
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
         AND wait_event_type = 'Lock'";
    eventually("it waits", async || world.test.count(waits).await > 0).await;
    let pid: i32 = taker.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    world.test.query("SELECT pg_terminate_backend($1)", &[&pid]).await;
    runs.reach(before + 1).await;
    world.drained().await;
    assert_eq!(runs.all(), vec![1; before + 1]);
}

#[actix_web::test]
async fn while_a_ticks_task_is_there_the_next_tick_passes() {
    let world = World::make().await;
    let instance = world.instance();
    instance.tasks.every("often", Duration::from_millis(50), || Note { number: 1 });
    let ticks = "SELECT count(*) FROM task_queue.schedules WHERE next_at > $1";
    let now = jiff::Timestamp::now().to_string();
    eventually("ticks pass", async || {
        let sql = ticks.replace("$1", &format!("'{now}'::timestamptz + interval '500 ms'"));
        world.test.count(&sql).await == 1
    })
    .await;
    assert_eq!(world.stored("").await, 1);
}
