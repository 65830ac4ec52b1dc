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
