//! Upserts that run at the same time as an erasure: each is erased too, or is newer than it.

use std::cell::Cell;

use super::*;

/// Records that were there at the moment of the erasure or tell of an order before it, after all
/// erasures are completed.
const SURVIVORS: &str = "SELECT count(*) FROM fleet_customers.customers c WHERE c.first_order_at <= \
     (SELECT max(erased_at) FROM fleet_customers.erasures)";

#[actix_web::test]
async fn an_erasure_waits_for_an_upsert_under_way_and_erases_what_it_wrote() {
    let customers = Customers::with(HASTY).await;
    let database = customers.app.database();
    let id = phone_id(1);
    // The upsert has written its customer, not committed, and waits to store its answer.
    let mut holder = database.connect().await;
    let hold = holder.transaction().await.unwrap();
    hold.batch_execute("LOCK TABLE fleet_platform.idempotency_keys IN SHARE MODE").await.unwrap();
    let keyed = customers.internal.header("Idempotency-Key", "k");
    let upsert = keyed.post("customers/upsert", old_order(PARK, &id));
    let meanwhile = async {
        let waits = |statement: &'static str| async move {
            let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                 AND wait_event_type = 'Lock' AND query LIKE $1";
            let rows = database.query(sql, &[&statement]).await;
            rows[0].get::<_, i64>(0) > 0
        };
        eventually("the upsert waits", || waits("INSERT INTO fleet_platform%")).await;
        customers.erase("request-1", &[&id]).await;
        eventually("the erasure waits for it", || waits("LOCK TABLE fleet_customers.tombstones%"))
            .await;
        let moments = "SELECT count(erased_at) FROM fleet_customers.erasures";
        assert_eq!(database.count(moments).await, 0, "it has no moment yet");
        hold.commit().await.unwrap();
    };
    let (reply, ()) = futures_util::join!(upsert, meanwhile);
    reply.expect(200);
    assert_counts(&customers.completed("request-1").await, [1, 0, 0, 1, 0]);
    assert!(!customers.is_known(PARK, &id).await);
}

#[actix_web::test]
async fn an_upsert_that_begins_while_tombstones_are_set_sees_them() {
    let customers = Customers::with(HASTY).await;
    let database = customers.app.database();
    let id = phone_id(1);
    // What the erasure does, held open between its lock and its commit.
    let mut eraser = database.connect().await;
    let set = eraser.transaction().await.unwrap();
    set.batch_execute("LOCK TABLE fleet_customers.tombstones IN EXCLUSIVE MODE").await.unwrap();
    let keyed = customers.internal.header("Idempotency-Key", "k");
    let upsert = keyed.post("customers/upsert", old_order(PARK, &id));
    let meanwhile = async {
        eventually("the upsert waits", async || {
            let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                 AND wait_event_type = 'Lock' AND query LIKE 'INSERT INTO fleet_customers.customers%'";
            database.count(waiting).await == 1
        })
        .await;
        let tombstone = format!(
            "INSERT INTO fleet_customers.tombstones \
             VALUES (fleet_customers.tombstone_of(decode('01{id}', 'hex')), now())"
        );
        set.batch_execute(&tombstone).await.unwrap();
        set.commit().await.unwrap();
    };
    let (reply, ()) = futures_util::join!(upsert, meanwhile);
    reply.problem(409, "customer_erased");
    assert!(!customers.is_known(PARK, &id).await);
}

#[actix_web::test]
async fn of_many_upserts_beside_erasures_none_survives_that_is_older() {
    let customers = Customers::with(HASTY).await;
    let ids: Vec<String> = (0..8).map(phone_id).collect();
    let stop = Cell::new(false);
    let (stored, refused) = (Cell::new(0), Cell::new(0));
    let upserting = join_all((0..24).map(|number| {
        let (customers, ids, stop) = (&customers, &ids, &stop);
        let (stored, refused) = (&stored, &refused);
        async move {
            let mut turn = number;
            while !stop.get() {
                turn += 1;
                let park = ["park-1", "park-2", "park-3"][turn % 3];
                let id = &ids[turn % ids.len()];
                // A clock's order, a late one, and one under a key.
                let order = if turn % 2 == 0 { new_order(park, id) } else { old_order(park, id) };
                let caller = if turn % 5 == 0 {
                    let key = format!("{number}-{turn}");
                    customers.internal.header("Idempotency-Key", &key)
                } else {
                    customers.internal.clone()
                };
                let reply = caller.post("customers/upsert", order).await;
                match reply.status {
                    200 => stored.set(stored.get() + 1),
                    // Held up too long behind other locks: the caller comes again.
                    503 => {}
                    _ => {
                        reply.problem(409, "customer_erased");
                        refused.set(refused.get() + 1);
                    }
                }
            }
        }
    }));
    let all: Vec<&str> = ids.iter().map(String::as_str).collect();
    let erasing = async {
        for round in 0..5 {
            let request = format!("request-{round}");
            let before = stored.get();
            eventually("orders are stored", async || stored.get() > before + 20).await;
            customers.erase(&request, &all).await;
            customers.completed(&request).await;
            assert_eq!(customers.app.database().count(SURVIVORS).await, 0, "round {round}");
        }
        stop.set(true);
    };
    futures_util::join!(upserting, erasing);
    assert!(refused.get() > 0, "late events were refused");
    assert_eq!(customers.app.database().count(SURVIVORS).await, 0);
    let alive = "SELECT count(*) FROM task_queue.tasks WHERE kind = 'fleet_customers.erase'";
    assert_eq!(customers.app.database().count(alive).await, 0);
}
