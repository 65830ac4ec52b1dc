//! `POST internal/v1/customers/retrieve`.

use super::*;

const ROUTE: &str = "customers/retrieve";

fn key(park: &str, id: &str) -> Value {
    json!({"park_id": park, "personal_phone_id": id})
}

#[actix_web::test]
async fn customers_of_any_parks_are_read_together_without_anything_personal() {
    let customers = Customers::start().await;
    for park in [PARK, OTHER_PARK] {
        let order = json!({
            "park_id": park, "phone": PHONE, "name": "Анна", "sms_enabled": park == PARK,
            "order_options": options(), "ordered_at": "2026-05-01T12:00:00Z",
        });
        customers.upsert(order).await;
    }
    let id = customers.order(PARK, PHONE).await;
    let calls = customers.calls("phones/bulk_retrieve");
    let asked = json!({"customers": [key(OTHER_PARK, &id), key(PARK, &id)]});
    let items = customers.internal.post(ROUTE, asked).await.expect(200)["items"].clone();
    assert_eq!(items.as_array().unwrap().len(), 2);
    for (item, park, orders) in [(&items[0], OTHER_PARK, 1), (&items[1], PARK, 2)] {
        assert_eq!(item["park_id"], park, "in the order they were asked for");
        assert_eq!(item["personal_phone_id"], id.as_str());
        assert_eq!(item["orders_count"], orders);
        assert_eq!(item["sms_enabled"], park == PARK);
        assert_eq!(item["order_options"], options());
        assert_eq!((item.get("phone"), item.get("name")), (None, None));
    }
    assert_eq!(customers.calls("phones/bulk_retrieve"), calls, "personal is not asked");
}

#[actix_web::test]
async fn one_is_read_as_many_are() {
    let customers = Customers::start().await;
    let id = customers.order(PARK, PHONE).await;
    let asked = json!({"customers": [key(PARK, &id)]});
    let one = customers.internal.post(ROUTE, asked).await.expect(200);
    let asked = json!({"customers": [key(PARK, &id), key(PARK, &phone_id(1))]});
    let many = customers.internal.post(ROUTE, asked).await.expect(200);
    assert_eq!(one, many);
    assert_eq!(one["items"][0]["personal_phone_id"], id.as_str());
}

#[actix_web::test]
async fn the_missing_are_left_out_and_a_repeated_one_is_repeated() {
    let customers = Customers::start().await;
    let id = customers.order(PARK, PHONE).await;
    let (here, gone) = (key(PARK, &id), key(PARK, &phone_id(1)));
    let foreign = key(OTHER_PARK, &id);
    for (asked, found) in [
        (json!([gone]), 0),
        (json!([foreign]), 0),
        (json!([gone, foreign]), 0),
        (json!([gone, here, foreign]), 1),
        (json!([here, gone, here]), 2),
    ] {
        let reply = customers.internal.post(ROUTE, json!({"customers": asked})).await.expect(200);
        assert_eq!(ids_of(&reply), vec![id.clone(); found], "{asked}");
    }
}

#[actix_web::test]
async fn five_hundred_are_read_and_one_more_is_refused() {
    let customers = Customers::start().await;
    let at = "2026-05-01T12:00:00Z".to_owned();
    customers.known((0..500).map(|number| (phone_id(number), at.clone()))).await;
    let asked = |count: usize| {
        let keys: Vec<Value> = (0..count).rev().map(|n| key(PARK, &phone_id(n))).collect();
        json!({"customers": keys})
    };
    let found = customers.internal.post(ROUTE, asked(500)).await.expect(200);
    let expected: Vec<String> = (0..500).rev().map(phone_id).collect();
    assert_eq!(ids_of(&found), expected);
    customers.internal.post(ROUTE, asked(501)).await.invalid_at("/customers");
}

#[actix_web::test]
async fn what_names_nobody_is_refused_where_it_is_wrong() {
    let customers = Customers::start().await;
    let good = key(PARK, &phone_id(1));
    for (body, pointer) in [
        (json!({"customers": []}), "/customers"),
        (json!({}), ""),
        (json!({"customers": "all"}), "/customers"),
        (json!({"customers": [good, {"park_id": PARK}]}), "/customers/1"),
        (json!({"customers": [key("", "1")]}), "/customers/0/park_id"),
        (json!({"customers": [key("a b", "1")]}), "/customers/0/park_id"),
        (json!({"customers": [good, key(PARK, "\u{0}")]}), "/customers/1/personal_phone_id"),
        (json!({"customers": [key(PARK, &"1".repeat(65))]}), "/customers/0/personal_phone_id"),
        (json!({"customers": [good], "limit": 5}), "/limit"),
    ] {
        customers.internal.post(ROUTE, body).await.invalid_at(pointer);
    }
}
