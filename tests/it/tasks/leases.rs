//! A task is one worker's at a time, and what a worker does after it lost its task changes nothing.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use fleet::platform::tasks::{NewTask, Outcome, Running, Selection};

use super::rig::{Instance, Note, Numbers, World, note, task, trace};
use crate::support::eventually;
use crate::support::proxy::{Mode, Proxy, host_and_port};

/// As short as is allowed.
const SHORT: &str = "lease_ms = 1000\nthreads = 1\n";

task!(Once, "once", "notes", MAX_ATTEMPTS: i16 = 1);

/// A handler that stops its whole thread, heartbeats included, until it is let go: what SIGSTOP does
/// to a process. Then it goes on in one of several ways.
struct Stopped {
    entered: Arc<AtomicUsize>,
    go_on: mpsc::Sender<()>,
    late: Numbers,
}

#[derive(Clone, Copy)]
enum Late {
    /// Writes behind a fence.
    Fence,
    /// Writes and completes in one transaction.
    CompleteIn,
    /// Returns that it is done.
    Return,
}

fn stopped(instance: &Instance, late: Late) -> Stopped {
    let (entered, tried) = (Arc::new(AtomicUsize::new(0)), Numbers::default());
    let (go_on, wait) = mpsc::channel();
    let wait = Arc::new(Mutex::new(wait));
    let (count, told, database) = (Arc::clone(&entered), tried.clone(), instance.database.clone());
    instance.tasks.handle(move |running: Running<Note>| {
        let (wait, count, told) = (Arc::clone(&wait), Arc::clone(&count), told.clone());
        let database = database.clone();
        async move {
            count.fetch_add(1, Ordering::SeqCst);
            wait.lock().unwrap().recv_timeout(Duration::from_secs(30)).expect("to be let go");
            if matches!(late, Late::Return) {
                told.push(0);
                return Ok(Outcome::Done);
            }
            // On its own: a handler that lost its lease is dropped, and this must be tried.
            let write = tokio::task::spawn_local(async move {
                let written = database.transaction(&running.context, async |connection| {
                    if matches!(late, Late::Fence) {
                        running.fence(connection).await?;
                    }
                    trace(connection, -1).await?;
                    running.complete_in(connection).await
                });
                let written = written.await;
                assert_eq!(written.as_ref().unwrap_err().code(), "task_lease_lost");
                told.push(0);
                written
            });
            write.await.unwrap()?;
            Ok(Outcome::Done)
        }
    });
    Stopped { entered, go_on, late: tried }
}

/// Counts how often it is dropped.
struct CountDrop(Arc<AtomicUsize>);

impl Drop for CountDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

async fn a_late_worker_changes_nothing(late: Late) {
    let world = World::make().await;
    let first = world.instance_with(SHORT);
    // It keeps what it takes, however long it stands still.
    let second = world.instance_with("threads = 1\n");
    let stopped = stopped(&first, late);
    first.enqueue(note(7)).await.unwrap();
    eventually("it runs", async || stopped.entered.load(Ordering::SeqCst) == 1).await;
    // Another takes it over, and is not done yet when the first goes on.
    let (reached, finish) = (Numbers::default(), Arc::new(tokio::sync::Semaphore::new(0)));
    let (noted, wait, database) = (reached.clone(), Arc::clone(&finish), second.database.clone());
    second.tasks.handle(move |running: Running<Note>| {
        let (noted, wait, database) = (noted.clone(), Arc::clone(&wait), database.clone());
        async move {
            noted.push(i64::from(running.attempt));
            let _place = wait.acquire().await.unwrap();
            let done = database.transaction(&running.context, async |connection| {
                running.fence(connection).await?;
                trace(connection, running.task.number).await?;
                running.complete_in(connection).await
            });
            done.await?;
            Ok(Outcome::Done)
        }
    });
    reached.reach(1).await;
    assert_eq!(reached.all(), [2], "the first attempt counts");
    stopped.go_on.send(()).unwrap();
    if !matches!(late, Late::Return) {
        stopped.late.reach(1).await;
        assert_eq!(stopped.late.all(), [0]);
    }
    // Its whole thread has gone on: it serves others again.
    let lost = "task_attempts_total{kind=\"note\",outcome=\"lost\"}";
    eventually("the first one's end is void", async || first.metric(lost) == 1).await;
    assert_eq!(world.stored("running").await, 1, "the second still has it");
    assert_eq!(world.traces().await, Vec::<i64>::new());
    finish.add_permits(1);
    world.drained().await;
    assert_eq!(world.traces().await, [7]);
    let done = "task_attempts_total{kind=\"note\",outcome=\"done\"}";
    eventually("the second is done", async || second.metric(done) == 1).await;
    assert_eq!(first.metric(done), 0);
    assert_eq!(
        first.metric("tasks_rescued_total{queue=\"notes\"}")
            + second.metric("tasks_rescued_total{queue=\"notes\"}"),
        1
    );
}

#[actix_web::test]
async fn a_late_write_behind_the_fence_changes_nothing() {
    a_late_worker_changes_nothing(Late::Fence).await;
}

#[actix_web::test]
async fn a_late_completion_takes_its_own_write_back() {
    a_late_worker_changes_nothing(Late::CompleteIn).await;
}

#[actix_web::test]
async fn a_late_answer_does_not_remove_the_task() {
    a_late_worker_changes_nothing(Late::Return).await;
}

#[actix_web::test]
async fn work_that_takes_longer_than_the_lease_keeps_it_by_heartbeats() {
    let world = World::make().await;
    let short = "lease_ms = 6000\nthreads = 1\n";
    let instances = [world.instance_with(short), world.instance_with(short)];
    let begun = Numbers::default();
    for instance in &instances {
        let (begun, database) = (begun.clone(), instance.database.clone());
        instance.tasks.handle(move |running: Running<Note>| {
            begun.push(running.task.number);
            let database = database.clone();
            async move {
                // Longer than the lease, half of it inside a transaction behind the fence.
                tokio::time::sleep(Duration::from_millis(3_500)).await;
                let done = database.transaction(&running.context, async |connection| {
                    running.fence(connection).await?;
                    tokio::time::sleep(Duration::from_millis(3_500)).await;
                    trace(connection, running.task.number).await?;
                    running.complete_in(connection).await
                });
                done.await?;
                Ok(Outcome::Done)
            }
        });
    }
    instances[0].enqueue_all(&(0..4).map(note).collect::<Vec<_>>()).await;
    world.drained().await;
    assert_eq!(begun.len(), 4, "each was begun once");
    assert_eq!(world.traces().await, [0, 1, 2, 3]);
}

#[actix_web::test]
async fn a_worker_that_is_cut_off_drops_its_task_and_another_finishes_it() {
    let world = World::make().await;
    let proxy = Proxy::start(host_and_port(&world.test.url()).1);
    let cut_off = Instance::at(&proxy.in_front_of(&world.test.url()), SHORT);
    let dropped = Arc::new(AtomicUsize::new(0));
    let begun = Numbers::default();
    let (noted, count) = (begun.clone(), Arc::clone(&dropped));
    cut_off.tasks.handle(move |running: Running<Note>| {
        noted.push(running.task.number);
        let guard = CountDrop(Arc::clone(&count));
        async move {
            let _guard = guard;
            std::future::pending().await
        }
    });
    cut_off.enqueue(note(1)).await.unwrap();
    begun.reach(1).await;
    proxy.set(Mode::Close);
    let other = world.instance_with(SHORT);
    other.leave_traces();
    world.drained().await;
    assert_eq!(world.traces().await, [1]);
    eventually("the handler is dropped", async || dropped.load(Ordering::SeqCst) >= 1).await;
}

#[actix_web::test]
async fn a_task_whose_workers_all_vanish_is_dead_after_its_attempts() {
    let world = World::make().await;
    let vanishing = world.instance_with(SHORT);
    let entered = Numbers::default();
    let (go_on, wait) = mpsc::channel::<()>();
    let (noted, wait) = (entered.clone(), Arc::new(Mutex::new(wait)));
    vanishing.tasks.handle(move |_: Running<Once>| {
        noted.push(1);
        let wait = Arc::clone(&wait);
        async move {
            let _ = wait.lock().unwrap().recv_timeout(Duration::from_secs(30));
            Ok(Outcome::Done)
        }
    });
    vanishing.enqueue(NewTask::new(Once { number: 1 })).await.unwrap();
    entered.reach(1).await;
    eventually("it is dead", async || world.stored("dead").await == 1).await;
    let dead = &vanishing.list(Selection::default()).await[0];
    assert_eq!((dead.attempt, dead.error_code.as_deref()), (1, Some("task_worker_lost")));
    drop(go_on);
    let lost = "task_attempts_total{kind=\"once\",outcome=\"lost\"}";
    eventually("its end is void", async || vanishing.metric(lost) == 1).await;
    assert_eq!(world.stored("dead").await, 1);
}
