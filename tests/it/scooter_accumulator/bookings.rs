//! Bookings: what is chosen, what is refused and with which alternatives, giving up, expiry.

use super::*;
use crate::support::eventually;

#[actix_web::test]
async fn the_most_charged_are_booked_and_kept() {
    let world = World::start().await;
    world.filled("c", 6, &[85, 99, 30, 90, 97]).await;
    let made = world.book("c", "pickup", 2).await;
    let booking = made.expect(201);
    let id = id_of(&booking);
    let location = format!("/scooter-accumulator/internal/v1/bookings/{id}");
    assert_eq!(made.header("location"), location);
    assert_eq!(
        booking["cells"],
        json!([{ "n": 2, "accumulator_id": "c-2" }, { "n": 5, "accumulator_id": "c-5" }])
    );
    for (member, value) in [
        ("cabinet_id", json!("c")),
        ("contractor_id", json!("t")),
        ("kind", json!("pickup")),
        ("status", json!("active")),
        ("count", json!(2)),
    ] {
        assert_eq!(booking[member], value, "{member}");
    }
    assert!(booking.get("min_charge").is_none());
    let at = |member: &str| booking[member].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let kept = at("expires_at").duration_since(at("created_at"));
    assert_eq!(kept, jiff::SignedDuration::from_mins(30));
    assert_eq!(world.backend.get(&format!("bookings/{id}")).await.expect(200), booking);
    assert_eq!(world.counts("c").await, counts(2, 1, 1, 2, 0));
    let next = world.book("c", "pickup", 2).await.expect(201);
    assert_eq!(booked(&next), ["c-1", "c-4"]);
    world.book("c", "pickup", 1).await.problem(409, "not_enough_accumulators");
    world.assert_sound().await;
}

#[actix_web::test]
async fn with_a_least_charge_what_is_charging_counts_too() {
    let world = World::start().await;
    world.filled("c", 4, &[60, 30, 75]).await;
    let body = |charge: i32, count: i32| {
        let mut body = booking("c", "pickup", count);
        body["min_charge"] = json!(charge);
        body
    };
    world.book("c", "pickup", 1).await.problem(409, "not_enough_accumulators");
    world.backend.post("bookings", body(60, 3)).await.problem(409, "not_enough_accumulators");
    let near = world.backend.get("cabinets?min_charge=60&available=2").await.expect(200);
    assert_eq!(near["items"][0]["counts"], counts(2, 1, 1, 0, 0));
    let made = world.backend.post("bookings", body(60, 2)).await.expect(201);
    assert_eq!(booked(&made), ["c-1", "c-3"]);
    assert_eq!(made["min_charge"], 60);
}

#[actix_web::test]
async fn empty_cells_are_booked_to_bring_some_back() {
    let world = World::start().await;
    world.filled("c", 5, &[90, 20]).await;
    let made = world.book("c", "return", 2).await.expect(201);
    assert_eq!(made["cells"], json!([{ "n": 3 }, { "n": 4 }]));
    assert_eq!(made["kind"], "return");
    assert_eq!(world.counts("c").await, counts(1, 1, 1, 2, 0));
    world.book("c", "return", 2).await.problem(409, "not_enough_cells");
    assert_eq!(world.book("c", "return", 1).await.expect(201)["cells"], json!([{ "n": 5 }]));
}

#[actix_web::test]
async fn what_is_open_or_broken_is_not_booked() {
    let world = World::start().await;
    world.filled("c", 4, &[90, 95]).await;
    let say = "UPDATE scooter_accumulator.cells SET state = CASE n WHEN 1 THEN 'open' ELSE 'broken' \
         END::scooter_accumulator.cell_state WHERE n IN (1, 3)";
    world.app.database().execute(say).await;
    world.book("c", "pickup", 2).await.problem(409, "not_enough_accumulators");
    world.book("c", "return", 2).await.problem(409, "not_enough_cells");
    assert_eq!(booked(&world.book("c", "pickup", 1).await.expect(201)), ["c-2"]);
    assert_eq!(world.book("c", "return", 1).await.expect(201)["cells"], json!([{ "n": 4 }]));
}

#[actix_web::test]
async fn a_refusal_names_the_nearest_cabinets_that_could() {
    let world = World::start().await;
    world.filled("here", 3, &[90]).await;
    // Each is about 1.1 km farther to the north; the last too far away.
    for (number, charges) in [(1, vec![90]), (2, vec![90; 2]), (3, vec![90; 3]), (4, vec![90; 2])] {
        let id = format!("c{number}");
        world.cabinet_at(&id, 4, 55.75 + 0.01 * f64::from(number), 37.61).await;
        for (cell_number, charge) in (1..).zip(charges) {
            world
                .accumulator(&format!("{id}-{cell_number}"), charge, &cell(&id, cell_number))
                .await;
        }
    }
    world.cabinet_at("far", 4, 56.75, 37.61).await;
    let refused = world.book("here", "pickup", 2).await.problem(409, "not_enough_accumulators");
    assert_eq!(
        refused["alternatives"],
        json!([
            { "id": "c2", "distance_m": 2223.9 },
            { "id": "c3", "distance_m": 3335.9 },
            { "id": "c4", "distance_m": 4447.8 },
        ])
    );
    let refused = world.book("here", "return", 3).await.problem(409, "not_enough_cells");
    assert_eq!(refused["alternatives"], json!([{ "id": "c1", "distance_m": 1112.0 }]));
    let refused = world.book("here", "pickup", 4).await.problem(409, "not_enough_accumulators");
    assert_eq!(refused["alternatives"], json!([]));
    // One that is offline could not.
    let offline =
        "UPDATE scooter_accumulator.cabinets SET last_seen_at = now(), online = id <> 'c3'";
    world.app.database().execute(offline).await;
    let refused = world.book("here", "pickup", 3).await.problem(409, "not_enough_accumulators");
    assert_eq!(refused["alternatives"], json!([]));
    let refused = world.book("c3", "pickup", 2).await.problem(409, "cabinet_offline");
    let ids: Vec<&Value> =
        refused["alternatives"].as_array().unwrap().iter().map(|other| &other["id"]).collect();
    assert_eq!(ids, ["c2", "c4"]);
}

#[actix_web::test]
async fn a_cabinet_that_fell_silent_is_not_booked_and_one_never_heard_is() {
    let world = World::start().await;
    world.filled("c", 2, &[90]).await;
    let set = async |columns: &str| {
        let sql = format!("UPDATE scooter_accumulator.cabinets SET {columns}");
        world.app.database().execute(&sql).await;
    };
    set("online = false, last_seen_at = now()").await;
    world.book("c", "pickup", 1).await.problem(409, "cabinet_offline");
    let list = world.backend.get("cabinets").await.expect(200);
    assert_eq!(list["items"][0]["online"], false);
    assert!(list["items"][0]["last_seen_at"].is_string());
    assert_eq!(world.backend.get("cabinets?available=1").await.expect(200)["items"], json!([]));
    set("online = true").await;
    assert_eq!(ids(&world.backend.get("cabinets?available=1").await.expect(200)), ["c"]);
    world.book("c", "pickup", 1).await.expect(201);
    set("online = false, last_seen_at = NULL").await;
    world.book("c", "return", 1).await.expect(201);
}

#[actix_web::test]
async fn a_booking_is_given_up_once_and_frees_what_it_kept() {
    let world = World::start().await;
    world.filled("c", 1, &[90]).await;
    let path = format!("bookings/{}", id_of(&world.book("c", "pickup", 1).await.expect(201)));
    for _ in 0..2 {
        world.backend.delete(&path).await.expect(204);
    }
    let ended = world.backend.get(&path).await.expect(200);
    assert_eq!(ended["status"], "cancelled");
    assert!(ended["ended_at"].is_string());
    assert_eq!(world.counts("c").await, counts(1, 0, 0, 0, 0));
    world.book("c", "pickup", 1).await.expect(201);
    world.assert_sound().await;
}

#[actix_web::test]
async fn only_an_active_booking_is_given_up() {
    let world = World::start().await;
    world.filled("c", 1, &[90]).await;
    let id = id_of(&world.book("c", "pickup", 1).await.expect(201));
    for status in ["executing", "unknown", "completed", "incomplete", "expired"] {
        let ended = if ["executing", "unknown"].contains(&status) { "NULL" } else { "now()" };
        let sql = format!(
            "UPDATE scooter_accumulator.bookings SET status = '{status}', ended_at = {ended}"
        );
        world.app.database().execute(&sql).await;
        let refused = world.backend.delete(&format!("bookings/{id}")).await;
        assert_eq!(refused.problem(409, "booking_not_active")["booking_status"], status);
        assert_eq!(world.booking_status(&id).await, status);
    }
}

#[actix_web::test]
async fn an_expired_booking_is_dead_for_everybody_before_anybody_writes_it_down() {
    let world = World::with("[scooter_accumulator]\nsweep_ms = 60000").await;
    world.filled("c", 3, &[90, 91]).await;
    let pickup = id_of(&world.book("c", "pickup", 2).await.expect(201));
    let back = id_of(&world.book("c", "return", 1).await.expect(201));
    for id in [&pickup, &back] {
        world.let_expire(id).await;
        assert_eq!(world.booking_status(id).await, "expired");
        let stored = "SELECT count(*) FROM scooter_accumulator.bookings WHERE status = 'expired'";
        assert_eq!(world.app.database().count(stored).await, 0, "nobody has swept");
    }
    let refused = world.backend.delete(&format!("bookings/{pickup}")).await;
    assert_eq!(refused.problem(409, "booking_not_active")["booking_status"], "expired");
    assert_eq!(world.counts("c").await, counts(2, 0, 1, 0, 0));
    assert_eq!(ids(&world.backend.get("cabinets?available=2").await.expect(200)), ["c"]);
    assert_eq!(booked(&world.book("c", "pickup", 2).await.expect(201)), ["c-1", "c-2"]);
    world.book("c", "return", 1).await.expect(201);
    let ended = world.backend.get(&format!("bookings/{pickup}")).await.expect(200);
    assert_eq!((&ended["status"], &ended["ended_at"]), (&json!("expired"), &ended["expires_at"]));
    world.assert_sound().await;
}

#[actix_web::test]
async fn one_booked_elsewhere_before_it_came_here_is_free_when_that_booking_is_dead() {
    let world = World::with("[scooter_accumulator]\nsweep_ms = 60000").await;
    world.filled("c", 1, &[90]).await;
    world.cabinet("d", 1).await;
    let there = id_of(&world.book("c", "pickup", 1).await.expect(201));
    // The other cabinet reports it.
    let report = "UPDATE scooter_accumulator.accumulators SET cabinet_id = 'd'; \
         UPDATE scooter_accumulator.cells SET state = 'charged' WHERE cabinet_id = 'd'";
    world.app.database().execute(report).await;
    assert_eq!(world.counts("d").await, counts(0, 0, 0, 1, 0));
    world.book("d", "pickup", 1).await.problem(409, "not_enough_accumulators");
    world.let_expire(&there).await;
    assert_eq!(booked(&world.book("d", "pickup", 1).await.expect(201)), ["c-1"]);
}

#[actix_web::test]
async fn expiry_is_written_down_without_anybody_asking() {
    let config = "[scooter_accumulator]\nbooking_ttl_ms = 100\nsweep_ms = 50";
    let world = World::with(config).await;
    let other = world.another(config).await;
    for number in 0..3 {
        world.filled(&format!("c{number}"), 2, &[90, 90]).await;
        for _ in 0..2 {
            world.book(&format!("c{number}"), "pickup", 1).await.expect(201);
        }
    }
    eventually("all have expired", async || {
        let expired = "SELECT count(*) FROM scooter_accumulator.bookings WHERE status = 'expired'";
        world.app.database().count(expired).await == 6
    })
    .await;
    world.assert_sound().await;
    // Each was counted by whoever wrote it down, and by nobody else.
    eventually("each is counted once", async || {
        let series = "scooter_accumulator_bookings_total{outcome=\"expired\"}";
        world.app.count(series).await + other.app.count(series).await == 6
    })
    .await;
}

#[actix_web::test]
async fn what_cannot_be_booked_is_refused() {
    let world = World::start().await;
    world.filled("c", 2, &[90]).await;
    let with = |change: Value| {
        let mut body = booking("c", "pickup", 1);
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        body
    };
    for (change, pointer) in [
        (json!({ "count": 0 }), "/count"),
        (json!({ "count": 1001 }), "/count"),
        (json!({ "count": "1" }), "/count"),
        (json!({ "kind": "lend" }), "/kind"),
        (json!({ "min_charge": 101 }), "/min_charge"),
        (json!({ "kind": "return", "min_charge": 50 }), "/min_charge"),
        (json!({ "cabinet_id": "a b" }), "/cabinet_id"),
        (json!({ "contractor_id": "" }), "/contractor_id"),
        (json!({ "status": "completed" }), "/status"),
    ] {
        world.backend.post("bookings", with(change)).await.invalid_at(pointer);
    }
    let nowhere = world.backend.post("bookings", with(json!({ "cabinet_id": "x" }))).await;
    nowhere.problem(404, "cabinet_not_found");
    let nobody = "bookings/01a1fc16-07a1-709c-957b-cafc67055379";
    world.backend.get(nobody).await.problem(404, "booking_not_found");
    world.backend.delete(nobody).await.problem(404, "booking_not_found");
    world.backend.get("bookings/x").await.problem(404, "not_found");
}
