//! Every move of an accumulator.

use super::*;

#[actix_web::test]
async fn every_move_is_told_the_newest_first() {
    let world = World::start().await;
    world.cabinet("c", 2).await;
    world.accumulator("a", 90, &cell("c", 1)).await;
    let edit = async |charge: i32, place: Value| {
        let body = json!({ "charge": charge, "place": place });
        world.backend.put("accumulators/a", body).await.expect(200);
    };
    edit(95, cell("c", 1)).await;
    edit(95, contractor("t")).await;
    let swap = json!({ "contractor_id": "t", "charged_accumulator_id": "a" });
    world.backend.post("scooters/s/swap", swap).await.expect(200);
    edit(0, Value::Null).await;
    edit(0, cell("c", 2)).await;

    let history = world.backend.get("accumulators/a/history").await.expect(200);
    let items = history["items"].as_array().unwrap();
    let moves: Vec<Value> =
        items.iter().map(|item| json!([item["kind"], item["from"], item["to"]])).collect();
    assert_eq!(
        moves,
        [
            json!(["edited", null, cell("c", 2)]),
            json!(["edited", scooter("s"), null]),
            json!(["swapped", contractor("t"), scooter("s")]),
            json!(["edited", cell("c", 1), contractor("t")]),
            json!(["created", null, cell("c", 1)]),
        ]
    );
    assert!(items.iter().all(|item| item["at"].is_string()));
    assert!(history["next_cursor"].is_null());

    let mut paged = Vec::new();
    let mut path = "accumulators/a/history?limit=2".to_owned();
    loop {
        let page = world.backend.get(&path).await.expect(200);
        paged.extend(page["items"].as_array().unwrap().clone());
        let Some(next) = page["next_cursor"].as_str() else { break };
        path = format!("accumulators/a/history?limit=2&cursor={next}");
    }
    assert_eq!(&paged, items);
    world.assert_sound().await;
}

#[actix_web::test]
async fn old_moves_and_bookings_go_and_each_last_move_stays() {
    let world = World::with("[scooter_accumulator]\nhistory_days = 10").await;
    world.filled("c", 3, &[90, 90]).await;
    let ended = id_of(&world.book("c", "pickup", 1).await.expect(201));
    world.backend.delete(&format!("bookings/{ended}")).await.expect(204);
    let live = id_of(&world.book("c", "pickup", 1).await.expect(201));
    let edit = json!({ "charge": 90, "place": contractor("t") });
    world.backend.put("accumulators/c-2", edit).await.expect(200);
    let age = "UPDATE scooter_accumulator.accumulator_moves SET at = at - interval '11 days'; \
         UPDATE scooter_accumulator.bookings SET ended_at = ended_at - interval '11 days', \
         created_at = created_at - interval '11 days'";
    world.app.database().execute(age).await;
    // Cleaning begins with the process.
    let World { app, .. } = world;
    let app = app.restarted().await;
    let world = World { backend: app.internal(DOMAIN), app };
    crate::support::eventually("what is old is gone", async || {
        let moves = "SELECT count(*) FROM scooter_accumulator.accumulator_moves";
        let bookings = "SELECT count(*) FROM scooter_accumulator.bookings";
        let database = world.app.database();
        (database.count(moves).await, database.count(bookings).await) == (2, 1)
    })
    .await;
    world.backend.get(&format!("bookings/{ended}")).await.problem(404, "booking_not_found");
    assert_eq!(world.booking_status(&live).await, "active");
    let history = world.backend.get("accumulators/c-2/history").await.expect(200);
    assert_eq!(history["items"][0]["to"], contractor("t"));
}
