//! `Idempotency-Key` on the routes that create.

use super::*;
use crate::support::client::Reply;
use crate::support::eventually;

const UPSERT: &str = "customers/upsert";

fn order(park: &str, phone: &str) -> Value {
    json!({"park_id": park, "phone": phone, "ordered_at": "2026-05-01T12:00:00.000001Z"})
}

fn location() -> Value {
    json!({"label": "Дом", "address": "Лесная, 5", "lat": 55.75, "lon": 37.5})
}

fn keyed(caller: &Caller, key: &str) -> Caller {
    caller.header("Idempotency-Key", key)
}

impl Customers {
    /// Lets every answer that is remembered be this old.
    async fn age_answers(&self, age: &str) {
        let sql = format!(
            "UPDATE fleet_platform.idempotency_keys SET created_at = now() - interval '{age}'"
        );
        self.app.database().execute(&sql).await;
    }
}

/// How many orders the customer of a park has.
async fn orders(customers: &Customers, park: &str, id: &str) -> i64 {
    let dispatcher = customers.app.dispatcher(DOMAIN, park);
    let profile = dispatcher.get(&format!("customers/{id}")).await.expect(200);
    profile["orders_count"].as_i64().unwrap()
}

#[actix_web::test]
async fn the_same_order_under_the_same_key_counts_once_and_answers_the_same() {
    let customers = Customers::start().await;
    let internal = keyed(&customers.internal, "order-1");
    let first = internal.post(UPSERT, order(PARK, PHONE)).await.expect(200);
    let id = id_of(&first);
    customers.order(PARK, PHONE).await;
    for _ in 0..3 {
        let again = internal.post(UPSERT, order(PARK, PHONE)).await.expect(200);
        assert_eq!(again, first, "the first answer, not the customer as it is now");
    }
    let respelled = "{ \"ordered_at\":\"2026-05-01T12:00:00.000001Z\",\n\"phone\":\"\\u002b79990000001\", \"park_id\":\"park-1\" }";
    let method = actix_web::http::Method::POST;
    let again = internal.send(method, UPSERT, Some(respelled.to_owned())).await.expect(200);
    assert_eq!(again, first, "white space and order of members are no difference");
    assert_eq!(orders(&customers, PARK, &id).await, 2);
}

#[actix_web::test]
async fn another_order_under_the_same_key_is_refused() {
    let customers = Customers::start().await;
    let internal = keyed(&customers.internal, "order-1");
    let id = id_of(&internal.post(UPSERT, order(PARK, PHONE)).await.expect(200));
    let mut later = order(PARK, PHONE);
    later["ordered_at"] = json!("2026-05-01T12:00:00.000002Z");
    for other in [order(PARK, "+79990000002"), later] {
        internal.post(UPSERT, other).await.problem(422, "idempotency_key_reused");
    }
    assert_eq!(orders(&customers, PARK, &id).await, 1);
    assert_eq!(
        customers.app.database().count("SELECT count(*) FROM fleet_customers.customers").await,
        1
    );
}

#[actix_web::test]
async fn a_key_belongs_to_its_caller_park_and_route() {
    let customers = Customers::start().await;
    let id = customers.order(PARK, PHONE).await;
    customers.order(OTHER_PARK, PHONE).await;
    let other = customers.app.caller("test-other-internal", DOMAIN, "internal");
    for caller in [&customers.internal, &other] {
        for park in [PARK, OTHER_PARK] {
            keyed(caller, "k").post(UPSERT, order(park, PHONE)).await.expect(200);
        }
    }
    assert_eq!(orders(&customers, PARK, &id).await, 3, "two callers");
    assert_eq!(orders(&customers, OTHER_PARK, &id).await, 3, "in each park");
    for dispatcher in [&customers.dispatcher, &customers.stranger] {
        let path = format!("customers/{id}/favourite-locations");
        keyed(dispatcher, "k").post(&path, location()).await.expect(201);
    }
}

#[actix_web::test]
async fn an_answer_is_remembered_over_a_restart() {
    let customers = Customers::start().await;
    let first = keyed(&customers.internal, "k").post(UPSERT, order(PARK, PHONE)).await.expect(200);
    let customers = Customers::of(customers.app.restarted().await);
    let again = keyed(&customers.internal, "k").post(UPSERT, order(PARK, PHONE)).await.expect(200);
    assert_eq!(again, first);
    assert_eq!(orders(&customers, PARK, &id_of(&first)).await, 1);
}

#[actix_web::test]
async fn an_answer_is_remembered_for_a_day_and_cleaned_away_then() {
    let customers = Customers::start().await;
    let call = keyed(&customers.internal, "k");
    let first = call.post(UPSERT, order(PARK, PHONE)).await.expect(200);
    let id = id_of(&first);
    customers.age_answers("23 hours").await;
    assert_eq!(call.post(UPSERT, order(PARK, PHONE)).await.expect(200), first);
    customers.age_answers("25 hours").await;
    call.post(UPSERT, order(PARK, PHONE)).await.expect(200);
    assert_eq!(orders(&customers, PARK, &id).await, 2, "it is a new call");

    keyed(&customers.internal, "older").post(UPSERT, order(PARK, PHONE)).await.expect(200);
    customers.age_answers("25 hours").await;
    keyed(&customers.internal, "newer").post(UPSERT, order(PARK, PHONE)).await.expect(200);
    let newer = "UPDATE fleet_platform.idempotency_keys SET created_at = now() - interval '23 hours' \
         WHERE created_at > now() - interval '1 hour'";
    customers.app.database().execute(newer).await;
    let customers = Customers::of(customers.app.restarted().await);
    let kept = "SELECT count(*) FROM fleet_platform.idempotency_keys";
    eventually("what is older is gone", async || customers.app.database().count(kept).await == 1)
        .await;
    keyed(&customers.internal, "newer").post(UPSERT, order(PARK, PHONE)).await.expect(200);
    assert_eq!(orders(&customers, PARK, &id).await, 4);
}

#[actix_web::test]
async fn an_item_is_added_once_under_a_key() {
    let customers = Customers::start().await;
    let id = customers.order(PARK, PHONE).await;
    let other = customers.order(PARK, "+79990000002").await;
    let path = format!("customers/{id}/favourite-locations");
    let dispatcher = keyed(&customers.dispatcher, "k");
    let first = dispatcher.post(&path, location()).await;
    let again = dispatcher.post(&path, location()).await;
    assert_eq!(again.expect(201), first.expect(201));
    for header in ["etag", "location"] {
        assert_eq!(again.header(header), first.header(header));
    }
    let mut changed = location();
    changed["label"] = json!("Работа");
    dispatcher.post(&path, changed).await.problem(422, "idempotency_key_reused");
    let elsewhere = format!("customers/{other}/favourite-locations");
    dispatcher.post(&elsewhere, location()).await.problem(422, "idempotency_key_reused");
    let list = customers.dispatcher.get(&path).await.expect(200);
    assert_eq!(list["items"], json!([first.json()]));
}

#[actix_web::test]
async fn only_success_is_remembered() {
    let customers = Customers::with("[fleet_customers]\nmax_locations = 1").await;
    let id = customers.order(PARK, PHONE).await;
    let path = format!("customers/{id}/favourite-locations");
    let first = customers.dispatcher.post(&path, location()).await.expect(201);
    let dispatcher = keyed(&customers.dispatcher, "k");
    dispatcher.post(&path, location()).await.problem(409, "too_many_favourite_locations");
    let item = format!("{path}/{}", first["id"].as_str().unwrap());
    customers.dispatcher.delete(&item).await.expect(204);
    dispatcher.post(&path, location()).await.expect(201);
}

#[actix_web::test]
async fn removing_an_item_does_not_make_a_repeated_order_count_twice() {
    let customers = Customers::start().await;
    let internal = keyed(&customers.internal, "order-1");
    let id = id_of(&internal.post(UPSERT, order(PARK, PHONE)).await.expect(200));
    let path = format!("customers/{id}/favourite-locations");
    let added = customers.dispatcher.post(&path, location()).await.expect(201);
    let item = format!("{path}/{}", added["id"].as_str().unwrap());
    customers.dispatcher.delete(&item).await.expect(204);
    internal.post(UPSERT, order(PARK, PHONE)).await.expect(200);
    assert_eq!(orders(&customers, PARK, &id).await, 1);
}

#[actix_web::test]
async fn while_the_first_call_runs_a_second_is_told_so() {
    let customers = Customers::start().await;
    let id = customers.order(PARK, PHONE).await;
    let database = customers.app.database();
    // Whoever holds the row keeps the first call at work.
    let mut holder = database.connect().await;
    let held = holder.transaction().await.unwrap();
    held.execute("SELECT 1 FROM fleet_customers.customers FOR UPDATE", &[]).await.unwrap();

    let internal = keyed(&customers.internal, "order-1");
    let first = actix_web::rt::spawn({
        let internal = internal.clone();
        async move { internal.post(UPSERT, order(PARK, PHONE)).await }
    });
    eventually("the first call is at work", async || {
        let locks = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database \
             WHERE l.locktype = 'advisory' AND d.datname = current_database()";
        database.count(locks).await == 1
    })
    .await;
    let second = internal.post(UPSERT, order(PARK, PHONE)).await;
    second.problem(409, "idempotency_key_in_progress");
    held.rollback().await.unwrap();
    let answer = first.await.unwrap().expect(200);
    assert_eq!(internal.post(UPSERT, order(PARK, PHONE)).await.expect(200), answer);
    assert_eq!(orders(&customers, PARK, &id).await, 2);
}

#[actix_web::test]
async fn a_call_that_ran_out_of_time_left_nothing_and_can_be_repeated() {
    let customers = Customers::start().await;
    let id = customers.order(PARK, PHONE).await;
    let mut holder = customers.app.database().connect().await;
    let held = holder.transaction().await.unwrap();
    held.execute("SELECT 1 FROM fleet_customers.customers FOR UPDATE", &[]).await.unwrap();
    let internal = keyed(&customers.internal, "order-1");
    let hasty = internal.header("X-Request-Timeout-Ms", "300");
    hasty.post(UPSERT, order(PARK, PHONE)).await.problem(504, "deadline_exceeded");
    // Its statement is cancelled beside the answer.
    let waiting = "SELECT count(*) FROM pg_stat_activity \
         WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let database = customers.app.database();
    eventually("nothing waits any more", async || database.count(waiting).await == 0).await;
    held.rollback().await.unwrap();
    assert_eq!(orders(&customers, PARK, &id).await, 1);
    // The server may still be rolling it back.
    eventually("the key is free again", async || {
        internal.post(UPSERT, order(PARK, PHONE)).await.status == 200
    })
    .await;
    assert_eq!(orders(&customers, PARK, &id).await, 2);
}

#[actix_web::test]
async fn of_fifty_calls_at_once_under_one_key_one_takes_effect() {
    let customers = Customers::start().await;
    let id = customers.order(PARK, PHONE).await;
    let internal = keyed(&customers.internal, "order-1");
    let calls = (0..50).map(|_| internal.post(UPSERT, order(PARK, PHONE)));
    let replies: Vec<Reply> = join_all(calls).await;
    let mut answers = Vec::new();
    for reply in &replies {
        match reply.status {
            200 => answers.push(reply.json()),
            _ => drop(reply.problem(409, "idempotency_key_in_progress")),
        }
    }
    assert!(!answers.is_empty());
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(orders(&customers, PARK, &id).await, 2);
}

#[actix_web::test]
async fn a_key_that_is_none_is_refused() {
    let customers = Customers::start().await;
    for key in ["", "two words", "ключ", &"k".repeat(256)] {
        let reply = keyed(&customers.internal, key).post(UPSERT, order(PARK, PHONE)).await;
        reply.problem(400, "invalid_idempotency_key");
    }
    keyed(&customers.internal, &"k".repeat(255)).post(UPSERT, order(PARK, PHONE)).await.expect(200);
}

#[actix_web::test]
async fn the_first_answer_is_given_again_while_personal_is_away() {
    let customers = Customers::start().await;
    let keyed = keyed(&customers.internal, "away");
    let first = keyed.post(UPSERT, order(PARK, PHONE)).await.expect(200);
    customers.app.sandbox.set_fault("personal", json!({"kind": "close"})).unwrap();
    assert_eq!(keyed.post(UPSERT, order(PARK, PHONE)).await.expect(200), first);
}
