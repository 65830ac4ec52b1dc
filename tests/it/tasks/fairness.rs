//! A park that comes with many tasks does not hold up one that comes with few.

use fleet::platform::tasks::NewTask;

use super::rig::{Note, World, note, park};
use crate::support::eventually;

/// Tasks number 0 to 999 are park a's, from 10000 on park b's, from 20000 on nobody's.
fn own(name: &str, number: i64) -> NewTask<Note> {
    note(number).of_park(&park(name))
}

#[actix_web::test]
async fn twenty_tasks_are_served_between_a_thousand() {
    let world = World::make().await;
    let instance = world.instance_with("threads = 1\nconcurrency = 1\n");
    let many: Vec<_> = (0..1000).map(|number| own("a", number)).collect();
    assert_eq!(instance.enqueue_all(&many).await, 1000);
    // One by one, in one statement, and of no park.
    for number in 10_000..10_010 {
        instance.enqueue(own("b", number)).await.unwrap();
    }
    let few: Vec<_> = (10_010..10_020).map(|number| own("b", number)).collect();
    instance.enqueue_all(&few).await;
    instance.enqueue_all(&(20_000..20_020).map(note).collect::<Vec<_>>()).await;
    let numbers = instance.note_numbers::<Note>();
    numbers.reach(1040).await;
    let order = numbers.all();
    for of_few in [10_000..20_000, 20_000..30_000] {
        let last = order.iter().rposition(|number| of_few.contains(number)).unwrap();
        assert!(last < 100, "the last of {of_few:?} came as number {last}");
    }
    let of_a: Vec<i64> = order.iter().copied().filter(|number| *number < 10_000).collect();
    assert_eq!(of_a, (0..1000).collect::<Vec<_>>(), "a park's own keep their order");
}

#[actix_web::test]
async fn who_comes_while_others_are_served_is_served_soon() {
    let world = World::make().await;
    let instance = world.instance_with("threads = 1\nconcurrency = 4\n");
    let many: Vec<_> = (0..1000).map(|number| own("a", number)).collect();
    instance.enqueue_all(&many).await;
    let (gate, begun, done) = instance.note_numbers_behind_a_gate::<Note>(300);
    // All four places are taken: nothing is claimed, and the queue's front stands still.
    begun.reach(304).await;
    // From another process, which knows nothing of the queue so far.
    let other = world.instance();
    let few: Vec<_> = (10_000..10_020).map(|number| own("b", number)).collect();
    other.enqueue_all(&few).await;
    gate.close();
    done.reach(1020).await;
    let order = done.all();
    let last = order.iter().rposition(|number| *number >= 10_000).unwrap();
    assert!(last < 400, "the last came as number {last}");
}

#[actix_web::test]
async fn tasks_that_were_scheduled_or_failed_get_in_line_fairly() {
    let world = World::make().await;
    let instance = world.instance_with("threads = 1\nconcurrency = 1\n");
    let late = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    let many: Vec<_> = (0..1500).map(|number| own("a", number).run_at(late)).collect();
    let few: Vec<_> = (10_000..10_020).map(|number| own("b", number).run_at(late)).collect();
    instance.enqueue_all(&many).await;
    instance.enqueue_all(&few).await;
    world.test.execute("UPDATE task_queue.tasks SET run_at = now()").await;
    let (gate, _, done) = instance.note_numbers_behind_a_gate::<Note>(0);
    eventually("all were let in", async || world.stored("scheduled").await == 0).await;
    gate.close();
    done.reach(1520).await;
    let order = done.all();
    let last = order.iter().rposition(|number| *number >= 10_000).unwrap();
    assert!(last < 100, "the last of the few came as number {last}");
}
