//! A notification wakes workers at once; what is missed is found by looking.

use std::time::{Duration, Instant};

use super::rig::{Instance, Note, World, note};
use crate::support::database::TestDatabase;
use crate::support::proxy::{Mode, Proxy, host_and_port};
use crate::support::{STALL, eventually};

/// Longer than any of these tests waits: only a notification can be quicker.
const HARDLY_EVER: &str = "poll_ms = 60000\n";

const LISTENING: &str = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
     AND application_name = 'fleet listen'";

/// Waits until no instance has a session any more.
pub(super) async fn sessions_end(world: &World) {
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
         AND application_name LIKE 'fleet%'";
    eventually("sessions end", async || world.test.count(sessions).await == 0).await;
}

/// Waits until the instance is idle: it listens, and the pauses between its looks have grown.
async fn idle(test: &TestDatabase, length: Duration) {
    eventually("it listens", async || test.count(LISTENING).await == 1).await;
    tokio::time::sleep(length).await;
}

#[actix_web::test]
async fn workers_do_not_wait_for_their_next_look() {
    let world = World::make().await;
    let worker = world.instance_with(HARDLY_EVER);
    let numbers = worker.note_numbers::<Note>();
    let other = world.instance();
    for round in 0..3 {
        // After so long the next look is about as far away: that it comes so soon each time by
        // chance is unlikely.
        idle(&world.test, Duration::from_secs(16)).await;
        let (started, before) = (Instant::now(), numbers.len());
        if round == 0 {
            other.enqueue_all(&(0..100).map(note).collect::<Vec<_>>()).await;
        } else {
            other.enqueue(note(100 + round)).await.unwrap();
        }
        numbers.reach(before + 1).await;
        assert!(started.elapsed() < Duration::from_secs(3) + STALL, "{:?}", started.elapsed());
        world.drained().await;
    }
    // One by one, each as soon as the one before is done.
    for number in 200..220 {
        let before = numbers.len();
        other.enqueue(note(number)).await.unwrap();
        numbers.reach(before + 1).await;
    }
    world.drained().await;
}

#[actix_web::test]
async fn a_missed_notification_costs_one_poll() {
    let world = World::make().await;
    let worker = world.instance_with("poll_ms = 1000\n");
    let numbers = worker.note_numbers::<Note>();
    idle(&world.test, Duration::from_millis(1500)).await;
    // Stored without a notification.
    let sql = "INSERT INTO task_queue.tasks (tag, run_at, priority, max_attempts, state, queue, kind, \
         park_id, traceparent, payload) SELECT extract(epoch FROM clock_timestamp()) * 1000000, now(), \
         1, 5, 'ready', 'notes', 'note', '', '', '{\"number\": 1}'";
    world.test.execute(sql).await;
    numbers.reach(1).await;
}

#[actix_web::test]
async fn a_task_whose_transaction_took_long_is_found_behind_the_front() {
    let world = World::make().await;
    let worker = world.instance();
    let numbers = worker.note_numbers::<Note>();
    let slow = world.test.connect().await;
    let begin = "BEGIN; INSERT INTO task_queue.tasks (tag, run_at, priority, max_attempts, state, queue, \
         kind, park_id, traceparent, payload) SELECT extract(epoch FROM clock_timestamp()) * 1000000, \
         now(), 1, 5, 'ready', 'notes', 'note', '', '', '{\"number\": -1}'";
    slow.batch_execute(begin).await.unwrap();
    // Meanwhile others come and go, and the front moves on.
    for number in 0..300 {
        worker.enqueue(note(number)).await.unwrap();
        numbers.reach(usize::try_from(number).unwrap() + 1).await;
    }
    slow.batch_execute("COMMIT").await.unwrap();
    eventually("it is found", async || numbers.all().contains(&-1)).await;
}

#[actix_web::test]
async fn a_listening_session_that_is_ended_comes_back() {
    let world = World::make().await;
    let worker = world.instance_with(HARDLY_EVER);
    let numbers = worker.note_numbers::<Note>();
    let other = world.instance();
    for number in 0..3 {
        idle(&world.test, Duration::from_millis(1500)).await;
        let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
             WHERE datname = current_database() AND application_name = 'fleet listen'";
        assert!(world.test.count(end).await >= 1);
        // Notified to nobody, perhaps: whoever listens again looks first.
        other.enqueue(note(2 * number)).await.unwrap();
        numbers.reach(usize::try_from(2 * number).unwrap() + 1).await;
        idle(&world.test, Duration::from_millis(1500)).await;
        other.enqueue(note(2 * number + 1)).await.unwrap();
        numbers.reach(usize::try_from(2 * number).unwrap() + 2).await;
    }
}

#[actix_web::test]
async fn a_worker_that_was_cut_off_goes_on_by_itself() {
    let world = World::make().await;
    let proxy = Proxy::start(host_and_port(&world.test.url()).1);
    let worker = Instance::at(&proxy.in_front_of(&world.test.url()), "");
    let numbers = worker.note_numbers::<Note>();
    let other = world.instance();
    other.enqueue(note(0)).await.unwrap();
    numbers.reach(1).await;
    proxy.set(Mode::Close);
    let many: Vec<_> = (1..100).map(note).collect();
    other.enqueue_all(&many).await;
    let started = Instant::now();
    tokio::time::sleep(Duration::from_secs(1)).await;
    proxy.set(Mode::Pass);
    numbers.reach(100).await;
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    world.drained().await;
}
