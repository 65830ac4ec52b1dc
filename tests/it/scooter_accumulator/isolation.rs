//! Who may call.

use super::*;

#[actix_web::test]
async fn only_back_end_services_are_answered() {
    let world = World::start().await;
    world.filled("c", 1, &[90]).await;
    for token in ["test-dispatcher", "test-driver", "test-takeout"] {
        let caller = world.app.caller(token, DOMAIN, "internal");
        for path in
            ["cabinets", "cabinets/c", "cabinets/c/cells", "accumulators", "accumulators/c-1"]
        {
            caller.get(path).await.problem(403, "forbidden");
        }
        caller.post("bookings", booking("c", "pickup", 1)).await.problem(403, "forbidden");
        caller.delete("accumulators/c-1").await.problem(403, "forbidden");
    }
    let nobody = world.app.anonymous().below("scooter-accumulator/internal/v1");
    nobody.get("cabinets").await.problem(401, "unauthenticated");
    for audience in ["dispatcher", "driver", "takeout"] {
        let caller = world.app.caller("test-all", DOMAIN, audience);
        caller.get("cabinets").await.problem(404, "route_not_found");
    }
    assert_eq!(world.counts("c").await, counts(1, 0, 0, 0, 0));
}

#[actix_web::test]
async fn keys_of_two_callers_are_not_the_same() {
    let world = World::start().await;
    world.filled("c", 2, &[90, 90]).await;
    let other = world.app.caller("test-other-internal", DOMAIN, "internal");
    let mut made = Vec::new();
    for caller in [&world.backend, &other] {
        let keyed = caller.header("Idempotency-Key", "k");
        made.push(keyed.post("bookings", booking("c", "pickup", 1)).await.expect(201));
    }
    assert_ne!(made[0]["id"], made[1]["id"]);
}
