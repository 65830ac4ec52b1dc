//! Ids that are not bound.

use super::*;

#[actix_web::test]
async fn an_id_of_another_form_is_refused_without_a_question() {
    let world = World::start().await;
    let driver = world.driver(0);
    let long = "1".repeat(65);
    for id in ["", "abc", "with space", "ид-12345", "a/b/c", "line\nbreak", "nul\u{0}l", &long] {
        driver.give(id).await.invalid_at("/id");
    }
    for (body, pointer) in
        [(json!({"id": 5}), "/id"), (json!({"id": null}), "/id"), (json!({}), ""), (json!([]), "")]
    {
        driver.caller.post(ID, body).await.invalid_at(pointer);
    }
    driver.caller.post(ID, json!({"id": "1234", "x": 1})).await.invalid_at("/x");
    assert_eq!((world.checks(), world.bindings().await), (0, 0));
}

#[actix_web::test]
async fn who_is_not_known_or_has_no_licence_has_nothing_to_bind_to() {
    let world = World::start().await;
    let unknown = world.app.driver(DOMAIN, "park-1", "nobody");
    give(&unknown, "123456").await.problem(404, "driver_profile_not_found");
    let without = world.app.sandbox.driver(7);
    let without = world.app.driver(DOMAIN, &without.park_id, &without.driver_id);
    give(&without, "123456").await.problem(409, "driver_license_unknown");
    // A licence whose number `personal` does not know.
    let license = json!({"license_pd_id": "not-of-personal"});
    world.app.sandbox.set_profile("park-1", "odd", &license).unwrap();
    let odd = world.app.driver(DOMAIN, "park-1", "odd");
    eventually("the profile is known", async || give(&odd, "123456").await.status == 409).await;
    give(&odd, "123456").await.problem(409, "driver_license_unknown");
    assert_eq!((world.checks(), world.bindings().await), (0, 0));
    assert!(world.outcomes("unknown_license").await >= 3);
}

#[actix_web::test]
async fn an_id_that_is_not_the_licences_is_refused() {
    let world = World::start().await;
    let (driver, other) = (world.driver(0), world.driver(1));
    driver.give(&other.license.krt_id).await.problem(422, "id_does_not_match_license");
    driver.give("999999999999").await.problem(422, "id_does_not_match_license");
    assert_eq!((driver.presence().await, world.bindings().await), (json!({"has_id": false}), 0));
    assert_eq!((world.checks(), world.outcomes("mismatch").await), (2, 2));
}

#[actix_web::test]
async fn an_id_that_is_bound_to_another_licence_is_refused_without_asking_the_regulator() {
    let world = World::start().await;
    let (driver, other) = (world.driver(0), world.driver(1));
    other.binds().await;
    world.app.fault("krt", json!({"kind": "status", "status": 500}));
    let refused = driver.give(&other.license.krt_id).await;
    refused.problem(409, "id_bound_to_another_license");
    assert_eq!((world.checks(), world.bindings().await), (1, 1));
    assert_eq!(world.outcomes("taken").await, 1);
}
