//! What is enqueued is there when the transaction commits, as it was asked for, and not else.

use fleet::platform::database::Connection;
use fleet::platform::error::{Error, Result};
use fleet::platform::tasks::{NewTask, Priority, Selection};
use jiff::{SignedDuration, Timestamp};

use super::rig::{Letter, Note, Other, World, context, note, park};
use crate::support::eventually;

#[actix_web::test]
async fn a_rolled_back_transaction_leaves_no_task() {
    let world = World::make().await;
    let instance = world.instance();
    let rolled_back: Result<()> = instance
        .transaction(async |connection: &mut Connection| {
            let made = instance.tasks.enqueue(connection, &context(), note(1)).await?;
            assert!(made.is_some());
            Err(Error::not_found("test", "rolled back"))
        })
        .await;
    assert_eq!(rolled_back.unwrap_err().code(), "test");
    assert_eq!(world.stored("").await, 0);
    instance.enqueue(note(2)).await.unwrap();
    let numbers = instance.note_numbers::<Note>();
    numbers.reach(1).await;
    world.drained().await;
    assert_eq!(numbers.all(), [2]);
}

#[actix_web::test]
async fn a_unique_key_is_taken_until_its_task_is_done() {
    let world = World::make().await;
    let instance = world.instance();
    let keyed = |number, key: &str| note(number).unique(key);
    assert!(instance.enqueue(keyed(1, "a")).await.is_some());
    assert!(instance.enqueue(keyed(2, "a")).await.is_none());
    assert!(instance.enqueue(keyed(3, "b")).await.is_some());
    // Within one statement too, and the others of it are kept.
    let many = [keyed(4, "b"), keyed(5, "c"), keyed(6, "c"), note(7), note(8)];
    assert_eq!(instance.enqueue_all(&many).await, 3);
    // Another kind has keys of its own.
    let other = NewTask::new(Other { number: 9 }).unique("a");
    assert!(instance.enqueue(other).await.is_some());

    let (notes, others) = (instance.note_numbers::<Note>(), instance.note_numbers::<Other>());
    world.drained().await;
    let mut done = notes.all();
    done.sort_unstable();
    assert_eq!(done, [1, 3, 5, 7, 8]);
    assert_eq!(others.all(), [9]);
    assert!(instance.enqueue(keyed(10, "a")).await.is_some(), "the key is free again");
    notes.reach(6).await;
}

#[actix_web::test]
async fn two_transactions_with_one_key_make_one_task() {
    let world = World::make().await;
    let instances = [world.instance(), world.instance()];
    let both = instances.iter().map(async |instance| {
        let many: Vec<_> = (0..200).map(|n| note(n).unique(format!("key {n}"))).collect();
        instance.enqueue_all(&many).await
    });
    let made: usize = futures_util::future::join_all(both).await.into_iter().sum();
    assert_eq!(made, 200);
    assert_eq!(world.stored("ready").await, 200);
}

#[actix_web::test]
async fn a_task_runs_when_its_time_has_come() {
    let world = World::make().await;
    let instance = world.instance();
    let numbers = instance.note_numbers::<Note>();
    let later = |seconds| Timestamp::now() + SignedDuration::from_secs(seconds);
    instance.enqueue(note(1).run_at(later(3600))).await.unwrap();
    instance.enqueue(note(2).run_at(later(3600))).await.unwrap();
    instance.enqueue(note(3).run_at(later(-3600))).await.unwrap();
    numbers.reach(1).await;
    assert_eq!(numbers.all(), [3]);
    let soon = "UPDATE task_queue.tasks SET run_at = clock_timestamp() + interval '1 second' \
         WHERE payload ->> 'number' = '2'";
    world.test.execute(soon).await;
    numbers.reach(2).await;
    assert_eq!(numbers.all(), [3, 2]);
    let early =
        "SELECT count(*) FROM task_queue.tasks WHERE state = 'scheduled' AND run_at > now()";
    assert_eq!(world.test.count(early).await, 1);
    // When its hour comes, it runs.
    world.test.execute("UPDATE task_queue.tasks SET run_at = now()").await;
    numbers.reach(3).await;
}

#[actix_web::test]
async fn higher_priorities_go_first() {
    let world = World::make().await;
    let instance = world.instance_with("threads = 1\nconcurrency = 1\n");
    let priorities = [Priority::Low, Priority::Normal, Priority::High];
    for (number, priority) in (0..).zip(priorities.into_iter().cycle().take(9)) {
        instance.enqueue(note(number).priority(priority)).await.unwrap();
    }
    let numbers = instance.note_numbers::<Note>();
    numbers.reach(9).await;
    assert_eq!(numbers.all(), [2, 5, 8, 1, 4, 7, 0, 3, 6]);
}

#[actix_web::test]
async fn what_one_park_enqueues_keeps_its_order() {
    let world = World::make().await;
    let instance = world.instance_with("threads = 1\nconcurrency = 1\n");
    let own = |number| note(number).of_park(&park("a"));
    instance.enqueue_all(&(0..50).map(own).collect::<Vec<_>>()).await;
    instance.enqueue(own(50)).await.unwrap();
    instance.enqueue_all(&(51..100).map(own).collect::<Vec<_>>()).await;
    let numbers = instance.note_numbers::<Note>();
    numbers.reach(100).await;
    assert_eq!(numbers.all(), (0..100).collect::<Vec<_>>());
}

#[actix_web::test]
async fn only_kinds_with_a_handler_are_claimed() {
    let world = World::make().await;
    let (first, second) = (world.instance(), world.instance());
    let mixed: Vec<_> = (0..20).map(|number| NewTask::new(Other { number })).collect();
    first.enqueue_all(&mixed).await;
    let notes = first.note_numbers::<Note>();
    first.enqueue_all(&(100..120).map(note).collect::<Vec<_>>()).await;
    notes.reach(20).await;
    eventually("the others wait", async || world.stored("").await == 20).await;
    let waiting = first.list(Selection::default()).await;
    assert!(waiting.iter().all(|task| task.kind == "other" && task.attempt == 0), "{waiting:?}");
    // Another process knows them.
    let others = second.note_numbers::<Other>();
    others.reach(20).await;
    world.drained().await;
}

#[actix_web::test]
async fn a_kind_that_is_registered_later_is_claimed_from_then_on() {
    let world = World::make().await;
    let instance = world.instance();
    let notes = instance.note_numbers::<Note>();
    instance.enqueue(NewTask::new(Other { number: 1 })).await.unwrap();
    for number in 0..20 {
        instance.enqueue(note(number)).await.unwrap();
        notes.reach(usize::try_from(number).unwrap() + 1).await;
    }
    instance.note_numbers::<Other>().reach(1).await;
}

#[actix_web::test]
async fn what_jsonb_cannot_hold_is_refused_before_it_breaks_the_transaction() {
    let world = World::make().await;
    let instance = world.instance();
    let letter = |text: String| NewTask::new(Letter { text });
    instance
        .transaction(async |connection: &mut Connection| {
            for text in ["a\0b".to_owned(), "x".repeat(100_000)] {
                let refused =
                    instance.tasks.enqueue(connection, &context(), letter(text)).await.unwrap_err();
                assert_eq!(refused.code(), "task_not_storable");
            }
            let fine = letter("a\\u0000b".to_owned());
            instance.tasks.enqueue(connection, &context(), fine).await
        })
        .await
        .unwrap();
    assert_eq!(world.stored("ready").await, 1);
}
