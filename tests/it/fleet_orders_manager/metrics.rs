//! What the product watches.

use super::*;
use crate::support::names_of_series;

#[actix_web::test]
async fn orders_are_counted_by_step_and_outcome() {
    let desk = Desk::alone(FAULTS).await;
    desk.dispatcher.post("orders/estimate", trip()).await.expect(200);
    let id = desk.committed(trip()).await;
    desk.commit(&id).await.expect(200);
    desk.dispatcher.post("orders/edit", json!({"order_id": id, "revision": 2})).await.expect(200);
    desk.dispatcher.post("orders/edit", json!({"order_id": id, "revision": 2})).await.expect(409);
    desk.dispatcher.post("orders/cancel", json!({"order_id": id})).await.expect(200);
    desk.commit(&id).await.expect(409);
    desk.commit(NOBODYS).await.expect(404);
    desk.app.fault("int-api", json!({"kind": "close"}));
    assert!(come_back(&desk.dispatcher.post("orders/estimate", trip()).await) >= 1);
    assert!(come_back(&desk.dispatcher.post("orders/draft", trip()).await) >= 1);
    assert!(come_back(&desk.commit(&id).await) >= 1);
    assert!(come_back(&desk.dispatcher.post("orders/cancel", json!({"order_id": id})).await) >= 1);
    for (step, outcomes) in [
        ("estimated", [1, 0, 1]),
        ("drafted", [1, 0, 1]),
        ("committed", [2, 2, 1]),
        ("edited", [1, 1, 0]),
        ("cancelled", [1, 0, 1]),
    ] {
        for (outcome, count) in ["ok", "refused", "unavailable"].into_iter().zip(outcomes) {
            assert_eq!(desk.orders_total(step, outcome).await, count, "{step} {outcome}");
        }
    }
}

#[actix_web::test]
async fn no_label_names_a_park_an_order_or_a_person() {
    let desk = Desk::with_customers("").await;
    let park = desk.app.dispatcher(DOMAIN, "park-of-the-metrics");
    let id = order_id(&park.post("orders/draft", trip()).await.expect(200));
    commit(&park, &id).await.expect(200);
    park.get(&format!("orders/{id}")).await.expect(200);
    eventually("the customer is recorded", async || desk.customers_total("recorded").await == 1)
        .await;
    let metrics = names_of_series(&desk.app.anonymous().get("metrics").await.text());
    for secret in ["park-of-the-metrics", &id, DIGITS, DISPATCHER_ID, "Тверская"] {
        let telling = metrics.lines().find(|name| name.contains(secret));
        assert_eq!(telling, None, "{secret}");
    }
    let route = "route=\"/fleet-orders-manager/dispatcher/v1/orders/{order_id}\"";
    assert!(metrics.contains(route), "{metrics}");
}
