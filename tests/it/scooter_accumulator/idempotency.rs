//! `Idempotency-Key` on the routes that create.

use futures_util::future::join_all;

use super::*;

fn keyed(world: &World, key: &str) -> Caller {
    world.backend.header("Idempotency-Key", key)
}

#[actix_web::test]
async fn each_post_takes_effect_once_under_a_key() {
    let world = World::start().await;
    let swap = json!({ "contractor_id": "t", "charged_accumulator_id": "b" });
    for (path, body, other, status) in [
        (
            "cabinets",
            json!({ "id": "c", "lat": 1, "lon": 1, "cell_count": 3 }),
            json!({ "id": "c", "lat": 1, "lon": 1, "cell_count": 4 }),
            201,
        ),
        (
            "accumulators",
            json!({ "id": "a", "charge": 90, "place": cell("c", 1) }),
            json!({ "id": "a", "charge": 91, "place": cell("c", 1) }),
            201,
        ),
        (
            "accumulators",
            json!({ "id": "b", "charge": 90, "place": contractor("t") }),
            json!({ "id": "d", "charge": 90, "place": contractor("t") }),
            201,
        ),
        ("bookings", booking("c", "pickup", 1), booking("c", "return", 1), 201),
        (
            "scooters/s/swap",
            swap.clone(),
            json!({ "contractor_id": "u", "charged_accumulator_id": "b" }),
            200,
        ),
    ] {
        let key = format!("k-{path}-{}", body["id"]).replace('"', "");
        let caller = keyed(&world, &key);
        let first = caller.post(path, body.clone()).await;
        let answer = first.expect(status);
        for _ in 0..2 {
            let again = caller.post(path, body.clone()).await;
            assert_eq!(again.expect(status), answer, "{path}");
            for header in ["etag", "location"] {
                assert_eq!(again.header(header), first.header(header), "{path}");
            }
        }
        caller.post(path, other).await.problem(422, "idempotency_key_reused");
    }
    // Another scooter under the same key is another request.
    let caller = keyed(&world, "k-scooters/s/swap-null");
    caller.post("scooters/z/swap", swap).await.problem(422, "idempotency_key_reused");
    let made = "SELECT count(*) FROM scooter_accumulator.bookings";
    assert_eq!(world.app.database().count(made).await, 1);
    let metric = "scooter_accumulator_bookings_total{outcome=\"booked\"}";
    assert_eq!(world.app.count(metric).await, 1, "a repeated call is no other booking");
    world.assert_sound().await;
}

#[actix_web::test]
async fn an_answer_is_remembered_over_a_crash_behind_the_commit() {
    let world = World::start().await;
    world.filled("c", 3, &[90, 90, 90]).await;
    let answer = keyed(&world, "k").post("bookings", booking("c", "pickup", 2)).await.expect(201);
    // Whoever did not get it asks the next instance.
    let World { app, .. } = world;
    let app = app.restarted().await;
    let world = World { backend: app.internal(DOMAIN), app };
    let again = keyed(&world, "k").post("bookings", booking("c", "pickup", 2)).await.expect(201);
    assert_eq!(again, answer);
    assert_eq!(world.counts("c").await, counts(1, 0, 0, 2, 0));
}

#[actix_web::test]
async fn a_call_cut_off_before_the_commit_leaves_nothing_and_can_be_repeated() {
    let world = World::start().await;
    world.filled("c", 3, &[90, 90, 90]).await;
    let mut holder = world.app.database().connect().await;
    let held = holder.transaction().await.unwrap();
    held.execute("SELECT 1 FROM scooter_accumulator.cabinets FOR UPDATE", &[]).await.unwrap();
    let hasty = keyed(&world, "k").header("X-Request-Timeout-Ms", "300");
    let cut = hasty.post("bookings", booking("c", "pickup", 2)).await;
    assert!([503, 504].contains(&cut.status), "{}", cut.text());
    held.rollback().await.unwrap();
    assert_eq!(world.counts("c").await, counts(3, 0, 0, 0, 0));
    crate::support::eventually("the key is free again", async || {
        keyed(&world, "k").post("bookings", booking("c", "pickup", 2)).await.status == 201
    })
    .await;
    assert_eq!(world.counts("c").await, counts(1, 0, 0, 2, 0));
}

#[actix_web::test]
async fn a_refusal_is_not_remembered() {
    let world = World::start().await;
    world.cabinet("c", 1).await;
    let caller = keyed(&world, "k");
    let body = booking("c", "pickup", 1);
    caller.post("bookings", body.clone()).await.problem(409, "not_enough_accumulators");
    world.accumulator("a", 90, &cell("c", 1)).await;
    caller.post("bookings", body).await.expect(201);
}

#[actix_web::test]
async fn of_many_at_once_under_one_key_one_books() {
    let world = World::start().await;
    world.filled("c", 6, &[90; 6]).await;
    let other = world.another("").await;
    let calls = (0..40).map(|number| {
        let caller = keyed(if number % 2 == 0 { &world } else { &other }, "k");
        async move { caller.post("bookings", booking("c", "pickup", 1)).await }
    });
    let mut answers = Vec::new();
    for reply in join_all(calls).await {
        match reply.status {
            201 => answers.push(reply.json()),
            _ => drop(reply.problem(409, "idempotency_key_in_progress")),
        }
    }
    assert!(!answers.is_empty() && answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(world.counts("c").await, counts(5, 0, 0, 1, 0));
}
