//! The product metrics: reads by kind, updates by source.

use super::*;

#[actix_web::test]
async fn reads_and_updates_are_counted_by_kind() {
    let customers = Customers::start().await;
    let id = customers.order(PARK, PHONE).await;
    let path = format!("customers/{id}");
    let keyed = customers.internal.header("Idempotency-Key", "k");
    let at = Timestamp::now().to_string();
    let order = json!({"park_id": PARK, "phone": PHONE, "ordered_at": at});
    for _ in 0..3 {
        keyed.post("customers/upsert", order.clone()).await.expect(200);
    }
    for phone in [PHONE, PHONE, "+79990000002"] {
        customers.dispatcher.post("customers/find-by-phone", json!({"phone": phone})).await;
    }
    customers.dispatcher.get("customers").await.expect(200);
    customers.dispatcher.get(&path).await.expect(200);
    customers.dispatcher.patch(&path, json!({"sms_enabled": true})).await.expect(200);
    let keys = json!({"customers": [{"park_id": PARK, "personal_phone_id": id}]});
    customers.internal.post("customers/retrieve", keys).await.expect(200);
    for _ in 0..2 {
        customers.dispatcher.delete(&path).await.expect(204);
    }
    for (labels, expected) in [
        ("reads_total{kind=\"by_phone_found\"}", 2.0),
        ("reads_total{kind=\"by_phone_not_found\"}", 1.0),
        ("reads_total{kind=\"list\"}", 1.0),
        ("reads_total{kind=\"profile\"}", 1.0),
        ("reads_total{kind=\"retrieve\"}", 1.0),
        // An order and one that was sent three times; an edit and a deletion.
        ("updates_total{source=\"order\"}", 2.0),
        ("updates_total{source=\"dispatcher\"}", 2.0),
    ] {
        let found = customers.app.metric(&format!("fleet_customers_{labels}")).await;
        assert!((found - expected).abs() < f64::EPSILON, "{labels}: {found}, not {expected}");
    }
}

#[actix_web::test]
async fn no_label_holds_a_park_a_phone_or_an_id() {
    let customers = Customers::start().await;
    let id = customers.order(PARK, PHONE).await;
    customers.profile(&id).await;
    let text = customers.app.anonymous().get("metrics").await.text();
    assert!(text.contains("fleet_customers_reads_total"));
    assert!(
        text.contains("route=\"/fleet-customers/dispatcher/v1/customers/{personal_phone_id}\"")
    );
    for secret in [PARK, PHONE, &PHONE[1..], &id] {
        assert!(!text.contains(secret), "{secret} in\n{text}");
    }
}
