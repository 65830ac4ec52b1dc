//! Support staff removes a binding.

use super::*;

#[actix_web::test]
async fn a_removed_id_is_gone_and_may_be_bound_to_another_licence() {
    let world = World::start().await;
    let (driver, other) = (world.driver(0), world.driver(1));
    driver.binds().await;
    let id = driver.license.krt_id.as_str();
    let path = format!("id/{}", driver.license.pd_id);
    for _ in 0..2 {
        let reply = world.internal.delete(&path).await;
        assert!(reply.status == 204 && reply.body.is_empty());
    }
    assert_eq!(driver.presence().await, json!({"has_id": false}));
    assert_eq!(world.outcomes("removed").await, 1);
    // The regulator gives it to somebody else.
    let number = &other.license.number;
    world.app.sandbox.set_krt_driver(id, json!({"license_number": number})).unwrap();
    assert_eq!(other.give(id).await.expect(200), shown(id));
    driver.give(id).await.problem(409, "id_bound_to_another_license");
    // And the first gets a new one.
    let number = &driver.license.number;
    world.app.sandbox.set_krt_driver("new-id-43", json!({"license_number": number})).unwrap();
    assert_eq!(driver.give("new-id-43").await.expect(200), shown("new-id-43"));
    let updates = world.internal.get("id/updates").await.expect(200);
    let items = updates["items"].as_array().unwrap();
    let ids: Vec<&str> = items.iter().map(|item| item["deptrans_id"].as_str().unwrap()).collect();
    assert_eq!(ids, [id, "new-id-43"]);
}

#[actix_web::test]
async fn only_back_end_services_remove() {
    let world = World::start().await;
    let driver = world.app.caller("test-driver", DOMAIN, "internal");
    driver.delete("id/license").await.problem(403, "forbidden");
    world
        .internal
        .without("Authorization")
        .delete("id/license")
        .await
        .problem(401, "unauthenticated");
    world.internal.delete("id/with%20space").await.problem(404, "not_found");
}
