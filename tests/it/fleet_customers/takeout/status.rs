//! `POST takeout/v1/status`.

use super::*;

#[actix_web::test]
async fn what_is_kept_is_counted_over_all_parks() {
    let customers = Customers::start().await;
    let id = phone_id(1);
    assert_eq!(customers.status(&id).await["status"], "empty");
    customers.person(&id, NAME, &[PARK, OTHER_PARK, "park-3"]).await;
    customers.person(&phone_id(2), NAME, &[PARK]).await;
    let status = customers.status(&id).await;
    assert_eq!(status["status"], "ready_to_delete");
    let categories = &status["categories"];
    for (name, count) in [
        ("profiles", 3),
        ("favourite_locations", 6),
        ("recurring_routes", 3),
        ("recent_answers", 9),
    ] {
        assert_eq!(count_of(categories, name), count, "{name}");
    }
    let both = persons(&[&id, &phone_id(2), &id]);
    let both = takeout(&customers.app).post("status", both).await.expect(200);
    assert_eq!(count_of(&both["categories"], "profiles"), 4);
}

#[actix_web::test]
async fn whoever_is_not_known_has_every_category_empty() {
    let customers = Customers::start().await;
    let status = customers.status(&phone_id(9)).await;
    assert_eq!(status["status"], "empty");
    let categories = status["categories"].as_array().unwrap();
    assert_eq!(categories.len(), 4);
    assert!(categories.iter().all(|category| category["count"] == 0), "{status}");
}

#[actix_web::test]
async fn malformed_requests_are_refused() {
    let customers = Customers::start().await;
    let takeout = takeout(&customers.app);
    let many: Vec<String> = (0..501).map(phone_id).collect();
    for path in ["status", "delete"] {
        let mut body = request("r", &[]);
        if path == "status" {
            body.as_object_mut().unwrap().remove("request_id");
        }
        takeout.post(path, body.clone()).await.invalid_at("/personal_phone_ids");
        body["personal_phone_ids"] = json!(many);
        takeout.post(path, body.clone()).await.invalid_at("/personal_phone_ids");
        body["personal_phone_ids"] = json!(["two words"]);
        takeout.post(path, body.clone()).await.invalid_at("/personal_phone_ids/0");
        body["personal_phone_ids"] = json!([phone_id(1)]);
        body["park_id"] = json!(PARK);
        takeout.post(path, body).await.problem(400, "invalid_request");
    }
    takeout.post("delete", request("", &["a"])).await.invalid_at("/request_id");
    let most = json!({"personal_phone_ids": many[..500]});
    takeout.post("status", most).await.expect(200);
}

#[actix_web::test]
async fn other_audiences_are_refused() {
    let customers = Customers::start().await;
    for token in ["test-dispatcher", "test-driver", "test-internal"] {
        let caller = customers.app.caller(token, DOMAIN, "takeout");
        for reply in [
            caller.post("status", persons(&["a"])).await,
            caller.post("delete", request("r", &["a"])).await,
            caller.get("receipts/r").await,
        ] {
            assert_eq!(reply.status, 403, "{token}: {}", reply.text());
        }
    }
    let erasures = "SELECT count(*) FROM fleet_customers.erasures";
    assert_eq!(customers.app.database().count(erasures).await, 0);
}
