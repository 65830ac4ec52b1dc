//! What an operator sees of the queue, and the bounds that settings draw.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fleet::platform::database::Connection;
use fleet::platform::tasks::{Outcome, Running};
use fleet::platform::telemetry::trace::TraceContext;
use tokio::sync::Semaphore;

use super::rig::{Note, Numbers, World, context, note};
use crate::support::eventually;

#[actix_web::test]
async fn no_more_tasks_of_a_queue_run_at_once_than_it_may() {
    let world = World::make().await;
    let instance = world.instance_with("concurrency = 50\nthreads = 2\nqueues = { notes = 3 }\n");
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let gate = Arc::new(Semaphore::new(0));
    let (running, seen, wait) = (Arc::clone(&now), Arc::clone(&most), Arc::clone(&gate));
    instance.tasks.handle(move |_: Running<Note>| {
        let (running, seen, wait) = (Arc::clone(&running), Arc::clone(&seen), Arc::clone(&wait));
        async move {
            seen.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let _ = wait.acquire().await;
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            running.fetch_sub(1, Ordering::SeqCst);
            Ok(Outcome::Done)
        }
    });
    instance.enqueue_all(&(0..60).map(note).collect::<Vec<_>>()).await;
    eventually("each of its places is taken", async || now.load(Ordering::SeqCst) == 3).await;
    gate.close();
    world.drained().await;
    assert_eq!(most.load(Ordering::SeqCst), 3);
}

#[actix_web::test]
async fn depth_and_age_are_measured() {
    let world = World::make().await;
    let instance = world.instance_with("concurrency = 1\nthreads = 1\n");
    let later = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    instance.enqueue_all(&(0..5).map(note).collect::<Vec<_>>()).await;
    instance.enqueue(note(6).run_at(later)).await.unwrap();
    instance.enqueue(note(7)).await.unwrap();
    let ready = "UPDATE task_queue.tasks SET run_at = now() - interval '90 seconds' \
         WHERE state = 'ready'";
    world.test.execute(ready).await;
    let kill = "UPDATE task_queue.tasks SET state = 'dead', died_at = now() \
         WHERE payload ->> 'number' = '7'";
    world.test.execute(kill).await;
    // The first task waits to be let go; the others are ready.
    let (gate, entered) = (Arc::new(Semaphore::new(0)), Numbers::default());
    let (wait, noted) = (Arc::clone(&gate), entered.clone());
    instance.tasks.handle(move |running: Running<Note>| {
        let wait = Arc::clone(&wait);
        noted.push(running.task.number);
        async move {
            wait.acquire().await.unwrap().forget();
            Ok(Outcome::Done)
        }
    });
    entered.reach(1).await;
    // Measured when an instance starts, and now and then.
    let second = world.instance();
    second.tasks.handle(|_: Running<super::rig::Other>| async { Ok(Outcome::Done) });
    let depth = |state: &str| {
        second.metric(&format!("task_queue_depth{{queue=\"notes\",state=\"{state}\"}}"))
    };
    let depths = async || ["ready", "scheduled", "dead"].map(depth) == [4, 1, 1];
    eventually("it is measured", depths).await;
    assert_eq!(instance.metric("tasks_running{queue=\"notes\"}"), 1);
    let oldest = || second.metric("task_queue_oldest_ready_seconds{queue=\"notes\"}");
    eventually("its age too", async || (90..300).contains(&oldest())).await;
    gate.add_permits(100);
    entered.reach(5).await;
    let running = "tasks_running{queue=\"notes\"}";
    eventually("none runs", async || instance.metric(running) == 0).await;
}

#[actix_web::test]
async fn a_task_belongs_to_the_trace_that_enqueued_it() {
    let world = World::make().await;
    let instance = world.instance();
    let mut enqueued_in = context();
    enqueued_in.trace =
        TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
    let same = Numbers::default();
    let (noted, expected) = (same.clone(), enqueued_in.trace);
    instance.tasks.handle(move |running: Running<Note>| {
        let trace = running.context.trace;
        noted.push(i64::from(
            trace.trace_id == expected.trace_id && trace.span_id != expected.span_id,
        ));
        async { Ok(Outcome::Done) }
    });
    let enqueue = async |connection: &mut Connection| {
        instance.tasks.enqueue(connection, &enqueued_in, note(1)).await
    };
    instance.transaction(enqueue).await.unwrap();
    same.reach(1).await;
    assert_eq!(same.all(), [1]);
}
