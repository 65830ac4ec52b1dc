//! Many upserts at once, down both ways to the database: gathered in batches, and each in a
//! transaction under its own key.

use super::*;

/// Upserts of customer `id` of the park, all at once; odd ones under a key.
async fn upsert_all(customers: &Customers, ids: &[String]) -> Vec<Value> {
    let upserts = ids.iter().enumerate().map(|(number, id)| {
        let caller = if number % 2 == 0 {
            customers.internal.clone()
        } else {
            customers.internal.header("Idempotency-Key", &format!("order-{number}"))
        };
        let at = Timestamp::from_second(1_767_225_600 + i64::try_from(number).unwrap()).unwrap();
        let body = json!({
            "park_id": PARK, "personal_phone_id": id, "ordered_at": at.to_string(),
            "order_options": {"comment": number.to_string()},
        });
        async move { caller.post("customers/upsert", body).await.expect(200) }
    });
    join_all(upserts).await
}

#[actix_web::test]
async fn fifty_orders_of_one_customer_at_once_are_all_counted() {
    let customers = Customers::start().await;
    let answers = upsert_all(&customers, &vec![phone_id(1); 50]).await;
    let mut counts: Vec<i64> =
        answers.iter().map(|answer| answer["orders_count"].as_i64().unwrap()).collect();
    counts.sort_unstable();
    assert_eq!(counts, (1..=50).collect::<Vec<i64>>(), "each saw its own place in the row");
    let profile = customers.profile(&phone_id(1)).await;
    assert_eq!(profile["orders_count"], 50);
    assert_eq!(profile["order_options"]["comment"], "49", "the newest's, whoever came last");
    assert_eq!(profile["first_order_at"], "2026-01-01T00:00:00Z");
    assert_eq!(profile["last_order_at"], "2026-01-01T00:00:49Z");
}

#[actix_web::test]
async fn orders_of_different_customers_at_once_get_each_its_own_answer() {
    let customers = Customers::start().await;
    let ids: Vec<String> = (0..200).map(phone_id).collect();
    for (number, (answer, id)) in upsert_all(&customers, &ids).await.iter().zip(&ids).enumerate() {
        assert_eq!(answer["personal_phone_id"], id.as_str());
        assert_eq!(answer["orders_count"], 1);
        assert_eq!(answer["order_options"]["comment"], number.to_string());
    }
}

#[actix_web::test]
async fn orders_of_a_few_customers_at_once_neither_get_lost_nor_block_each_other() {
    let customers = Customers::start().await;
    let ids: Vec<String> = (0..300).map(|number| phone_id(number * 7 % 5)).collect();
    upsert_all(&customers, &ids).await;
    for number in 0..5 {
        assert_eq!(customers.profile(&phone_id(number)).await["orders_count"], 60);
    }
}

#[actix_web::test]
async fn one_callers_impossible_order_is_not_its_neighbours_fault() {
    let customers = Customers::start().await;
    // The next order of this one does not fit into its counter.
    let full = phone_id(0);
    customers.known([(full.clone(), "2026-01-01T00:00:00Z".to_owned())]).await;
    let fill = "UPDATE fleet_customers.customers SET orders_count = 2147483647";
    customers.app.database().execute(fill).await;
    let upserts = (0..60).map(|number| {
        let id = if number % 20 == 10 { full.clone() } else { phone_id(number + 1) };
        let body = json!({
            "park_id": PARK, "personal_phone_id": id, "ordered_at": "2026-01-01T00:00:00Z",
        });
        customers.internal.post("customers/upsert", body)
    });
    for (number, reply) in join_all(upserts).await.iter().enumerate() {
        if number % 20 == 10 {
            reply.problem(500, "internal");
        } else {
            assert_eq!(reply.expect(200)["orders_count"], 1);
        }
    }
}

#[actix_web::test]
async fn reads_and_writes_of_one_customer_at_once_all_answer() {
    let customers = Customers::start().await;
    let id = customers.order(PARK, PHONE).await;
    let path = format!("customers/{id}");
    let work = (0..60).map(|number| {
        let (customers, path, id) = (&customers, &path, &id);
        async move {
            match number % 4 {
                0 => customers.dispatcher.get(path).await.expect(200),
                1 => customers.upsert(json!({
                    "park_id": PARK, "personal_phone_id": id, "ordered_at": "2026-01-01T00:00:00Z",
                })).await,
                2 => customers.dispatcher.patch(path, json!({"sms_enabled": true})).await.expect(200),
                _ => {
                    let keys = json!({"customers": [{"park_id": PARK, "personal_phone_id": id}]});
                    customers.internal.post("customers/retrieve", keys).await.expect(200)
                }
            }
        }
    });
    join_all(work).await;
    let reply = customers.dispatcher.get(&path).await;
    assert_eq!(reply.expect(200)["orders_count"], 16);
    assert_eq!(reply.etag(), "\"v31\"", "every change is a version: 1 + 15 orders + 15 edits");
}
