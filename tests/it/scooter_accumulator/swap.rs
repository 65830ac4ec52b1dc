//! A technician swaps a charged accumulator into a scooter.

use super::*;

fn swap(charged: &str, discharged: Option<&str>) -> Value {
    let mut body = json!({ "contractor_id": "t", "charged_accumulator_id": charged });
    if let Some(id) = discharged {
        body["discharged_accumulator_id"] = json!(id);
    }
    body
}

#[actix_web::test]
async fn both_change_places() {
    let world = World::start().await;
    world.accumulator("full", 98, &contractor("t")).await;
    world.accumulator("flat", 3, &scooter("s")).await;
    let swapped = world.backend.post("scooters/s/swap", swap("full", Some("flat"))).await;
    assert_eq!(
        swapped.expect(200),
        json!({
            "scooter_id": "s", "contractor_id": "t",
            "charged_accumulator": { "id": "full", "charge": 98, "place": scooter("s") },
            "discharged_accumulator": { "id": "flat", "charge": 3, "place": contractor("t") },
        })
    );
    assert_eq!(world.place_of("full").await, scooter("s"));
    assert_eq!(world.place_of("flat").await, contractor("t"));
    // Again: it is done already.
    let again = world.backend.post("scooters/s/swap", swap("full", Some("flat"))).await;
    again.problem(409, "charged_accumulator_elsewhere");
    // Into a scooter with none in it.
    let other = world.backend.post("scooters/other/swap", swap("flat", None)).await.expect(200);
    assert!(other["discharged_accumulator"].is_null());
    world.assert_sound().await;
}

#[actix_web::test]
async fn what_does_not_fit_changes_nothing() {
    let world = World::start().await;
    world.filled("c", 2, &[90]).await;
    world.accumulator("full", 98, &contractor("t")).await;
    world.accumulator("other", 98, &contractor("u")).await;
    world.accumulator("flat", 3, &scooter("s")).await;
    for (body, code) in [
        (swap("other", Some("flat")), "charged_accumulator_elsewhere"),
        (swap("c-1", Some("flat")), "charged_accumulator_elsewhere"),
        (swap("flat", None), "charged_accumulator_elsewhere"),
        (swap("full", Some("other")), "discharged_accumulator_elsewhere"),
        (swap("full", Some("c-1")), "discharged_accumulator_elsewhere"),
        (swap("full", None), "scooter_occupied"),
    ] {
        world.backend.post("scooters/s/swap", body).await.problem(409, code);
    }
    for body in [swap("nobody", Some("flat")), swap("full", Some("nobody"))] {
        world.backend.post("scooters/s/swap", body).await.problem(404, "accumulator_not_found");
    }
    let same = world.backend.post("scooters/s/swap", swap("full", Some("full"))).await;
    same.invalid_at("/discharged_accumulator_id");
    let elsewhere = world.backend.post("scooters/z/swap", swap("full", Some("flat"))).await;
    elsewhere.problem(409, "discharged_accumulator_elsewhere");
    let extra = json!({ "contractor_id": "t", "charged_accumulator_id": "full", "x": 1 });
    world.backend.post("scooters/s/swap", extra).await.invalid_at("/x");
    let bad = json!({ "contractor_id": "", "charged_accumulator_id": "full" });
    world.backend.post("scooters/s/swap", bad).await.invalid_at("/contractor_id");
    assert_eq!(world.place_of("full").await, contractor("t"));
    assert_eq!(world.place_of("flat").await, scooter("s"));
    let moves = "SELECT count(*) FROM scooter_accumulator.accumulator_moves";
    assert_eq!(world.app.database().count(moves).await, 4);
}

#[actix_web::test]
async fn one_that_is_being_returned_is_not_swapped() {
    let world = World::start().await;
    world.cabinet("c", 2).await;
    world.accumulator("a", 98, &contractor("t")).await;
    let booking = id_of(&world.book("c", "return", 1).await.expect(201));
    let name = format!(
        "UPDATE scooter_accumulator.booking_cells SET accumulator_id = 'a'; \
         UPDATE scooter_accumulator.bookings SET status = 'executing' WHERE id = '{booking}'"
    );
    world.app.database().execute(&name).await;
    let body = swap("a", None);
    world.backend.post("scooters/s/swap", body).await.problem(409, "accumulator_booked");
}
