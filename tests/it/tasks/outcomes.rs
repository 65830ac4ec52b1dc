//! Whatever a handler does, its task ends where it should, and its neighbours are served.

use std::time::Duration;

use fleet::platform::error::Error;
use fleet::platform::tasks::{Failure, NewTask, Outcome, Running, Selection};

use super::rig::{Letter, Note, Numbers, World, note, park, task};
use crate::support::eventually;

task!(Stubborn, "stubborn", "notes", MAX_ATTEMPTS: i16 = 4);
task!(Slow, "slow", "notes", MAX_ATTEMPTS: i16 = 1, TIME_LIMIT: Duration = Duration::from_millis(50));

fn trouble() -> Error {
    Error::unavailable("some_trouble", "a\0b").with_source("+79990000001")
}

#[actix_web::test]
async fn failures_are_tried_again_with_growing_pauses_until_the_task_is_dead() {
    let world = World::make().await;
    let instance = world.instance_with("backoff_base_ms = 100\nbackoff_max_ms = 150\n");
    let attempts = Numbers::default();
    let noted = attempts.clone();
    instance.tasks.handle(move |running: Running<Stubborn>| {
        noted.push(i64::from(running.attempt));
        async { Err(trouble().into()) }
    });
    let notes = instance.note_numbers::<Note>();
    instance.enqueue(NewTask::new(Stubborn { number: 1 })).await.unwrap();
    // The pause behind each attempt, as it was stored.
    let mut pauses = std::collections::BTreeMap::new();
    let pause = "SELECT attempt, extract(epoch FROM run_at - clock_timestamp())::float8 \
         FROM task_queue.tasks WHERE state = 'scheduled'";
    eventually("it is dead", async || world.stored("dead").await == 1).await;
    assert_eq!(attempts.all(), [1, 2, 3, 4]);
    let dead = instance.list(Selection::default()).await;
    assert_eq!(dead[0].attempt, 4);
    assert_eq!(dead[0].error_code.as_deref(), Some("some_trouble"));
    assert_eq!(dead[0].error.as_deref(), Some("a\u{fffd}b"));
    let counted = |outcome: &str| {
        instance.metric(&format!("task_attempts_total{{kind=\"stubborn\",outcome=\"{outcome}\"}}"))
    };
    eventually("all are counted", async || (counted("failed"), counted("dead")) == (3, 1)).await;
    assert!(!world.test.dump().await.contains("+79990000001"), "the cause is not stored");
    instance.enqueue(note(1)).await.unwrap();
    notes.reach(1).await;

    // The first pause lies between a half of 100 ms and the whole, the second between 75 and 150.
    let patient = world.instance_with("backoff_base_ms = 3600000\nbackoff_max_ms = 7200000\n");
    patient.tasks.handle(|_: Running<Failing>| async { Err(trouble().into()) });
    patient.enqueue(NewTask::new(Failing { number: 1 })).await.unwrap();
    for attempt in 1..=3_i16 {
        eventually("it waits", async || {
            let rows = world.test.query(pause, &[]).await;
            rows.iter().any(|row| row.get::<_, i16>(0) == attempt)
        })
        .await;
        let row = &world.test.query(pause, &[]).await[0];
        pauses.insert(attempt, row.get::<_, f64>(1));
        world
            .test
            .execute("UPDATE task_queue.tasks SET run_at = now() WHERE state = 'scheduled'")
            .await;
    }
    for (attempt, most) in [(1, 3600.0), (2, 7200.0), (3, 7200.0)] {
        let pause = pauses[&attempt];
        assert!(pause <= most && pause > most / 2.0 - 60.0, "{attempt}: {pause} of {most}");
    }
}

task!(Failing, "failing", "failing");

#[actix_web::test]
async fn a_handler_may_name_the_least_pause() {
    let world = World::make().await;
    let instance = world.instance();
    instance.tasks.handle(|_: Running<Note>| async {
        Err(trouble().with_retry_after(Duration::from_hours(1)).into())
    });
    instance.enqueue(note(1)).await.unwrap();
    eventually("it waits", async || world.stored("scheduled").await == 1).await;
    let late = "SELECT count(*) FROM task_queue.tasks WHERE run_at > now() + interval '59 minutes'";
    assert_eq!(world.test.count(late).await, 1);
}

#[actix_web::test]
async fn a_panic_is_a_failure_and_concerns_nobody_else() {
    let world = World::make().await;
    let instance = world.instance_with("threads = 1\nconcurrency = 2\n");
    instance.tasks.handle(|running: Running<Stubborn>| {
        // Half of them before there is a future at all.
        assert!(running.task.number % 2 == 0, "at once");
        async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            panic!("+79990000001");
        }
    });
    let notes = instance.note_numbers::<Note>();
    for number in 0..6 {
        instance.enqueue(NewTask::new(Stubborn { number })).await.unwrap();
        instance.enqueue(note(number)).await.unwrap();
    }
    notes.reach(6).await;
    eventually("all are dead", async || world.stored("dead").await == 6).await;
    for dead in instance.list(Selection::default()).await {
        assert_eq!((dead.attempt, dead.error_code.as_deref()), (4, Some("task_panicked")));
    }
    assert!(!world.test.dump().await.contains("+79990000001"));
}

#[actix_web::test]
async fn an_attempt_that_takes_too_long_is_dropped_and_counts() {
    let world = World::make().await;
    let instance = world.instance();
    instance.tasks.handle(|_: Running<Slow>| async {
        std::future::pending::<()>().await;
        Ok(Outcome::Done)
    });
    instance.enqueue(NewTask::new(Slow { number: 1 })).await.unwrap();
    eventually("it is dead", async || world.stored("dead").await == 1).await;
    let dead = instance.list(Selection::default()).await;
    assert_eq!(dead[0].error_code.as_deref(), Some("task_timed_out"));
}

#[actix_web::test]
async fn a_payload_that_cannot_be_read_is_dead_at_once() {
    let world = World::make().await;
    let instance = world.instance();
    for text in ["fine", "hidden"] {
        instance.enqueue(NewTask::new(Letter { text: text.to_owned() })).await.unwrap();
    }
    let spoil = "UPDATE task_queue.tasks SET payload = '{\"words\": \"+79990000001\"}' \
         WHERE payload ->> 'text' = 'hidden'";
    world.test.execute(spoil).await;
    let numbers = Numbers::default();
    let noted = numbers.clone();
    instance.tasks.handle(move |running: Running<Letter>| {
        noted.push(i64::try_from(running.task.text.len()).unwrap());
        async { Ok(Outcome::Done) }
    });
    numbers.reach(1).await;
    eventually("it is dead", async || world.stored("dead").await == 1).await;
    let dead = &instance.list(Selection::default()).await[0];
    assert_eq!((dead.attempt, dead.error_code.as_deref()), (1, Some("task_unreadable")));
    assert!(!dead.error.as_deref().unwrap_or_default().contains("7999"), "{dead:?}");
}

#[actix_web::test]
async fn what_never_will_pass_is_dead_at_once_and_can_be_run_again() {
    let world = World::make().await;
    let instance = world.instance();
    let attempts = Numbers::default();
    let noted = attempts.clone();
    instance.tasks.handle(move |running: Running<Note>| {
        noted.push(i64::from(running.attempt));
        let first = noted.len() == 1;
        async move { if first { Err(Failure::Dead(trouble())) } else { Ok(Outcome::Done) } }
    });
    let id = instance.enqueue(note(1).unique("key")).await.unwrap();
    eventually("it is dead", async || world.stored("dead").await == 1).await;
    let retry = Selection { ids: vec![id.0], ..Selection::default() };
    assert_eq!(instance.transaction(async |c| retry.retry(c).await).await.unwrap(), 1);
    world.drained().await;
    assert_eq!(attempts.all(), [1, 1]);
    assert_eq!(world.stored("").await, 0);
}

#[actix_web::test]
async fn a_snooze_does_not_count_and_a_slice_goes_to_the_end_of_the_line() {
    let world = World::make().await;
    let instance = world.instance_with("threads = 1\nconcurrency = 1\n");
    let attempts = Numbers::default();
    let noted = attempts.clone();
    instance.tasks.handle(move |running: Running<Stubborn>| {
        noted.push(i64::from(running.attempt));
        let done = noted.len() > 10;
        async move { Ok(if done { Outcome::Done } else { Outcome::Snooze(Duration::ZERO) }) }
    });
    instance.enqueue(NewTask::new(Stubborn { number: 1 })).await.unwrap();
    attempts.reach(11).await;
    world.drained().await;
    assert_eq!(attempts.all(), [1; 11]);

    // Three slices of one park's work, with another park's tasks between them.
    let order = Numbers::default();
    let noted = order.clone();
    instance.tasks.handle(move |running: Running<Note>| {
        let (number, seen) = (running.task.number, noted.all());
        noted.push(number);
        let more = number == 1 && seen.iter().filter(|seen| **seen == 1).count() < 2;
        async move { Ok(if more { Outcome::Continue } else { Outcome::Done }) }
    });
    let in_one = [
        note(1).of_park(&park("a")),
        note(2).of_park(&park("a")),
        note(11).of_park(&park("b")),
        note(12).of_park(&park("b")),
        note(13).of_park(&park("b")),
    ];
    instance.enqueue_all(&in_one).await;
    order.reach(7).await;
    world.drained().await;
    let order = order.all();
    let of_a: Vec<i64> = order.iter().copied().filter(|number| *number < 10).collect();
    assert_eq!(of_a, [1, 2, 1, 1], "{order:?}");
    let of_b: Vec<i64> = order.iter().copied().filter(|number| *number > 10).collect();
    assert_eq!(of_b, [11, 12, 13], "{order:?}");
    let second_slice = order.iter().enumerate().filter(|(_, n)| **n == 1).nth(1).unwrap().0;
    let second_of_b = order.iter().position(|number| *number == 12).unwrap();
    assert!(second_of_b < second_slice, "b was served in between: {order:?}");
}
