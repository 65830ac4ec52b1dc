//! Pages, and how a full read becomes an incremental one.

use serde_json::json;

use super::*;

#[actix_web::test]
async fn an_empty_feed_has_a_cursor_too() {
    let world = World::start().await;
    for feed in [BINDINGS, STATUSES] {
        let page = world.page(feed, None, 10).await;
        assert_eq!((page.items.len(), page.has_more), (0, false));
        let again = world.page(feed, Some(&page.cursor), 10).await;
        assert_eq!((again.items.len(), again.has_more), (0, false));
    }
}

#[actix_web::test]
async fn a_full_read_goes_on_as_an_incremental_one() {
    let world = World::start().await;
    world.fill(2_500).await;
    let mut cache = Cache::default();
    assert!(cache.poll(&world.caller, BINDINGS, 1_000).await);
    assert_eq!(cache.items.len(), 1_000);
    // Of what was read, and of what was not.
    world
        .database()
        .execute(
            "WITH feed AS (UPDATE deptrans.feeds SET last_seq = last_seq + 2 \
               WHERE name = 'bindings' RETURNING last_seq - 2 AS base) \
             UPDATE deptrans.profiles SET seq = base + CASE seq WHEN 5 THEN 1 ELSE 2 END, \
               updated_at = clock_timestamp(), deptrans_id = ('new-' || seq)::bytea FROM feed \
             WHERE seq IN (5, 2000)",
        )
        .await;
    while cache.poll(&world.caller, BINDINGS, 1_000).await {}
    assert_eq!(cache.items.len(), 2_500);
    assert_eq!(cache.items["license-5"]["deptrans_id"], "new-5");
    assert_eq!(cache.items["license-2000"]["deptrans_id"], "new-2000");
    let client = world.database().connect().await;
    assert_eq!(cache.bound(), bound(&client).await);
}

#[actix_web::test]
async fn a_page_is_as_long_as_was_asked_for() {
    let world = World::start().await;
    world.fill(10_500).await;
    for (limit, found) in [(1, 1), (999, 999), (1_000, 1_000), (1_001, 1_001), (10_000, 10_000)] {
        let page = world.page(BINDINGS, None, limit).await;
        assert_eq!((page.items.len(), page.has_more), (found, true), "limit {limit}");
        let next = world.page(BINDINGS, Some(&page.cursor), 10_000).await;
        assert_eq!(next.items.len(), (10_500 - found).min(10_000), "limit {limit}");
        assert_ne!(next.licenses().first(), page.licenses().last());
    }
    let default = Page::parse(&world.caller.get(BINDINGS).await.expect(200));
    assert_eq!(default.items.len(), 1_000);
    let page = world.page(BINDINGS, Some(&default.cursor), 9_500).await;
    assert_eq!((page.items.len(), page.has_more), (9_500, false), "it ends with the feed");
}

#[actix_web::test]
async fn items_are_as_their_readers_know_them() {
    let world = World::start().await;
    world.fill(2).await;
    world
        .database()
        .execute(
            "UPDATE deptrans.feeds SET last_seq = 2 WHERE name = 'statuses'; \
             INSERT INTO deptrans.session_statuses \
               (seq, updated_at, ended_at, occurred_at, driver_license_pd_id, session_status) VALUES \
             (1, '2026-11-20T10:00:00Z', '2026-11-20T20:30:00.5Z', now(), 'license-1', 'active'), \
             (2, '2026-11-20T10:00:01Z', NULL, now(), \
              '\\x020123456789ab4def8123456789abcdef', NULL)",
        )
        .await;
    let page = world.page(BINDINGS, None, 1).await;
    let mut item = page.items[0].clone();
    let at = item["updated_at"].take();
    assert!(at.as_str().unwrap().parse::<jiff::Timestamp>().is_ok() && page.lag_ms < 60_000);
    assert_eq!(
        item,
        json!({"driver_license_pd_id": "license-1", "deptrans_id": "id-1", "is_deleted": false,
            "updated_at": null, "profiles": []})
    );
    let page = world.page(STATUSES, None, 10).await;
    assert_eq!(
        page.items,
        [
            json!({"driver_license_pd_id": "license-1", "session_status": "active",
                "ended_at": "2026-11-20T20:30:00.5Z", "is_deleted": false,
                "updated_at": "2026-11-20T10:00:00Z", "profiles": []}),
            json!({"driver_license_pd_id": "01234567-89ab-4def-8123-456789abcdef",
                "session_status": null, "is_deleted": true,
                "updated_at": "2026-11-20T10:00:01Z", "profiles": []}),
        ]
    );
    let behind = world.page(STATUSES, None, 1).await;
    assert!(behind.has_more && behind.lag_ms > 1_000_000, "old changes are missing behind it");
}
