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
    let edit = json!({"name": "Вера Гончар", "sms_enabled": true});
    customers.dispatcher.put(&path, edit.clone()).await.expect(200);
    customers.dispatcher.patch(&path, edit).await.expect(200);

    let dump = customers.app.database.dump().await;
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
    let rows = customers.app.database.query(sql, &[]).await;
    assert_eq!((rows[0].get::<_, &str>(0), rows[0].get::<_, &str>(1)), (id.as_str(), PARK));
}

#[actix_web::test]
async fn order_options_are_stored_without_what_is_empty() {
    let customers = Customers::start().await;
    let order = json!({
        "park_id": PARK, "phone": PHONE,
        "order_options": {"classes": ["econom"], "requirements": {}, "comment": null},
        "ordered_at": "2026-05-01T12:00:00Z",
    });
    let answer = customers.upsert(order).await;
    assert_eq!(answer["order_options"], json!({"classes": ["econom"], "requirements": {}}));
    let sql = "SELECT order_options::text FROM fleet_customers.customers";
    let rows = customers.app.database.query(sql, &[]).await;
    assert_eq!(rows[0].get::<_, &str>(0), r#"{"classes": ["econom"]}"#);
}
