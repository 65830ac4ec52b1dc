//! A long transaction keeps dead rows and index entries from being removed. Claims must not pass
//! over all of them: buffers are counted, as time says little on a busy machine.

use super::rig::{Note, World, note};
use super::wake_ups::sessions_end;

/// Buffers that the sessions of this database have touched, as far as they have told; they tell at
/// their end.
const TOUCHED: &str = "SELECT sum(heap_blks_hit + heap_blks_read + idx_blks_hit + idx_blks_read)::bigint \
     FROM pg_statio_user_tables WHERE schemaname = 'task_queue'";
/// How many buffers a look from the very start touches.
const FROM_THE_START: &str = "EXPLAIN (ANALYZE, BUFFERS) SELECT tag FROM task_queue.tasks \
     WHERE state = 'ready' AND queue = 'notes' AND priority = 1 AND kind = 'note' \
     ORDER BY queue, priority, tag LIMIT 1";

#[actix_web::test]
async fn claims_touch_few_buffers_while_the_vacuum_horizon_is_held() {
    const TASKS: i64 = 10_000;
    const MORE: i64 = 1_000;
    let world = World::make().await;
    world.test.execute("ALTER TABLE task_queue.tasks SET (autovacuum_enabled = off)").await;
    let holder = world.test.connect().await;
    let hold = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM task_queue.tasks";
    holder.batch_execute(hold).await.unwrap();

    let instance = world.instance_with("threads = 1\nconcurrency = 64\n");
    let numbers = instance.note_numbers::<Note>();
    instance.enqueue_all(&(0..TASKS).map(note).collect::<Vec<_>>()).await;
    numbers.reach(usize::try_from(TASKS).unwrap()).await;
    world.drained().await;
    let naive = buffers_from_the_start(&world).await;
    assert!(naive > 200, "the horizon is not held: {naive}");

    let touched = async || {
        sessions_end(&world).await;
        world.test.count(TOUCHED).await
    };
    instance.stop().await;
    drop(instance);
    let before = touched().await;

    // An instance that is new to all this, with plans made of statistics that say "nothing runs".
    world.test.execute("ANALYZE task_queue.tasks").await;
    let instance = world.instance_with("threads = 1\nconcurrency = 64\n");
    let numbers = instance.note_numbers::<Note>();
    for number in 0..MORE {
        instance.enqueue(note(number)).await.unwrap();
        numbers.reach(usize::try_from(number).unwrap() + 1).await;
    }
    world.drained().await;
    instance.stop().await;
    drop(instance);
    let each = (touched().await - before) / MORE;
    assert!(each < naive / 2, "{each} buffers a task; a look from the start touches {naive}");
    holder.batch_execute("COMMIT").await.unwrap();
}

async fn buffers_from_the_start(world: &World) -> i64 {
    let plan = world.test.query(FROM_THE_START, &[]).await;
    let told =
        plan.iter().map(|row| row.get::<_, String>(0)).find(|line| line.contains("Buffers:"));
    let told = told.expect("buffers");
    let number = |word: &str| {
        let (_, rest) = told.split_once(word)?;
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<i64>().ok()
    };
    number("hit=").unwrap_or_default() + number("read=").unwrap_or_default()
}
