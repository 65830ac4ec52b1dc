//! `GET dispatcher/v1/customers`.

use std::cell::Cell;

use actix_web::rt::System;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::support::eventually;

/// Every page, one after the other.
async fn pages(caller: &Caller, limit: usize) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut path = format!("customers?limit={limit}");
    loop {
        let page = caller.get(&path).await.expect(200);
        pages.push(ids_of(&page));
        let Some(cursor) = page.get("next_cursor") else { return pages };
        let cursor = cursor.as_str().expect("a text");
        path = format!("customers?limit={limit}&cursor={cursor}");
        assert!(pages.len() < 1_000, "the list has no end");
    }
}

#[actix_web::test]
async fn the_newest_activity_comes_first_over_pages_and_equal_times() {
    let customers = Customers::start().await;
    // Three of the same instant, two of the same day, one of a day before and one long ago.
    let times = [
        "2026-05-01T12:00:00Z",
        "2026-05-01T12:00:00Z",
        "2026-05-01T12:00:00Z",
        "2026-05-01T12:00:00.000001Z",
        "2026-05-01T00:00:00Z",
        "2026-04-30T23:59:59.999999Z",
        "1970-01-01T00:00:00Z",
    ];
    customers.known((0..).map(phone_id).zip(times.map(String::from))).await;
    let expected: Vec<String> = [3, 2, 1, 0, 4, 5, 6].map(phone_id).into();
    for limit in 1..=8 {
        let pages = pages(&customers.dispatcher, limit).await;
        assert_eq!(pages.concat(), expected, "limit {limit}");
        let full = pages.iter().rev().skip(1).all(|page| page.len() == limit);
        assert!(full, "only the last page is short: {pages:?}");
        assert!(!pages.last().unwrap().is_empty(), "no empty page at the end: {pages:?}");
    }
}

#[actix_web::test]
async fn a_new_order_moves_a_customer_to_the_front_and_an_old_one_does_not() {
    let customers = Customers::start().await;
    let days = ["2026-05-03T00:00:00Z", "2026-05-02T00:00:00Z", "2026-05-01T00:00:00Z"];
    customers.known((0..).map(phone_id).zip(days.map(String::from))).await;
    let order = async |at: &str| {
        let body = json!({"park_id": PARK, "personal_phone_id": phone_id(2), "ordered_at": at});
        customers.upsert(body).await;
        ids_of(&customers.dispatcher.get("customers").await.expect(200))
    };
    assert_eq!(order("2020-01-01T00:00:00Z").await, [0, 1, 2].map(phone_id));
    assert_eq!(order("2026-05-04T00:00:00Z").await, [2, 0, 1].map(phone_id));
}

#[actix_web::test]
async fn a_page_has_a_hundred_customers_unless_asked_otherwise() {
    let customers = Customers::start().await;
    let at = "2026-05-01T12:00:00Z".to_owned();
    customers.known((0..101).map(phone_id).map(|id| (id, at.clone()))).await;
    let page = customers.dispatcher.get("customers").await.expect(200);
    assert_eq!(ids_of(&page).len(), 100);
    assert!(page["next_cursor"].is_string());
    let page = customers.dispatcher.get("customers?limit=1000").await.expect(200);
    assert_eq!(ids_of(&page).len(), 101);
    assert_eq!(page.get("next_cursor"), None);
}

#[actix_web::test]
async fn names_and_phones_of_a_page_are_asked_for_together() {
    let customers = Customers::start().await;
    for number in 1..=5 {
        let phone = format!("+7999000000{number}");
        let name = format!("Name {}", number % 2);
        let at = format!("2026-05-01T00:00:0{number}Z");
        customers
            .upsert(json!({"park_id": PARK, "phone": phone, "name": name, "ordered_at": at}))
            .await;
    }
    let page = customers.dispatcher.get("customers").await.expect(200);
    let items = page["items"].as_array().unwrap();
    for (number, item) in (1..=5).rev().zip(items) {
        assert_eq!(item["phone"], format!("+7999000000{number}"));
        assert_eq!(item["name"], format!("Name {}", number % 2));
        assert_eq!(item.get("degraded"), None);
    }
    assert_eq!(customers.calls("phones/bulk_retrieve"), 1);
    assert_eq!(customers.calls("names/bulk_retrieve"), 1);
}

#[actix_web::test]
async fn a_park_without_customers_has_an_empty_list() {
    let customers = Customers::start().await;
    customers.order(OTHER_PARK, PHONE).await;
    assert_eq!(customers.dispatcher.get("customers").await.expect(200), json!({"items": []}));
    assert_eq!(customers.calls("phones/bulk_retrieve"), 0, "nobody to ask for");
}

#[actix_web::test]
async fn limits_that_make_no_sense_are_refused() {
    let customers = Customers::start().await;
    for limit in ["0", "1001", "4294967295"] {
        let reply = customers.dispatcher.get(&format!("customers?limit={limit}")).await;
        reply.problem(400, "invalid_limit");
    }
    for query in ["limit=-1", "limit=many", "limit=1.5", "limit=99999999999", "limit=", "page=2"] {
        let reply = customers.dispatcher.get(&format!("customers?{query}")).await;
        reply.problem(400, "invalid_query");
    }
    customers.dispatcher.get("customers?limit=1").await.expect(200);
}

#[actix_web::test]
async fn cursors_that_no_list_gave_out_are_refused() {
    let customers = Customers::start().await;
    customers.order(PARK, PHONE).await;
    let forged = |content: &str| URL_SAFE_NO_PAD.encode(content);
    let long = "A".repeat(5_000);
    for cursor in [
        "",
        "x",
        "%00",
        "....",
        "bm90IGpzb24",
        &long,
        &forged("[1]"),
        &forged("[1,[]]"),
        &forged("[1,[\"yesterday\",\"x\"]]"),
        &forged("[2,[\"2026-05-01T12:00:00Z\",\"x\"]]"),
        &forged("{\"v\":1}"),
        &forged("null"),
    ] {
        let reply = customers.dispatcher.get(&format!("customers?cursor={cursor}")).await;
        reply.problem(400, "invalid_cursor");
    }
}

#[actix_web::test]
async fn a_forged_cursor_does_no_harm() {
    let customers = Customers::start().await;
    customers.order(PARK, PHONE).await;
    let time = ["-009999-01-02T00:00:00Z", "0000-01-01T00:00:00Z", "9999-12-30T22:00:00Z"];
    for at in time {
        for id in ["", "x", "\u{0}", "' OR 1=1 --"] {
            let content = serde_json::to_string(&json!([1, [at, id]])).unwrap();
            let cursor = URL_SAFE_NO_PAD.encode(content);
            let reply = customers.dispatcher.get(&format!("customers?cursor={cursor}")).await;
            assert!([200, 400].contains(&reply.status), "{at} {id:?}: {}", reply.text());
        }
    }
}

#[actix_web::test]
async fn a_cursor_of_one_park_shows_nothing_of_it_to_another() {
    let customers = Customers::start().await;
    customers.known((0..3).map(|n| (phone_id(n), format!("2026-05-0{}T00:00:00Z", n + 1)))).await;
    let foreign = customers.order(OTHER_PARK, PHONE).await;
    let page = customers.dispatcher.get("customers?limit=1").await.expect(200);
    let cursor = page["next_cursor"].as_str().unwrap();
    let path = format!("customers?cursor={cursor}");
    let theirs = customers.stranger.get(&path).await.expect(200);
    assert!(ids_of(&theirs).iter().all(|id| *id == foreign), "{theirs}");
}

/// Whatever the times and the page size: every customer once, newest first.
#[test]
fn paging_through_any_customers_returns_each_once_in_order() {
    let system = System::new();
    let customers = system.block_on(Customers::start());
    let mut runner = TestRunner::new(Config { cases: 12, ..Config::default() });
    let cases = Cell::new(0);
    // Few different times, on both sides of midnight, so that many are equal.
    let times = proptest::collection::vec(0_i64..6, 1..25);
    runner
        .run(&(times, 1_usize..9), |(times, limit)| {
            cases.set(cases.get() + 1);
            let park = format!("park-of-case-{}", cases.get());
            let at = |slot: &i64| {
                let seconds = 1_767_225_600 - 3 + slot; // around 2026-01-01T00:00:00Z
                Timestamp::from_second(seconds).unwrap()
            };
            let mut expected: Vec<(Timestamp, String)> =
                times.iter().enumerate().map(|(n, slot)| (at(slot), phone_id(n))).collect();
            let listed = system.block_on(async {
                let upserts = expected.iter().map(|(at, id)| {
                    let at = at.to_string();
                    customers
                        .upsert(json!({"park_id": park, "personal_phone_id": id, "ordered_at": at}))
                });
                join_all(upserts).await;
                pages(&customers.app.dispatcher(DOMAIN, &park), limit).await.concat()
            });
            expected.sort();
            let expected: Vec<String> = expected.into_iter().rev().map(|(_, id)| id).collect();
            prop_assert_eq!(listed, expected);
            Ok(())
        })
        .unwrap();
    system.block_on(async { drop(customers) });
}

#[actix_web::test]
async fn a_cursor_with_an_impossible_time_is_refused() {
    let customers = Customers::start().await;
    customers.order(PARK, PHONE).await;
    let forged = URL_SAFE_NO_PAD.encode(r#"[1,["-004800-01-01T00:00:00Z","x"]]"#);
    let reply = customers.dispatcher.get(&format!("customers?cursor={forged}")).await;
    reply.problem(400, "invalid_cursor");
}

/// Customers of the park, with as many texts as the API lets them have.
async fn large(customers: &Customers, count: usize) {
    customers.order(PARK, PHONE).await;
    let sql = format!(
        "INSERT INTO fleet_customers.customers (park_no, personal_phone_id, orders_count, \
         first_order_at, last_order_at) \
         SELECT park_no, convert_to('large-' || n, 'UTF8'), 1, now(), now() - n * interval '1 hour' \
         FROM fleet_customers.parks, generate_series(1, {count}) n; \
         INSERT INTO fleet_customers.recurring_routes (id, park_no, personal_phone_id, body) \
         SELECT gen_random_uuid(), park_no, personal_phone_id, jsonb_build_object('label', 'x', \
         'points', (SELECT jsonb_agg(jsonb_build_object('lat', 1, 'lon', 1, 'address', repeat('я', 250))) \
         FROM generate_series(1, 10))) FROM fleet_customers.customers, generate_series(1, 50) \
         WHERE orders_count = 1 AND personal_phone_id <> ''; ANALYZE fleet_customers.customers"
    );
    customers.app.database().execute(&sql).await;
}

#[actix_web::test]
async fn a_page_of_large_customers_ends_early_and_nobody_is_left_out() {
    let customers = Customers::start().await;
    large(&customers, 40).await;
    let mut cursor = String::new();
    let mut sizes = Vec::new();
    loop {
        let page = customers.dispatcher.get(&format!("customers?limit=1000{cursor}")).await;
        let page = page.expect(200);
        sizes.push(page["items"].as_array().unwrap().len());
        let Some(next) = page.get("next_cursor") else { break };
        cursor = format!("&cursor={}", next.as_str().unwrap());
    }
    assert_eq!(sizes.iter().sum::<usize>(), 41, "{sizes:?}");
    assert!(sizes.len() > 1, "{sizes:?}");
}

#[actix_web::test]
async fn a_list_is_read_by_its_index_and_not_by_looking_at_every_customer() {
    let customers = Customers::start().await;
    customers.order(PARK, PHONE).await;
    let fill = "INSERT INTO fleet_customers.customers (park_no, personal_phone_id, orders_count, \
         first_order_at, last_order_at) \
         SELECT park_no, convert_to('many-' || n, 'UTF8'), 1, now(), now() - n * interval '10 minutes' \
         FROM fleet_customers.parks, generate_series(1, 20000) n";
    customers.app.database().execute(fill).await;
    customers.app.database().execute("ANALYZE fleet_customers.customers").await;
    let reads = "SELECT COALESCE(sum(seq_tup_read), 0)::bigint FROM pg_stat_user_tables \
         WHERE schemaname = 'fleet_customers' AND relname = 'customers'";
    let by_index = "SELECT COALESCE(sum(idx_tup_read), 0)::bigint FROM pg_stat_user_indexes \
         WHERE indexrelname = 'customers_park_activity'";
    let database = customers.app.database();
    let before = database.count(reads).await;
    let first = customers.dispatcher.get("customers?limit=5").await.expect(200);
    let cursor = first["next_cursor"].as_str().unwrap();
    customers.dispatcher.get(&format!("customers?limit=5&cursor={cursor}")).await.expect(200);
    // Statistics are written a little later.
    eventually("the index was read", async || database.count(by_index).await > 0).await;
    let rows = database.count(by_index).await;
    assert!(rows < 5_000, "two pages read {rows} entries");
    assert_eq!(database.count(reads).await, before, "no scan of the table");
}
