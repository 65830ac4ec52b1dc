//! Empty polls: what they cost, and what they notice.

use super::*;
use crate::support::eventually;

/// A cursor at the end of a feed, once the process knows that it is the end.
async fn cursor_at_end(world: &World, feed: &str) -> String {
    let cursor = world.read(feed, None).await.cursor.expect("a cursor");
    let kind =
        feed.split('/').next().map(|kind| if kind == "id" { "bindings" } else { "statuses" });
    let series = format!("deptrans_feed_polls_total{{feed=\"{}\",kind=\"empty\"}}", kind.unwrap());
    eventually("a poll is empty", async || {
        world.page(feed, Some(&cursor), 10).await;
        world.app.count(&series).await > 0
    })
    .await;
    cursor
}

#[actix_web::test]
async fn an_empty_poll_asks_no_table_and_takes_no_connection() {
    // Looks are late on a busy machine.
    let long = "[deptrans_driver_status_integration.feeds]\nfresh_ms = 30000\n";
    let world = World::with(long).await;
    world.fill(10).await;
    let cursors = [
        (BINDINGS, cursor_at_end(&world, BINDINGS).await),
        (STATUSES, cursor_at_end(&world, STATUSES).await),
    ];
    // Whoever asks for these tables now fails.
    let hide = "ALTER TABLE deptrans.profiles RENAME TO hidden_profiles; \
         ALTER TABLE deptrans.session_statuses RENAME TO hidden_statuses";
    world.database().execute(hide).await;
    world.caller.get(&path(BINDINGS, None, 1)).await.problem(500, "internal");
    for (feed, cursor) in &cursors {
        eventually("this process knows the feed's head", async || {
            world.caller.get(&path(feed, Some(cursor), 10_000)).await.status == 200
        })
        .await;
    }
    let taken = async || world.app.count("database_pool_acquire_seconds_count").await;
    let (before, started) = (taken().await, std::time::Instant::now());
    for _ in 0..300 {
        for (feed, cursor) in &cursors {
            let page = world.page(feed, Some(cursor), 10_000).await;
            assert_eq!((page.items.len(), page.has_more), (0, false));
            assert!((0..=30_000).contains(&page.lag_ms), "{}", page.lag_ms);
        }
    }
    // Looks at the heads, readiness and maintenance go on beside.
    let (taken, others) = (taken().await - before, 60 + 15 * started.elapsed().as_secs());
    assert!(taken < others, "600 polls took {taken} connections in {:?}", started.elapsed());
}

#[actix_web::test]
async fn a_change_that_nobody_was_told_of_comes_with_the_next_look() {
    let world = World::start().await;
    world.fill(10).await;
    let cursor = cursor_at_end(&world, BINDINGS).await;
    // Without a notification.
    world
        .database()
        .execute(
            "WITH feed AS (UPDATE deptrans.feeds SET last_seq = last_seq + 1 \
               WHERE name = 'bindings' RETURNING last_seq) \
             UPDATE deptrans.profiles SET seq = last_seq, deptrans_id = 'untold' FROM feed \
             WHERE seq = 4",
        )
        .await;
    eventually("it comes", async || {
        let page = world.page(BINDINGS, Some(&cursor), 10).await;
        page.items.iter().any(|item| item["deptrans_id"] == "untold")
    })
    .await;
}

#[actix_web::test]
async fn a_change_that_was_told_comes_long_before_the_next_look() {
    let slow = "[deptrans_driver_status_integration.feeds]\nlook_ms = 10000\nfresh_ms = 30000\n";
    let world = World::with(slow).await;
    world.fill(10).await;
    let cursor = cursor_at_end(&world, BINDINGS).await;
    world.change("license-4", "told").await;
    let started = std::time::Instant::now();
    eventually("it comes", async || world.page(BINDINGS, Some(&cursor), 10).await.items.len() == 1)
        .await;
    let looks = world.app.count("database_pool_acquire_seconds_count").await;
    assert!(looks > 0 && started.elapsed().as_secs() < 8, "not by a look");
}

#[actix_web::test]
async fn polls_are_counted_by_kind() {
    let world = World::start().await;
    world.fill(30).await;
    let count = async |kind: &str| {
        let series = format!("deptrans_feed_polls_total{{feed=\"bindings\",kind=\"{kind}\"}}");
        world.app.count(&series).await
    };
    let mut cache = Cache::default();
    while cache.poll(&world.caller, BINDINGS, 10).await {}
    let full = count("full").await;
    assert!((3..=4).contains(&full), "{full}");
    let cursor = cursor_at_end(&world, BINDINGS).await;
    let waited = world.app.count("deptrans_feed_lag_seconds_count{feed=\"bindings\"}").await;
    assert_eq!((count("incremental").await, waited), (0, 0));
    world.change("license-7", "changed").await;
    eventually("it comes", async || world.page(BINDINGS, Some(&cursor), 10).await.items.len() == 1)
        .await;
    let waited = world.app.count("deptrans_feed_lag_seconds_count{feed=\"bindings\"}").await;
    assert_eq!((count("incremental").await, waited), (1, 1));
}
