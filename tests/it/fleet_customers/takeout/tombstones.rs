//! Late events recreate nothing; later orders make a fresh record; tombstones go in the end.

use super::*;

/// A server on which a person was erased, with its phone id.
async fn erased() -> (Customers, String) {
    let customers = Customers::start().await;
    let id = customers.order(PARK, PHONE).await;
    customers.erase("request-1", &[&id]).await;
    customers.completed("request-1").await;
    (customers, id)
}

/// How a late event may come: down each way to the database, by phone and by id.
fn late_events(customers: &Customers, id: &str) -> Vec<(Caller, Value)> {
    let keyed = |key| customers.internal.header("Idempotency-Key", key);
    let by_id = |park: &str| old_order(park, id);
    let by_phone = |park: &str| json!({"park_id": park, "phone": PHONE, "ordered_at": "2026-05-01T12:00:00Z", "name": NAME});
    vec![
        (customers.internal.clone(), by_id(PARK)),
        (customers.internal.clone(), by_phone(PARK)),
        (customers.internal.clone(), by_id("a-park-that-never-knew-the-person")),
        (keyed("k1"), by_id(PARK)),
        (keyed("k2"), by_phone(OTHER_PARK)),
        (keyed("k3"), by_phone("another-park")),
    ]
}

#[actix_web::test]
async fn late_events_recreate_nothing_in_any_park() {
    let (customers, id) = erased().await;
    for (caller, order) in late_events(&customers, &id) {
        for _ in 0..2 {
            let reply = caller.post("customers/upsert", order.clone()).await;
            reply.problem(409, "customer_erased");
            assert_eq!(reply.header("retry-after"), "", "it never will be otherwise");
        }
    }
    assert_eq!(customers.status(&id).await["status"], "empty");
    assert!(!customers.personal_keeps("names", NAME).await, "nor in personal");
    let updates = customers.app.metric("fleet_customers_updates_total{source=\"order\"}").await;
    assert!((updates - 1.0).abs() < f64::EPSILON, "{updates}");
}

#[actix_web::test]
async fn an_order_placed_afterwards_makes_a_fresh_record() {
    let (customers, id) = erased().await;
    let keyed = customers.internal.header("Idempotency-Key", "k");
    for (number, (caller, park)) in
        [(&customers.internal, PARK), (&keyed, OTHER_PARK)].into_iter().enumerate()
    {
        let fresh = caller.post("customers/upsert", new_order(park, &id)).await.expect(200);
        assert_eq!(fresh["orders_count"], 1);
        assert_eq!(fresh["first_order_at"], fresh["last_order_at"]);
        let count = i64::try_from(number).unwrap() + 1;
        assert_eq!(count_of(&customers.status(&id).await["categories"], "profiles"), count);
    }
    assert_eq!(customers.status(&id).await["status"], "ready_to_delete");
    // The old order still changes nothing, and it can all be erased again.
    let late = customers.internal.post("customers/upsert", old_order(PARK, &id)).await;
    late.problem(409, "customer_erased");
    assert_eq!(customers.profile(&id).await["orders_count"], 1);
    customers.erase("request-2", &[&id]).await;
    assert_counts(&customers.completed("request-2").await, [2, 0, 0, 1, 0]);
}

#[actix_web::test]
async fn one_batch_refuses_the_erased_and_takes_the_others() {
    let customers = Customers::start().await;
    let erased: Vec<String> = (0..20).map(phone_id).collect();
    let erased: Vec<&str> = erased.iter().map(String::as_str).collect();
    customers.erase("request-1", &erased).await;
    customers.completed("request-1").await;
    let upserts = (0..200).map(|number| {
        customers.internal.post("customers/upsert", old_order(PARK, &phone_id(number % 40)))
    });
    for (number, reply) in join_all(upserts).await.iter().enumerate() {
        if number % 40 < 20 {
            reply.problem(409, "customer_erased");
        } else {
            assert_eq!(id_of(&reply.expect(200)), phone_id(number % 40));
        }
    }
    let orders = "SELECT sum(orders_count) FROM fleet_customers.customers";
    assert_eq!(customers.app.database().count(orders).await, 100);
}

#[actix_web::test]
async fn an_order_known_from_a_clock_that_goes_before_ours_does_not_come_back() {
    let customers = Customers::start().await;
    let id = phone_id(1);
    let at = Timestamp::now() + jiff::SignedDuration::from_mins(10);
    let order = json!({"park_id": PARK, "personal_phone_id": id, "ordered_at": at.to_string()});
    customers.upsert(order.clone()).await;
    customers.erase("request-1", &[&id]).await;
    assert_counts(&customers.completed("request-1").await, [1, 0, 0, 0, 0]);
    assert_eq!(customers.status(&id).await["status"], "empty");
    let late = customers.internal.post("customers/upsert", order.clone()).await;
    late.problem(409, "customer_erased");
}

#[actix_web::test]
async fn tombstones_hold_no_id_and_go_when_no_late_event_can_come() {
    let (customers, id) = erased().await;
    let database = customers.app.database();
    assert!(!database.dump().await.contains(&id));
    // One of 29 days stays, one of 31 goes. Cleaning begins with the process.
    let other = phone_id(2);
    customers.erase("request-2", &[&other]).await;
    customers.completed("request-2").await;
    let age = "UPDATE fleet_customers.tombstones SET erased_at = now() - interval '29 days'; \
         UPDATE fleet_customers.tombstones SET erased_at = now() - interval '31 days' \
         WHERE person = fleet_customers.tombstone_of((SELECT decode('01' || $id$ID$id$, 'hex')));"
        .replace("ID", &id);
    database.execute(&age).await;
    let customers = Customers::of(customers.app.restarted().await);
    let left = "SELECT count(*) FROM fleet_customers.tombstones";
    eventually("the old one is gone", async || customers.app.database().count(left).await == 1)
        .await;
    let late = |id: &str| customers.internal.post("customers/upsert", old_order(PARK, id));
    late(&other).await.problem(409, "customer_erased");
    late(&id).await.expect(200);
}

#[actix_web::test]
async fn the_look_for_a_tombstone_is_one_into_an_index() {
    let customers = Customers::start().await;
    let database = customers.app.database();
    let fill = "INSERT INTO fleet_customers.tombstones \
         SELECT fleet_customers.tombstone_of(int4send(n)), now() FROM generate_series(1, 20000) n; \
         ANALYZE fleet_customers.tombstones";
    database.execute(fill).await;
    let explain = "EXPLAIN SELECT FROM UNNEST('{a,b}'::bytea[], '{now,now}'::timestamptz[]) AS i(phone, at) WHERE NOT EXISTS \
         (SELECT FROM fleet_customers.tombstones t \
          WHERE t.person = fleet_customers.tombstone_of(i.phone) AND t.erased_at >= i.at FOR KEY SHARE)";
    let plan: Vec<String> =
        database.query(explain, &[]).await.iter().map(|row| row.get(0)).collect();
    let plan = plan.join("\n");
    assert!(plan.contains("Index Scan using tombstones_pkey"), "{plan}");
}
