//! What shut doors make of a booking.

use fleet::sandbox::cabinets::{Accumulator, Habit};
use serde_json::{Value, json};

use super::{Rig, cell, event, good, outcomes, technician};
use crate::support::eventually;

const SOON: &str = "[scooter_accumulator.commands]\nsettle_ms = 8000\n";

fn carried(id: &str) -> Accumulator {
    Accumulator { id: id.to_owned(), charge: 10.0 }
}

#[actix_web::test]
async fn what_was_left_inside_is_the_cabinets_again() {
    let rig = Rig::start().await;
    rig.habit(Habit { forgets_one: true, ..good() });
    let booking = rig.book("pickup", 2).await;
    rig.execute(&booking, json!({})).await.expect(200);
    let settled = rig.becomes(&booking, "incomplete").await;
    assert_eq!(outcomes(&settled), ["left", "taken"]);
    assert_eq!(rig.place_of("acc-1").await, cell(1));
    let history = rig.backend.get("accumulators/acc-1/history").await.expect(200);
    let kinds: Vec<&Value> =
        history["items"].as_array().unwrap().iter().map(|it| &it["kind"]).collect();
    assert_eq!(kinds, ["settled", "unlocked", "reported", "created"]);
    assert_eq!(history["items"][0]["booking_id"], booking.as_str());
    // It can be booked again.
    rig.charged("cab-1", 2).await;
    rig.assert_sound().await;
}

#[actix_web::test]
async fn what_was_taken_beside_the_booking_is_the_technicians_and_flagged() {
    let rig = Rig::start().await;
    rig.habit(Habit { takes_one_unbooked: true, ..good() });
    let booking = rig.book("pickup", 1).await;
    rig.execute(&booking, json!({})).await.expect(200);
    rig.becomes(&booking, "completed").await;
    rig.comes_to("acc-2", &technician()).await;
    for (id, flagged) in [("acc-1", false), ("acc-2", true)] {
        let shown = rig.backend.get(&format!("accumulators/{id}")).await.expect(200);
        assert_eq!(shown["flagged"].as_bool().unwrap_or(false), flagged, "{id}");
    }
    let history = rig.backend.get("accumulators/acc-2/history").await.expect(200);
    assert_eq!(
        (&history["items"][0]["kind"], &history["items"][0]["booking_id"]),
        (&json!("taken"), &json!(booking))
    );
    rig.assert_sound().await;
}

#[actix_web::test]
async fn what_is_not_brought_back_in_time_stays_the_technicians() {
    let rig = Rig::with(SOON).await;
    rig.give(&["old-1", "old-2"]).await;
    rig.app.sandbox.cabinets().set_carried(vec![carried("old-1")]).unwrap();
    rig.habit(good());
    let booking = rig.book("return", 2).await;
    let named = json!({"accumulator_ids": ["old-1", "old-2"]});
    rig.execute(&booking, named).await.expect(200);
    rig.comes_to("old-1", &cell(4)).await;
    assert_eq!(rig.booking(&booking).await["status"], "executing", "there is time yet");
    let settled = rig.becomes(&booking, "incomplete").await;
    assert_eq!(outcomes(&settled), ["returned", "missing"]);
    assert_eq!(rig.place_of("old-2").await, technician());
    // He may bring it later.
    rig.app.sandbox.cabinets().set_carried(vec![carried("old-2")]).unwrap();
    let again = rig.book("return", 1).await;
    rig.execute(&again, json!({"accumulator_ids": ["old-2"]})).await.expect(200);
    rig.becomes(&again, "completed").await;
    rig.assert_sound().await;
}

#[actix_web::test]
async fn a_door_that_is_never_shut_ends_the_booking_in_time_and_still_tells_the_truth_later() {
    let rig = Rig::with(SOON).await;
    rig.habit(Habit { never_shuts: true, ..good() });
    let booking = rig.book("pickup", 1).await;
    rig.execute(&booking, json!({})).await.expect(200);
    let settled = rig.becomes(&booking, "incomplete").await;
    assert_eq!(outcomes(&settled), ["unreported"]);
    assert_eq!(rig.place_of("acc-1").await, technician());
    // Nobody books an open cell.
    let body = json!({"cabinet_id": "cab-1", "contractor_id": "t", "kind": "return", "count": 3});
    rig.backend.post("bookings", body).await.problem(409, "not_enough_cells");
    // It was put back after all.
    rig.cabinet.put(1, "acc-1", 100.0).unwrap();
    rig.cabinet.shut(1).unwrap();
    rig.comes_to("acc-1", &cell(1)).await;
    rig.assert_sound().await;
}

#[actix_web::test]
async fn another_put_in_place_of_what_was_taken_is_the_cabinets() {
    let rig = Rig::start().await;
    rig.give(&["old"]).await;
    let booking = rig.book("pickup", 1).await;
    rig.execute(&booking, json!({})).await.expect(200);
    rig.cabinet.take(1).unwrap();
    rig.cabinet.put(1, "old", 10.0).unwrap();
    rig.cabinet.shut(1).unwrap();
    let settled = rig.becomes(&booking, "completed").await;
    assert_eq!(outcomes(&settled), ["taken"]);
    assert_eq!((rig.place_of("acc-1").await, rig.place_of("old").await), (technician(), cell(1)));
    rig.assert_sound().await;
}

#[actix_web::test]
async fn another_put_in_than_was_named_leaves_the_named_one_with_the_technician() {
    let rig = Rig::start().await;
    rig.give(&["old-1", "old-2", "other"]).await;
    let booking = rig.book("return", 2).await;
    let named = json!({"accumulator_ids": ["old-1", "old-2"]});
    rig.execute(&booking, named).await.expect(200);
    rig.cabinet.put(4, "other", 10.0).unwrap();
    rig.cabinet.shut(4).unwrap();
    rig.comes_to("other", &cell(4)).await;
    let waits = rig.booking(&booking).await;
    assert_eq!(
        (waits["status"].as_str(), outcomes(&waits)),
        (Some("executing"), vec!["opened"; 2])
    );
    // Into the other cell, which was meant for the second.
    rig.cabinet.put(5, "old-1", 10.0).unwrap();
    rig.cabinet.shut(5).unwrap();
    let settled = rig.becomes(&booking, "incomplete").await;
    assert_eq!(outcomes(&settled), ["returned", "missing"]);
    assert_eq!(rig.place_of("old-1").await, cell(5));
    assert_eq!(rig.place_of("old-2").await, technician());
    let history = rig.backend.get("accumulators/other/history").await.expect(200);
    assert_eq!(history["items"][0]["kind"], "reported", "no booking brought it");
    rig.assert_sound().await;
}

#[actix_web::test]
async fn a_cabinet_that_cannot_name_what_is_in_a_cell_is_understood() {
    let rig = Rig::start().await;
    let booking = rig.book("pickup", 2).await;
    rig.execute(&booking, json!({})).await.expect(200);
    let cells = json!([{"n": 1, "state": "charging"}, {"n": 2, "state": "empty"}]);
    rig.tell(&event("cell_changed", json!({ "cells": cells })));
    let settled = rig.becomes(&booking, "incomplete").await;
    assert_eq!(outcomes(&settled), ["left", "taken"]);
    assert_eq!((rig.place_of("acc-1").await, rig.place_of("acc-2").await), (cell(1), technician()));
    rig.assert_sound().await;
}

#[actix_web::test]
async fn bookings_at_one_cabinet_settle_each_by_its_own_cells() {
    let rig = Rig::start().await;
    rig.give(&["old"]).await;
    let out = rig.book("pickup", 1).await;
    let back = rig.book("return", 1).await;
    let body = json!({"accumulator_ids": ["old"]});
    let executed = futures_util::join!(rig.execute(&out, json!({})), rig.execute(&back, body));
    executed.0.expect(200);
    executed.1.expect(200);
    rig.cabinet.take(1).unwrap();
    rig.cabinet.shut(1).unwrap();
    rig.becomes(&out, "completed").await;
    assert_eq!(rig.booking(&back).await["status"], "executing");
    rig.cabinet.put(4, "old", 10.0).unwrap();
    rig.cabinet.shut(4).unwrap();
    rig.becomes(&back, "completed").await;
    eventually("outcomes are counted", async || {
        rig.app.count("scooter_accumulator_bookings_total{outcome=\"completed\"}").await == 2
    })
    .await;
    rig.assert_sound().await;
}
