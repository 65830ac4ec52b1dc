//! Removed items, and what happens when they are forgotten.

use super::*;
use crate::support::eventually;

#[actix_web::test]
async fn a_removed_binding_appears_as_a_deletion_with_the_state_of_its_shift() {
    let world = World::start().await;
    world.fill(3).await;
    world
        .database()
        .execute(
            "UPDATE deptrans.feeds SET last_seq = 1 WHERE name = 'statuses'; \
             INSERT INTO deptrans.session_statuses \
               (seq, updated_at, ended_at, occurred_at, driver_license_pd_id, session_status) \
             VALUES (1, now(), now(), now(), 'license-2', 'resting')",
        )
        .await;
    let bindings = world.read(BINDINGS, None).await.cursor;
    let statuses = world.read(STATUSES, None).await.cursor;
    assert_eq!(world.caller.delete("id/license-2").await.status, 204);
    for (feed, cursor, member) in
        [(BINDINGS, &bindings, "deptrans_id"), (STATUSES, &statuses, "session_status")]
    {
        let page = async || world.page(feed, cursor.as_deref(), 10).await;
        eventually("it comes", async || !page().await.items.is_empty()).await;
        let item = &page().await.items[0];
        assert_eq!(item["driver_license_pd_id"], "license-2");
        assert!(item["is_deleted"] == true && item[member].is_null(), "{item}");
        assert!(item["ended_at"].is_null(), "{item}");
    }
    // Again, and of what never was: nothing more changes.
    let numbers = "SELECT sum(last_seq)::bigint FROM deptrans.feeds";
    let before = world.database().count(numbers).await;
    for license in ["license-2", "nobody"] {
        assert_eq!(world.caller.delete(&format!("id/{license}")).await.status, 204);
    }
    assert_eq!(world.database().count(numbers).await, before);
}

/// Tombstones that are a day old are forgotten at once.
const HASTY: &str =
    "[deptrans_driver_status_integration.feeds]\nclean_ms = 100\ntombstone_days = 1\n";

#[actix_web::test]
async fn a_poller_from_before_a_forgotten_tombstone_begins_anew() {
    let world = World::with(HASTY).await;
    world.fill(20).await;
    let before = world.page(BINDINGS, None, 10_000).await.cursor;
    // One of a full read that has not come to the end, and does not know what was there before.
    for license in ["license-3", "license-4", "license-5"] {
        assert_eq!(world.caller.delete(&format!("id/{license}")).await.status, 204);
    }
    let halfway = world.page(BINDINGS, None, 5).await.cursor;
    let after_two = world.page(BINDINGS, Some(&before), 2).await.cursor;
    let after_all = world.page(BINDINGS, Some(&before), 10).await;
    assert_eq!(after_all.items.len(), 3);
    let age = "UPDATE deptrans.profiles SET updated_at = now() - interval '2 days' \
         WHERE deptrans_id IS NULL AND driver_license_pd_id <> 'license-5'";
    world.database().execute(age).await;
    let left = "SELECT count(*) FROM deptrans.profiles WHERE deptrans_id IS NULL";
    eventually("they are forgotten", async || world.database().count(left).await == 1).await;
    let ask = async |cursor: &str| world.caller.get(&path(BINDINGS, Some(cursor), 100)).await;
    ask(&before).await.problem(410, "cursor_expired");
    assert_eq!(Page::parse(&ask(&after_two).await.expect(200)).licenses(), ["license-5"]);
    assert!(Page::parse(&ask(&after_all.cursor).await.expect(200)).items.is_empty());
    // The full read began after the removals: there is nothing that it has to unlearn.
    let rest = Page::parse(&ask(&halfway).await.expect(200));
    assert_eq!((rest.items.len(), rest.has_more), (13, false));
    let forgotten = "fleet_cleaning_rows_total{what=\"deptrans.binding_tombstones\"}";
    eventually("they are counted", async || world.app.count(forgotten).await == 2).await;
    // A full read of today, page by page over the forgotten numbers.
    let mut cache = Cache::default();
    while cache.poll(&world.caller, BINDINGS, 3).await {}
    let client = world.database().connect().await;
    assert_eq!(cache.bound(), bound(&client).await);
}

#[actix_web::test]
async fn an_item_that_came_back_is_not_forgotten() {
    let world = World::with(HASTY).await;
    world.fill(5).await;
    let cursor = world.read(BINDINGS, None).await.cursor.unwrap();
    world.caller.delete("id/license-1").await;
    world.change("license-1", "another").await;
    world.caller.delete("id/license-2").await;
    let age = "UPDATE deptrans.profiles SET updated_at = now() - interval '2 days'";
    world.database().execute(age).await;
    let all = "SELECT count(*) FROM deptrans.profiles";
    eventually("the other is forgotten", async || world.database().count(all).await == 4).await;
    let reply = world.caller.get(&path(BINDINGS, Some(&cursor), 10)).await;
    reply.problem(410, "cursor_expired");
    assert_eq!(world.read(BINDINGS, None).await.items["license-1"]["deptrans_id"], "another");
}
