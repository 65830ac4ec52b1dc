//! What may stand in the tables, and what may not.

use super::*;

/// Spellings by which a phone, or a part of it, would be recognised.
const TRACES: [&str; 6] = ["79991234567", "9991234567", "999 123", "Коваленко", "Живаго", "Гончар"];

#[actix_web::test]
async fn no_phone_and_no_name_stands_in_any_table() {
    let customers = Customers::start().await;
    let keyed = customers
        .internal
        .header("Idempotency-Key", "79991234567-Гончар".split('-').next().unwrap());
    for (phone, name) in [("+7 999 123-45-67", "Анна Коваленко"), ("89991234567", "Юрий Живаго")]
    {
        for caller in
            [&customers.internal, &keyed.header("Idempotency-Key", &format!("k{}", name.len()))]
        {
            let order = json!({
                "park_id": PARK, "phone": phone, "name": name, "order_options": options(),
                "ordered_at": "2026-05-01T12:00:00Z",
            });
            caller.post("customers/upsert", order).await.expect(200);
        }
    }
    keyed
        .post(
            "customers/upsert",
            json!({"park_id": PARK, "phone": "+79991234567", "ordered_at": "2026-05-01T12:00:00Z"}),
        )
        .await
        .expect(200);
    let found =
        customers.dispatcher.post("customers/find-by-phone", json!({"phone": "+79991234567"}));
    let id = id_of(&found.await.expect(200));
    let path = format!("customers/{id}");
    let edit = json!({"name": "Вера Гончар", "sms_enabled": true, "order_options": options()});
    customers.dispatcher.put(&path, edit.clone()).await.expect(200);
    customers.dispatcher.patch(&path, edit).await.expect(200);

    let dump = customers.app.database().dump().await;
    assert!(dump.contains("подъезда"), "the dump shows texts:\n{dump}");
    assert!(dump.contains(&id), "and ids within bytes:\n{dump}");
    for trace in TRACES {
        assert!(!dump.contains(trace), "{trace} in\n{dump}");
    }
}

#[actix_web::test]
async fn an_id_reads_as_it_was_given_at_a_database_prompt() {
    let customers = Customers::start().await;
    let id = customers.order(PARK, PHONE).await;
    let sql = "SELECT fleet_platform.readable_id(personal_phone_id), \
         fleet_platform.readable_id(park_id) \
         FROM fleet_customers.customers JOIN fleet_customers.parks USING (park_no)";
    let rows = customers.app.database().query(sql, &[]).await;
    assert_eq!((rows[0].get::<_, &str>(0), rows[0].get::<_, &str>(1)), (id.as_str(), PARK));
}

#[actix_web::test]
async fn of_order_options_only_what_is_not_empty_is_stored() {
    let customers = Customers::start().await;
    for (number, (sent, kept)) in [
        (json!({"classes": [], "requirements": {}}), json!({})),
        (options(), options()),
        (
            json!({"classes": [], "requirements": {"a": {}}, "comment": ""}),
            json!({"requirements": {"a": {}}, "comment": ""}),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let id = phone_id(number);
        let order = json!({
            "park_id": PARK, "personal_phone_id": id, "order_options": sent,
            "ordered_at": "2026-05-01T12:00:00Z",
        });
        customers.upsert(order).await;
        let stored = "SELECT order_options::text FROM fleet_customers.customers \
             WHERE fleet_platform.readable_id(personal_phone_id) = $1";
        let rows = customers.app.database().query(stored, &[&id]).await;
        let stored: Value = serde_json::from_str(rows[0].get(0)).unwrap();
        assert_eq!(stored, kept);
        assert_eq!(customers.profile(&id).await["order_options"], sent);
    }
}

#[actix_web::test]
async fn new_parks_that_many_orders_name_at_once_are_numbered_once() {
    let customers = Customers::start().await;
    // Parks that nobody knows yet, from many callers at once.
    let upserts = (0..60).map(|number| {
        let park = format!("new-park-{}", number % 4);
        let at = "2026-05-01T12:00:00Z";
        customers.upsert(
            json!({"park_id": park, "personal_phone_id": phone_id(number % 12), "ordered_at": at}),
        )
    });
    join_all(upserts).await;
    let parks = "SELECT count(*) FROM fleet_customers.parks";
    assert_eq!(customers.app.database().count(parks).await, 4);
    let orders = "SELECT sum(orders_count) FROM fleet_customers.customers";
    assert_eq!(customers.app.database().count(orders).await, 60, "none lost, none twice");
    assert_eq!(
        customers.app.database().count("SELECT count(*) FROM fleet_customers.customers").await,
        12
    );
}
