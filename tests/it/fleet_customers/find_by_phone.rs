//! `POST dispatcher/v1/customers/find-by-phone`.

use super::*;
use crate::support::client::Reply;

const ROUTE: &str = "customers/find-by-phone";

async fn find(caller: &Caller, phone: &str) -> Reply {
    caller.post(ROUTE, json!({"phone": phone})).await
}

#[actix_web::test]
async fn a_customer_is_found_however_the_number_is_written() {
    let customers = Customers::start().await;
    let at = "2026-01-02T03:04:05Z";
    let order = json!({"park_id": PARK, "phone": PHONE, "name": "Анна", "ordered_at": at});
    let id = id_of(&customers.upsert(order).await);
    for phone in [
        "+79990000001",
        "+7 999 000-00-01",
        "+7 (999) 000 00 01",
        "8 (999) 000-00-01",
        "89990000001",
        "9990000001",
        "  +7.999.000.00.01  ",
    ] {
        let reply = find(&customers.dispatcher, phone).await;
        let found = reply.expect(200);
        assert_eq!(found["personal_phone_id"], id.as_str(), "{phone}");
        assert_eq!(found["phone"], PHONE, "{phone}");
        assert_eq!(found["name"], "Анна", "{phone}");
        assert_eq!(reply.etag(), "\"v1\"");
    }
}

#[actix_web::test]
async fn looking_stores_nothing_anywhere() {
    let customers = Customers::start().await;
    find(&customers.dispatcher, PHONE).await.problem(404, "customer_not_found");
    assert_eq!(customers.calls("phones/find"), 1);
    for route in ["phones/store", "names/store", "phones/bulk_retrieve", "phones/retrieve"] {
        assert_eq!(customers.calls(route), 0, "{route}");
    }
    assert_eq!(
        customers.app.database().count("SELECT count(*) FROM fleet_customers.customers").await,
        0
    );

    customers.order(PARK, PHONE).await;
    let before = customers.app.database().dump().await;
    find(&customers.dispatcher, PHONE).await.expect(200);
    assert_eq!(customers.app.database().dump().await, before);
    assert_eq!(customers.calls("phones/store"), 1, "the order's");
}

#[actix_web::test]
async fn a_number_of_another_parks_customer_is_as_unknown_as_one_of_nobody() {
    let customers = Customers::start().await;
    customers.order(OTHER_PARK, PHONE).await;
    let foreign = find(&customers.dispatcher, PHONE).await.problem(404, "customer_not_found");
    let nobodys =
        find(&customers.dispatcher, "+79990000002").await.problem(404, "customer_not_found");
    assert_eq!(without_trace(foreign), without_trace(nobodys));
}

#[actix_web::test]
async fn the_same_number_is_another_customer_in_each_park() {
    let customers = Customers::start().await;
    let at = "2026-01-02T03:04:05Z";
    for (park, name) in [(PARK, "Анна"), (OTHER_PARK, "Anna of the other park")] {
        customers
            .upsert(json!({"park_id": park, "phone": PHONE, "name": name, "ordered_at": at}))
            .await;
    }
    assert_eq!(find(&customers.dispatcher, PHONE).await.expect(200)["name"], "Анна");
    let other = find(&customers.stranger, PHONE).await.expect(200);
    assert_eq!(other["name"], "Anna of the other park");
}

#[actix_web::test]
async fn what_is_no_phone_number_is_refused_and_nobody_is_asked() {
    let customers = Customers::start().await;
    let long = "9".repeat(10_000);
    for phone in [
        "",
        " ",
        "123",
        "+7",
        "call me",
        "+7 999 000-00-01 ext 5",
        "+0000000000",
        "\u{0}",
        "９９９０００００００１",
        &long,
    ] {
        find(&customers.dispatcher, phone).await.invalid_at("/phone");
    }
    assert_eq!(customers.calls("phones/find"), 0);
}

#[actix_web::test]
async fn a_body_of_another_shape_is_refused_where_it_is_wrong() {
    let customers = Customers::start().await;
    for (body, pointer) in [
        (json!({"phone": 79_990_000_001_u64}), "/phone"),
        (json!({"phone": null}), "/phone"),
        (json!({"phone": PHONE, "park_id": OTHER_PARK}), "/park_id"),
        (json!({}), ""),
        (json!([PHONE]), ""),
        (json!(PHONE), ""),
    ] {
        let reply = customers.dispatcher.post(ROUTE, body.clone()).await;
        if body.is_array() {
            // serde reads a struct from a list too; it must be refused or read as if it were one.
            assert!([400, 404].contains(&reply.status), "{}", reply.text());
        } else {
            reply.invalid_at(pointer);
        }
    }
}

#[actix_web::test]
async fn without_a_region_a_number_needs_its_country_code() {
    let customers = Customers::with("[fleet_customers]\ndefault_region = ''").await;
    customers.order(PARK, PHONE).await;
    find(&customers.dispatcher, "9990000001").await.invalid_at("/phone");
    find(&customers.dispatcher, "+7 999 000-00-01").await.expect(200);
}
