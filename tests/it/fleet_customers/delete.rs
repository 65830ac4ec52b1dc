//! `DELETE dispatcher/v1/customers/{personal_phone_id}`.

use super::*;

/// A customer with a location, a route and remembered answers; its id.
async fn full(customers: &Customers, park: &str) -> String {
    let order = json!({
        "park_id": park, "phone": PHONE, "name": "Анна", "order_options": options(),
        "ordered_at": "2026-05-01T12:00:00Z",
    });
    let keyed = customers.internal.header("Idempotency-Key", "order");
    let id = id_of(&keyed.post("customers/upsert", order).await.expect(200));
    let dispatcher = customers.app.dispatcher(DOMAIN, park).header("Idempotency-Key", "item");
    let point = json!({"address": "Лесная, 5", "lat": 55.75, "lon": 37.5});
    let route = json!({"label": "На работу", "points": [point, point]});
    let location = json!({"label": "Дом", "address": "Лесная, 5", "lat": 55.75, "lon": 37.5});
    for (path, body) in [("favourite-locations", location), ("recurring-routes", route)] {
        dispatcher.post(&format!("customers/{id}/{path}"), body).await.expect(201);
    }
    id
}

#[actix_web::test]
async fn a_customer_is_deleted_with_all_that_hangs_on_it_and_again_without_harm() {
    let customers = Customers::start().await;
    let id = full(&customers, PARK).await;
    let other = customers.order(PARK, "+79990000002").await;
    for _ in 0..2 {
        let deleted = customers.dispatcher.delete(&format!("customers/{id}")).await;
        assert_eq!(deleted.expect(204), Value::Null);
    }
    for path in ["", "/favourite-locations", "/recurring-routes"] {
        let reply = customers.dispatcher.get(&format!("customers/{id}{path}")).await;
        reply.problem(404, "customer_not_found");
    }
    let list = customers.dispatcher.get("customers").await.expect(200);
    assert_eq!(ids_of(&list), [other], "others stay");
    for table in ["favourite_locations", "recurring_routes"] {
        let rows = format!("SELECT count(*) FROM fleet_customers.{table}");
        assert_eq!(customers.app.database().count(&rows).await, 0, "{table}");
    }
}

#[actix_web::test]
async fn nothing_of_a_deleted_customer_is_remembered() {
    let customers = Customers::start().await;
    let id = full(&customers, PARK).await;
    let before = customers.app.database().dump().await;
    for trace in ["Лесная", "подъезда", &id] {
        assert!(before.contains(trace), "the test looks for what is there: {trace}");
    }
    customers.dispatcher.delete(&format!("customers/{id}")).await.expect(204);
    let after = customers.app.database().dump().await;
    for trace in ["Лесная", "подъезда", &id] {
        assert!(!after.contains(trace), "{trace} in\n{after}");
    }
    let answers = "SELECT count(*) FROM fleet_platform.idempotency_keys";
    assert_eq!(customers.app.database().count(answers).await, 0);
}

#[actix_web::test]
async fn the_same_person_in_another_park_keeps_everything() {
    let customers = Customers::start().await;
    let id = full(&customers, PARK).await;
    assert_eq!(full(&customers, OTHER_PARK).await, id);
    let path = format!("customers/{id}");
    let before = customers.stranger.get(&path).await.expect(200);
    customers.dispatcher.delete(&path).await.expect(204);
    assert_eq!(customers.stranger.get(&path).await.expect(200), before);

    // The other park's answers are remembered still: its repeated order does not count twice.
    full(&customers, OTHER_PARK).await;
    assert_eq!(customers.stranger.get(&path).await.expect(200), before);
}

#[actix_web::test]
async fn an_order_after_the_deletion_makes_a_fresh_record() {
    let customers = Customers::start().await;
    let id = full(&customers, PARK).await;
    customers.dispatcher.delete(&format!("customers/{id}")).await.expect(204);
    assert_eq!(customers.order(PARK, PHONE).await, id);
    let profile = customers.profile(&id).await;
    assert_eq!(profile["orders_count"], 1);
    assert_eq!(profile["order_options"], Value::Null);
    assert_eq!(profile["favourite_locations"], json!([]));
    assert_eq!(profile.get("name"), None);
}

#[actix_web::test]
async fn who_was_never_there_is_deleted_too() {
    let customers = Customers::start().await;
    customers.dispatcher.delete(&format!("customers/{}", phone_id(1))).await.expect(204);
}

#[actix_web::test]
async fn a_delete_based_on_an_old_version_is_refused() {
    let customers = Customers::start().await;
    let id = customers.order(PARK, PHONE).await;
    let path = format!("customers/{id}");
    let stale = customers.dispatcher.header("If-Match", "\"v99\"");
    stale.delete(&path).await.problem(412, "stale_version");
    let location = json!({"label": "Дом", "address": "Тверская, 7", "lat": 1, "lon": 1});
    let items = format!("{path}/favourite-locations");
    let item = customers.dispatcher.post(&items, location).await.expect(201);
    let item = format!("{items}/{}", item["id"].as_str().unwrap());
    stale.delete(&item).await.problem(412, "stale_version");
    customers.dispatcher.get(&item).await.expect(200);
    customers.dispatcher.header("If-Match", "\"v1\"").delete(&item).await;
    customers.dispatcher.get(&item).await.problem(404, "favourite_location_not_found");
}

#[actix_web::test]
async fn removing_and_replacing_an_item_at_once_never_wait_for_each_other_crosswise() {
    let customers = Customers::start().await;
    let id = customers.order(PARK, PHONE).await;
    let path = format!("customers/{id}");
    let items = format!("{path}/favourite-locations");
    let location = json!({"label": "Дом", "address": "Тверская, 7", "lat": 1, "lon": 1});
    for _ in 0..20 {
        let item = customers.dispatcher.post(&items, location.clone()).await.expect(201);
        let item = format!("{items}/{}", item["id"].as_str().unwrap());
        let before = customers.dispatcher.get(&path).await.etag().to_owned();
        let (removed, replaced) = futures_util::future::join(
            customers.dispatcher.delete(&item),
            customers.dispatcher.put(&item, location.clone()),
        )
        .await;
        assert_eq!(removed.status, 204, "{}", removed.text());
        assert!(matches!(replaced.status, 200 | 404), "{}", replaced.text());
        let version = |tag: &str| tag.trim_matches(['"', 'v']).parse::<u64>().unwrap();
        let changes = version(customers.dispatcher.get(&path).await.etag()) - version(&before);
        assert_eq!(changes, 1 + u64::from(replaced.status == 200), "each change counts once");
        // What is gone already is no change.
        customers.dispatcher.delete(&item).await;
        let after = version(customers.dispatcher.get(&path).await.etag()) - version(&before);
        assert_eq!(after, changes);
    }
}
