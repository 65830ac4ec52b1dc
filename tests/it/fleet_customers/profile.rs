//! `GET dispatcher/v1/customers/{personal_phone_id}`.

use super::*;

#[actix_web::test]
async fn a_profile_shows_everything_that_is_known() {
    let customers = Customers::start().await;
    let order = json!({
        "park_id": PARK, "phone": PHONE, "name": "Анна Коваленко", "sms_enabled": true,
        "order_options": options(), "ordered_at": "2026-05-01T12:00:00.123456Z",
    });
    let id = id_of(&customers.upsert(order).await);
    let path = format!("customers/{id}");
    let location = json!({"label": "Дом", "address": "Лесная, 5", "lat": 55.75, "lon": 37.5});
    let location =
        customers.dispatcher.post(&format!("{path}/favourite-locations"), location).await;
    let route = json!({
        "label": "На работу",
        "points": [
            {"lat": 55.75, "lon": 37.5, "address": "Лесная, 5"},
            {"lat": 55.7, "lon": 37.6, "address": "Мира, 1"},
        ],
    });
    let route = customers.dispatcher.post(&format!("{path}/recurring-routes"), route).await;

    let reply = customers.dispatcher.get(&path).await;
    let mut profile = reply.expect(200);
    for member in ["created_at", "updated_at"] {
        let at = profile.as_object_mut().unwrap().remove(member).expect(member);
        let at: Timestamp = at.as_str().unwrap().parse().expect("a time");
        assert!(at.duration_until(Timestamp::now()).as_secs().abs() < 60, "{member} {at}");
    }
    assert_eq!(
        profile,
        json!({
            "personal_phone_id": id,
            "phone": PHONE,
            "name": "Анна Коваленко",
            "sms_enabled": true,
            "order_options": options(),
            "orders_count": 1,
            "first_order_at": "2026-05-01T12:00:00.123456Z",
            "last_order_at": "2026-05-01T12:00:00.123456Z",
            "favourite_locations": [location.expect(201)],
            "recurring_routes": [route.expect(201)],
        })
    );
    assert_eq!(reply.etag(), "\"v3\"", "what hangs on a customer is part of it");
}

#[actix_web::test]
async fn what_nobody_said_is_false_null_empty_or_absent() {
    let customers = Customers::start().await;
    let id = customers.order(PARK, PHONE).await;
    let profile = customers.profile(&id).await;
    assert_eq!(profile["sms_enabled"], false);
    assert_eq!(profile["order_options"], Value::Null);
    assert_eq!(profile["favourite_locations"], json!([]));
    assert_eq!(profile["recurring_routes"], json!([]));
    assert_eq!(profile.get("name"), None);
    assert_eq!(profile.get("degraded"), None);
    assert_eq!(profile.get("park_id"), None);
}

#[actix_web::test]
async fn a_customer_that_personal_does_not_know_has_a_profile_without_a_phone() {
    let customers = Customers::start().await;
    customers.known([(phone_id(7), "2026-05-01T12:00:00Z".to_owned())]).await;
    let profile = customers.profile(&phone_id(7)).await;
    assert_eq!(profile.get("phone"), None);
    assert_eq!(profile.get("degraded"), None, "personal did answer");
}

#[actix_web::test]
async fn there_is_no_profile_of_who_is_not_known() {
    let customers = Customers::start().await;
    let missing = customers.dispatcher.get(&format!("customers/{}", phone_id(1))).await;
    missing.problem(404, "customer_not_found");
    let long = "a".repeat(65);
    for garbage in ["%00", "%20", "a%20b", "%D0%B9", &long, "..%2f..", "%ff"] {
        let reply = customers.dispatcher.get(&format!("customers/{garbage}")).await;
        assert_eq!(reply.status, 404, "{garbage}: {}", reply.text());
        assert_eq!(reply.header("content-type"), "application/problem+json");
    }
}

#[actix_web::test]
async fn ids_of_every_form_are_kept_apart() {
    let customers = Customers::start().await;
    let ids = [
        "0123456789abcdef0123456789abcdef",
        "0123456789ABCDEF0123456789ABCDEF",
        "01234567-89ab-cdef-0123-456789abcdef",
        "01234567-89AB-CDEF-0123-456789abcdef",
        "0123456789abcdef0123456789abcde",
        "!\"#$&'()*+,-.:;<=>@[]^_`{|}~",
        "1",
    ];
    customers.known(ids.map(|id| (id.to_owned(), "2026-05-01T12:00:00Z".to_owned()))).await;
    for id in ids {
        let escaped: String = id.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let reply = customers.dispatcher.get(&format!("customers/{escaped}")).await;
        let profile = reply.expect(200);
        assert_eq!(profile["personal_phone_id"], id);
        assert_eq!(profile["orders_count"], 1);
    }
}
