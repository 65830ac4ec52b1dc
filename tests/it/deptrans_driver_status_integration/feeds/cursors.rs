//! Cursors that are none, and other bad queries.

use super::*;

#[actix_web::test]
async fn only_a_feeds_own_cursor_is_read() {
    let world = World::start().await;
    let of_bindings = world.page(BINDINGS, None, 1).await.cursor;
    let of_statuses = world.page(STATUSES, None, 1).await.cursor;
    for (feed, cursor) in [
        (STATUSES, of_bindings.as_str()),
        (BINDINGS, of_statuses.as_str()),
        (BINDINGS, "abc"),
        (BINDINGS, "%20"),
        (BINDINGS, "0"),
        (BINDINGS, &"a".repeat(2_000)),
        (BINDINGS, &of_bindings[..of_bindings.len() - 1]),
    ] {
        let reply = world.caller.get(&path(feed, Some(cursor), 1)).await;
        reply.problem(400, "invalid_cursor");
    }
}

#[actix_web::test]
async fn a_cursor_that_is_ahead_of_the_database_is_expired() {
    let world = World::start().await;
    world.fill(5).await;
    let cursor = world.read(BINDINGS, None).await.cursor.unwrap();
    world
        .database()
        .execute(
            "DELETE FROM deptrans.profiles WHERE seq > 3; \
             UPDATE deptrans.feeds SET last_seq = 3 WHERE name = 'bindings'",
        )
        .await;
    crate::support::eventually("the older copy is noticed", async || {
        world.caller.get(&path(BINDINGS, Some(&cursor), 1)).await.status == 410
    })
    .await;
    let reply = world.caller.get(&path(BINDINGS, Some(&cursor), 1)).await;
    reply.problem(410, "cursor_expired");
    assert_eq!(world.read(BINDINGS, None).await.items.len(), 3);
}

#[actix_web::test]
async fn bad_queries_are_refused() {
    let world = World::start().await;
    for (query, code) in [
        ("limit=0", "invalid_limit"),
        ("limit=10001", "invalid_limit"),
        ("limit=-1", "invalid_query"),
        ("limit=x", "invalid_query"),
        ("other=1", "invalid_query"),
        ("cursor=", "invalid_cursor"),
    ] {
        for feed in [BINDINGS, STATUSES] {
            world.caller.get(&format!("{feed}?{query}")).await.problem(400, code);
        }
    }
}

#[actix_web::test]
async fn after_a_restore_all_pollers_can_be_told_to_begin_anew() {
    let world = World::start().await;
    world.fill(5).await;
    let old = world.page(BINDINGS, None, 2).await.cursor;
    let end = world.read(BINDINGS, None).await.cursor.unwrap();
    // As docs/operations.md says.
    let expire = "UPDATE deptrans.feeds SET last_seq = last_seq + 1000000000, \
         forgotten_seq = last_seq + 1000000000";
    world.database().execute(expire).await;
    crate::support::eventually("it is noticed", async || {
        world.caller.get(&path(BINDINGS, Some(&end), 10)).await.status == 410
    })
    .await;
    world.caller.get(&path(BINDINGS, Some(&old), 10)).await.problem(410, "cursor_expired");
    let again = world.read(BINDINGS, None).await;
    assert_eq!(again.items.len(), 5);
    world.change("license-1", "after").await;
    let cursor = again.cursor.unwrap();
    crate::support::eventually("a change comes", async || {
        world.page(BINDINGS, Some(&cursor), 10).await.items.len() == 1
    })
    .await;
}
