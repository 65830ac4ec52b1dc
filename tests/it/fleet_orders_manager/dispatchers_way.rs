//! What a dispatcher does, from the phone to the cancelled order, in one go.

use super::*;
use crate::support::app::{NO_DATABASE, start_sandbox};

/// Step by step, whoever serves the two domains.
async fn walk(orders: &Caller, customers: &Caller) {
    let phone = json!({"phone": TYPED});
    let active = async || {
        let found = orders.post("orders/active-by-phone", phone.clone()).await.expect(200);
        found["orders"].as_array().expect("orders").clone()
    };
    assert_eq!(active().await, Vec::<Value>::new());
    let found = customers.post("customers/find-by-phone", phone.clone()).await;
    found.problem(404, "customer_not_found");

    let estimate = orders.post("orders/estimate", trip()).await.expect(200);
    assert_eq!(estimate["currency"], "RUB");
    for (estimate, class) in
        estimate["estimates"].as_array().unwrap().iter().zip(["econom", "business"])
    {
        assert_eq!(estimate["class"], class);
        let price = estimate["price"].as_str().expect("a decimal text");
        assert!(price.split_once('.').is_some_and(|(_, kopecks)| kopecks.len() == 2), "{price}");
    }

    let mut draft = trip();
    draft["offer_id"] = estimate["offer_id"].clone();
    let form = orders.header("Idempotency-Key", "form-1");
    let id = order_id(&form.post("orders/draft", draft.clone()).await.expect(200));
    assert_eq!(order_id(&form.post("orders/draft", draft).await.expect(200)), id);
    assert_eq!(active().await, Vec::<Value>::new(), "a draft is no order yet");

    let placed = json!({"order_id": id, "status": "committed"});
    for _ in 0..3 {
        assert_eq!(commit(orders, &id).await.expect(200), placed);
    }
    let found = active().await;
    assert_eq!(found.len(), 1);
    assert_eq!((&found[0]["order_id"], &found[0]["class"]), (&json!(id), &json!("econom")));
    assert_eq!(found[0]["route"], trip()["route"]);

    let edit = |revision: &Value| json!({"order_id": id, "revision": revision, "comment": "У третьего подъезда"});
    let stale = orders.post("orders/edit", edit(&json!(1))).await.problem(409, "revision_conflict");
    let current = &stale["current"];
    assert_eq!((&current["order_id"], &current["revision"]), (&json!(id), &json!(2)), "{stale}");
    assert_eq!(current["comment"], trip()["comment"]);
    let edited = orders.post("orders/edit", edit(&current["revision"])).await.expect(200);
    assert_eq!(edited, json!({"order_id": id, "status": "committed", "revision": 3}));

    let cancel = json!({"order_id": id, "revision": 3, "reason": "changed_mind"});
    let cancelled = orders.post("orders/cancel", cancel).await.expect(200);
    assert_eq!(cancelled, json!({"order_id": id, "status": "cancelled", "revision": 4}));
    let shown = orders.get(&format!("orders/{id}")).await.expect(200);
    assert_eq!((&shown["status"], &shown["revision"]), (&json!("cancelled"), &json!(4)));
    assert_eq!(shown["comment"], "У третьего подъезда");
    assert_eq!(active().await, Vec::<Value>::new());
    commit(orders, &id).await.problem(409, "order_cancelled");

    let customer = customer(customers).await;
    assert_eq!((&customer["phone"], &customer["orders_count"]), (&json!(PHONE), &json!(1)));
    let options = &customer["order_options"];
    assert_eq!(options["classes"], trip()["classes"], "{customer}");
    assert_eq!(options["requirements"], trip()["requirements"]);
    assert_eq!(options["payment_type"], "cash");
}

#[actix_web::test]
async fn the_whole_way_with_both_domains_in_one_process() {
    let desk = Desk::with_customers("").await;
    walk(&desk.dispatcher, &desk.app.dispatcher(CUSTOMERS, PARK)).await;
    let name = "upstream_requests_total{method=\"customers_upsert\"";
    let metrics = desk.app.anonymous().get("metrics").await.text();
    assert!(!metrics.contains(name), "the neighbour is called directly");
}

#[actix_web::test]
async fn the_whole_way_with_each_domain_in_a_process_of_its_own() {
    let sandbox = start_sandbox();
    let mut customers = CustomersProcess::make();
    customers.start(&sandbox).await;
    let config = configuration(NO_DATABASE, &sandbox) + &customers.as_upstream();
    let orders = Server::start(&config, &[("FLEET__DOMAINS", DOMAIN)]).await;
    walk(&dispatcher(&orders.anonymous(), DOMAIN), &customers.dispatcher()).await;
    let ready = orders.anonymous().get("readyz").await.json();
    let dependencies = ready["dependencies"].as_array().unwrap();
    assert!(dependencies.iter().any(|row| row["name"] == "fleet_customers"), "{ready}");
}
