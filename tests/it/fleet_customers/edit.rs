//! `PUT` and `PATCH dispatcher/v1/customers/{personal_phone_id}`.

use actix_web::http::Method;

use super::*;

/// A customer with everything, and its path.
async fn full(customers: &Customers) -> String {
    let order = json!({
        "park_id": PARK, "phone": PHONE, "name": "Анна", "sms_enabled": true,
        "order_options": options(), "ordered_at": "2026-05-01T12:00:00Z",
    });
    format!("customers/{}", id_of(&customers.upsert(order).await))
}

#[actix_web::test]
async fn put_replaces_the_record_and_removes_what_is_absent() {
    let customers = Customers::start().await;
    let path = full(&customers).await;
    let before = customers.dispatcher.get(&path).await.expect(200);

    let other = json!({"classes": ["business"], "requirements": {}});
    let body = json!({"name": " Борис ", "sms_enabled": false, "order_options": other});
    let reply = customers.dispatcher.put(&path, body).await;
    let edited = reply.expect(200);
    assert_eq!(edited["name"], "Борис", "without blanks around it");
    assert_eq!(edited["sms_enabled"], false);
    assert_eq!(edited["order_options"], other);
    assert_eq!(reply.etag(), "\"v2\"");
    assert_eq!(customers.dispatcher.get(&path).await.expect(200), edited);
    for member in ["phone", "orders_count", "first_order_at", "last_order_at", "created_at"] {
        assert_eq!(edited[member], before[member], "{member} is not a dispatcher's to change");
    }
    assert!(edited["updated_at"].as_str() > before["updated_at"].as_str());

    let cleared = customers
        .dispatcher
        .put(&path, json!({"sms_enabled": true, "order_options": null}))
        .await
        .expect(200);
    assert_eq!(cleared.get("name"), None);
    assert_eq!(cleared["order_options"], Value::Null);
    assert_eq!(cleared["sms_enabled"], true);
}

#[actix_web::test]
async fn patch_changes_only_what_it_names() {
    let customers = Customers::start().await;
    let path = full(&customers).await;
    let patch = async |patch: Value| {
        let merge = customers.dispatcher.header("Content-Type", "application/merge-patch+json");
        merge.patch(&path, patch).await.expect(200)
    };
    let mut expected = customers.dispatcher.get(&path).await.expect(200);
    for (change, apply) in [
        (json!({}), json!({})),
        (json!({"sms_enabled": false}), json!({"sms_enabled": false})),
        (json!({"name": "Борис"}), json!({"name": "Борис"})),
        (
            json!({"sms_enabled": true, "name": "Вера"}),
            json!({"sms_enabled": true, "name": "Вера"}),
        ),
        (json!({"sms_enabled": null}), json!({"sms_enabled": false})),
    ] {
        let patched = patch(change.clone()).await;
        expected["updated_at"] = patched["updated_at"].clone();
        for (member, value) in apply.as_object().unwrap() {
            expected[member] = value.clone();
        }
        assert_eq!(patched, expected, "{change}");
    }
    let unnamed = patch(json!({"name": null})).await;
    assert_eq!(unnamed.get("name"), None);
    assert_eq!(unnamed["order_options"], options());
}

#[actix_web::test]
async fn patch_merges_options_member_by_member() {
    let customers = Customers::start().await;
    let path = full(&customers).await;
    let patch = async |options: Value| {
        let body = json!({"order_options": options});
        customers.dispatcher.patch(&path, body).await.expect(200)["order_options"].clone()
    };
    let mut expected = options();
    assert_eq!(patch(json!({})).await, expected);

    let merged = patch(json!({"requirements": {"child_seat": null, "nested": {"b": 1}}})).await;
    expected["requirements"].as_object_mut().unwrap().remove("child_seat");
    expected["requirements"]["nested"]["b"] = json!(1);
    assert_eq!(merged, expected);

    let merged = patch(json!({"comment": null, "classes": []})).await;
    expected.as_object_mut().unwrap().remove("comment");
    expected["classes"] = json!([]);
    assert_eq!(merged, expected);

    assert_eq!(patch(Value::Null).await, Value::Null);
    let made = patch(json!({"payment_type": "card", "comment": null})).await;
    assert_eq!(made, json!({"classes": [], "requirements": {}, "payment_type": "card"}));
}

#[actix_web::test]
async fn an_edit_based_on_an_old_version_is_refused() {
    let customers = Customers::start().await;
    let path = full(&customers).await;
    let body = json!({"sms_enabled": false, "order_options": null});
    let old = customers.dispatcher.get(&path).await.etag().to_owned();
    let send = async |method: Method, tag: &str| {
        let caller = customers.dispatcher.header("If-Match", tag);
        caller.send(method, &path, Some(body.to_string())).await
    };
    let reply = send(Method::PUT, &old).await;
    reply.expect(200);
    let current = reply.etag().to_owned();
    assert_ne!(current, old);
    for method in [Method::PUT, Method::PATCH] {
        for stale in [&old, "\"v999\"", "\"other\"", "v2", "", &format!("W/{current}")] {
            let before = customers.dispatcher.get(&path).await.expect(200);
            send(method.clone(), stale).await.problem(412, "stale_version");
            assert_eq!(customers.dispatcher.get(&path).await.expect(200), before, "{stale}");
        }
    }
    for good in [current.clone(), "*".to_owned(), format!("{old}, \"v3\"")] {
        send(Method::PATCH, &good).await.expect(200);
        send(Method::PATCH, "*").await.expect(200);
        // Back to where the tags of this loop count from.
        customers.app.database().execute("UPDATE fleet_customers.customers SET version = 3").await;
    }
}

#[actix_web::test]
async fn an_order_between_reading_and_editing_makes_the_edit_stale() {
    let customers = Customers::start().await;
    let path = full(&customers).await;
    let read = customers.dispatcher.get(&path).await;
    customers.order(PARK, PHONE).await;
    let edit = customers.dispatcher.header("If-Match", read.etag());
    edit.put(&path, json!({"sms_enabled": false, "order_options": null}))
        .await
        .problem(412, "stale_version");
}

#[actix_web::test]
async fn of_edits_based_on_the_same_version_one_wins() {
    let customers = Customers::start().await;
    let path = full(&customers).await;
    let tag = customers.dispatcher.get(&path).await.etag().to_owned();
    let edits = (0..10).map(|number| {
        let caller = customers.dispatcher.header("If-Match", &tag);
        let body = json!({"order_options": {"comment": format!("edit {number}")}});
        let path = &path;
        async move { caller.patch(path, body).await }
    });
    let replies = join_all(edits).await;
    let won: Vec<Value> =
        replies.iter().filter(|reply| reply.status == 200).map(|reply| reply.json()).collect();
    assert_eq!(won.len(), 1);
    assert_eq!(replies.iter().filter(|reply| reply.status == 412).count(), 9);
    assert_eq!(customers.dispatcher.get(&path).await.expect(200), won[0]);
}

#[actix_web::test]
async fn what_is_not_valid_is_refused_where_it_is_wrong_and_changes_nothing() {
    let customers = Customers::start().await;
    let path = full(&customers).await;
    let before = customers.dispatcher.get(&path).await.expect(200);
    let options =
        |member: &str, value: Value| json!({"sms_enabled": true, "order_options": {member: value}});
    let many: Vec<String> = (0..21).map(|number| number.to_string()).collect();
    let deep = json!({"big": "x".repeat(9_000)});
    for (body, put, patch) in [
        (json!({"sms_enabled": "yes"}), "/sms_enabled", "/sms_enabled"),
        (json!({"sms_enabled": true, "phone": PHONE}), "/phone", "/phone"),
        (json!({"sms_enabled": true, "orders_count": 5}), "/orders_count", "/orders_count"),
        (json!({"sms_enabled": true, "name": ""}), "/name", "/name"),
        (json!({"sms_enabled": true, "name": " \t "}), "/name", "/name"),
        (json!({"sms_enabled": true, "name": "a\u{0}b"}), "/name", "/name"),
        (json!({"sms_enabled": true, "name": "я".repeat(201)}), "/name", "/name"),
        (json!({"sms_enabled": true, "name": 5}), "/name", "/name"),
        (json!({"sms_enabled": true, "order_options": 5}), "/order_options", "/order_options"),
        (options("tariff", json!("econom")), "/order_options/tariff", "/order_options"),
        (options("classes", json!("econom")), "/order_options/classes", "/order_options"),
        (
            options("classes", json!(["a", ""])),
            "/order_options/classes/1",
            "/order_options/classes/1",
        ),
        (
            options("classes", json!(["\u{0}"])),
            "/order_options/classes/0",
            "/order_options/classes/0",
        ),
        (options("classes", json!(many)), "/order_options/classes", "/order_options/classes"),
        (options("requirements", json!([])), "/order_options/requirements", "/order_options"),
        (
            options("requirements", deep),
            "/order_options/requirements",
            "/order_options/requirements",
        ),
        (
            options("requirements", json!({"a": {"b": "\u{0}"}})),
            "/order_options/requirements",
            "/order_options/requirements",
        ),
        (
            options("requirements", json!({"a\u{0}": 1})),
            "/order_options/requirements",
            "/order_options/requirements",
        ),
        (options("comment", json!("\u{0}")), "/order_options/comment", "/order_options/comment"),
        (
            options("comment", json!("x".repeat(1_001))),
            "/order_options/comment",
            "/order_options/comment",
        ),
        (
            options("payment_type", json!("")),
            "/order_options/payment_type",
            "/order_options/payment_type",
        ),
        (
            options("payment_type", json!("a\u{0}")),
            "/order_options/payment_type",
            "/order_options/payment_type",
        ),
    ] {
        let mut whole = json!({"order_options": null});
        whole.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        customers.dispatcher.put(&path, whole).await.invalid_at(put);
        customers.dispatcher.patch(&path, body).await.invalid_at(patch);
    }
    for partial in [json!({"name": "Борис", "order_options": null}), json!({"sms_enabled": true})]
    {
        customers.dispatcher.put(&path, partial).await.invalid_at("");
    }
    assert_eq!(customers.dispatcher.get(&path).await.expect(200), before);
}

#[actix_web::test]
async fn nobody_is_made_by_an_edit() {
    let customers = Customers::start().await;
    let path = format!("customers/{}", phone_id(1));
    for method in [Method::PUT, Method::PATCH] {
        let body = json!({"sms_enabled": true, "name": "Борис", "order_options": null}).to_string();
        for caller in [&customers.dispatcher, &customers.dispatcher.header("If-Match", "\"v1\"")] {
            let reply = caller.send(method.clone(), &path, Some(body.clone())).await;
            reply.problem(404, "customer_not_found");
        }
    }
    assert_eq!(customers.calls("names/store"), 0, "no name is kept for nobody");
    assert_eq!(
        customers.app.database().count("SELECT count(*) FROM fleet_customers.customers").await,
        0
    );
}
