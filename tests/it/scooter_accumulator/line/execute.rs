//! `POST bookings/{id}/execute`: what a caller is told, whatever the cabinet does.

use fleet::sandbox::cabinets::{CabinetFaults, Cell};
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Rig, cell, execute, good, numbers, outcomes, technician};
use crate::support::eventually;

fn faults() -> CabinetFaults {
    CabinetFaults::default()
}

#[actix_web::test]
async fn what_was_unlocked_is_the_technicians_while_the_doors_are_open() {
    let rig = Rig::start().await;
    let booking = rig.book("pickup", 2).await;
    let executed = rig.execute(&booking, json!({})).await.expect(200);
    assert_eq!(executed["status"], "executing");
    assert_eq!((numbers(&executed), outcomes(&executed)), (vec![1, 2], vec!["opened", "opened"]));
    assert_eq!(rig.place_of("acc-1").await, technician());
    // Called again, it is the same.
    assert_eq!(rig.execute(&booking, json!({})).await.expect(200), executed);
    let commands = rig.cabinet.commands();
    let unlocks: Vec<&Value> =
        commands.iter().filter(|command| command["type"] == "unlock_cells").collect();
    let [unlock] = unlocks.as_slice() else { panic!("one command: {commands:?}") };
    assert_eq!((&unlock["cells"], &unlock["purpose"]), (&json!([1, 2]), &json!("pickup")));
    assert_eq!(unlock["v"], 1);
    for n in [1, 2] {
        rig.cabinet.take(n).unwrap();
        rig.cabinet.shut(n).unwrap();
    }
    let settled = rig.becomes(&booking, "completed").await;
    assert_eq!(rig.execute(&booking, json!({})).await.expect(200), settled);
    rig.assert_sound().await;
}

#[actix_web::test]
async fn a_door_that_does_not_open_keeps_what_is_behind_it() {
    let rig = Rig::start().await;
    rig.cabinet.set_cell(2, Cell { jammed: true, ..Cell::holding("acc-2", 99.0) }).unwrap();
    rig.habit(good());
    let booking = rig.book("pickup", 3).await;
    let executed = rig.execute(&booking, json!({})).await.expect(200);
    assert_eq!(executed["cells"][1]["outcome"], "failed");
    let settled = rig.becomes(&booking, "incomplete").await;
    assert_eq!(outcomes(&settled), ["taken", "failed", "taken"]);
    assert_eq!(rig.place_of("acc-2").await, cell(2));
    assert_eq!(rig.place_of("acc-3").await, technician());
    rig.assert_sound().await;
}

#[actix_web::test]
async fn what_is_gone_from_behind_a_door_that_did_not_open_is_flagged() {
    let rig = Rig::start().await;
    rig.cabinet.set_cell(2, Cell { jammed: true, ..Cell::holding("acc-2", 99.0) }).unwrap();
    rig.habit(good());
    let booking = rig.book("pickup", 3).await;
    rig.execute(&booking, json!({})).await.expect(200);
    rig.becomes(&booking, "incomplete").await;
    rig.cabinet.set_cell(2, Cell::holding("acc-2", 99.0)).unwrap();
    rig.cabinet.take_by_force(2).unwrap();
    rig.cabinet.shut(2).unwrap();
    // He was there, and the cabinet says that it did not let him in.
    rig.comes_to("acc-2", &technician()).await;
    for (id, flagged) in [("acc-1", false), ("acc-2", true)] {
        let shown = rig.backend.get(&format!("accumulators/{id}")).await.expect(200);
        assert_eq!(shown["flagged"].as_bool().unwrap_or(false), flagged, "{id}");
    }
    rig.assert_sound().await;
}

#[actix_web::test]
async fn a_cabinet_that_refuses_leaves_the_booking_as_it_was() {
    let rig = Rig::start().await;
    rig.habit(good());
    let booking = rig.book("pickup", 1).await;
    rig.cabinet.set_faults(CabinetFaults { busy: true, ..faults() });
    rig.execute(&booking, json!({})).await.problem(409, "cabinet_busy");
    assert_eq!(rig.booking(&booking).await["status"], "active");
    assert_eq!(rig.command_of(&booking).await, "rejected");
    rig.cabinet.set_faults(faults());
    rig.cabinet.set_cell(1, Cell { jammed: true, ..Cell::holding("acc-1", 100.0) }).unwrap();
    rig.execute(&booking, json!({})).await.problem(409, "cabinet_jammed");
    assert_eq!(rig.command_of(&booking).await, "failed");
    assert_eq!(rig.place_of("acc-1").await, cell(1));
    rig.cabinet.set_cell(1, Cell::holding("acc-1", 100.0)).unwrap();
    rig.execute(&booking, json!({})).await.expect(200);
    rig.becomes(&booking, "completed").await;
    assert_eq!(rig.openings().len(), 1);
    rig.assert_sound().await;
}

#[actix_web::test]
async fn a_cell_that_the_cabinet_does_not_know_is_told() {
    let rig = Rig::start().await;
    let body = json!({"id": "cab-2", "lat": 1, "lon": 1, "cell_count": 5});
    rig.backend.post("cabinets", body).await.expect(201);
    let two = vec![Cell::holding("b-1", 100.0), Cell::holding("b-2", 100.0)];
    rig.app.sandbox.cabinets().add("cab-2", two).unwrap();
    rig.charged("cab-2", 2).await;
    rig.give(&["old"]).await;
    let body = json!({"cabinet_id": "cab-2", "contractor_id": "t", "kind": "return", "count": 1});
    let booking = rig.backend.post("bookings", body).await.expect(201);
    let id = booking["id"].as_str().unwrap();
    let reply = rig.execute(id, json!({"accumulator_ids": ["old"]})).await;
    reply.problem(409, "cabinet_unknown_cell");
    assert_eq!(rig.place_of("old").await, technician());
    // What it was to bring is free again.
    assert_eq!(rig.booking(id).await["cells"][0].get("accumulator_id"), None);
}

#[actix_web::test]
async fn a_cabinet_that_ignores_it_is_told_of_and_its_state_shows_that_nothing_was_opened() {
    let rig = Rig::start().await;
    rig.habit(good());
    let booking = rig.book("pickup", 2).await;
    rig.cabinet.set_faults(CabinetFaults { ignores: true, ..faults() });
    rig.execute(&booking, json!({})).await.problem(504, "cabinet_no_answer");
    assert_eq!(rig.booking(&booking).await["status"], "unknown");
    assert_eq!(rig.command_of(&booking).await, "timed_out");
    // It cannot be cancelled, and called again nothing is opened before the cabinet has told.
    rig.backend.delete(&format!("bookings/{booking}")).await.problem(409, "booking_not_active");
    let quick = rig.backend.header("X-Request-Timeout-Ms", "2500");
    execute(&quick, &booking, json!({})).await.problem(504, "cabinet_no_answer");
    let commands = rig.cabinet.commands();
    assert_eq!(commands.iter().filter(|it| it["type"] == "unlock_cells").count(), 1);
    rig.cabinet.set_faults(faults());
    let shown = rig.becomes(&booking, "active").await;
    assert_eq!(outcomes(&shown), ["none", "none"]);
    assert_eq!(rig.command_of(&booking).await, "expired");
    rig.execute(&booking, json!({})).await.expect(200);
    rig.becomes(&booking, "completed").await;
    assert_eq!(rig.openings().values().copied().collect::<Vec<_>>(), [1, 1]);
    rig.assert_sound().await;
}

#[actix_web::test]
async fn who_calls_again_while_it_is_unknown_waits_for_the_state_and_then_opens() {
    let rig = Rig::start().await;
    rig.habit(good());
    let booking = rig.book("pickup", 1).await;
    rig.cabinet.set_faults(CabinetFaults { ignores: true, ..faults() });
    rig.execute(&booking, json!({})).await.problem(504, "cabinet_no_answer");
    rig.cabinet.set_faults(faults());
    let executed = rig.execute(&booking, json!({})).await.expect(200);
    assert_eq!(numbers(&executed), [1]);
    rig.becomes(&booking, "completed").await;
    assert_eq!(rig.openings().len(), 1);
}

#[actix_web::test]
async fn a_late_answer_still_moves_the_accumulators_and_shows_on_the_booking() {
    let rig = Rig::start().await;
    for reversed in [false, true] {
        let booking = rig.book("pickup", 1).await;
        rig.cabinet.set_faults(CabinetFaults { holds: true, ..faults() });
        rig.execute(&booking, json!({})).await.problem(504, "cabinet_no_answer");
        let booked = rig.becomes(&booking, "unknown").await;
        let id = booked["cells"][0]["accumulator_id"].as_str().unwrap().to_owned();
        let n = usize::try_from(booked["cells"][0]["n"].as_i64().unwrap()).unwrap();
        assert_eq!(rig.place_of(&id).await["cabinet_id"], "cab-1", "nothing is known yet");
        rig.cabinet.release(reversed);
        let shown = rig.becomes(&booking, "executing").await;
        assert_eq!(outcomes(&shown), ["opened"]);
        assert_eq!(rig.place_of(&id).await, technician());
        assert_eq!(rig.command_of(&booking).await, "succeeded");
        rig.cabinet.take(n).unwrap();
        rig.cabinet.shut(n).unwrap();
        rig.becomes(&booking, "completed").await;
    }
    assert!(rig.openings().values().all(|times| *times == 1));
    rig.assert_sound().await;
}

#[actix_web::test]
async fn a_cabinet_that_opens_and_never_says_so_is_found_out_by_its_state() {
    let rig = Rig::start().await;
    let booking = rig.book("pickup", 2).await;
    rig.cabinet.set_faults(CabinetFaults { mute: true, ..faults() });
    rig.execute(&booking, json!({})).await.problem(504, "cabinet_no_answer");
    rig.becomes(&booking, "unknown").await;
    // One is taken and the door shut, the other door stays open.
    rig.cabinet.take(1).unwrap();
    rig.cabinet.shut(1).unwrap();
    rig.cabinet.set_faults(faults());
    let shown = rig.becomes(&booking, "executing").await;
    assert_eq!(outcomes(&shown), ["taken", "opened"]);
    for id in ["acc-1", "acc-2"] {
        assert_eq!(rig.place_of(id).await, technician());
    }
    rig.cabinet.shut(2).unwrap();
    let settled = rig.becomes(&booking, "incomplete").await;
    assert_eq!(outcomes(&settled), ["taken", "left"]);
    assert_eq!(rig.place_of("acc-2").await, cell(2));
    rig.assert_sound().await;
}

#[actix_web::test]
async fn who_calls_while_it_runs_joins_the_same_command() {
    let rig = Rig::start().await;
    let booking = rig.book("pickup", 1).await;
    rig.cabinet.set_faults(CabinetFaults { late_ms: 300, ..faults() });
    let call = || rig.execute(&booking, json!({}));
    let (one, two, three) = futures_util::join!(call(), call(), call());
    let one = one.expect(200);
    assert_eq!((one["status"].as_str(), numbers(&one)), (Some("executing"), vec![1]));
    assert_eq!((two.expect(200), three.expect(200)), (one.clone(), one));
    assert_eq!(rig.openings().len(), 1);
}

#[actix_web::test]
async fn the_work_goes_on_without_its_caller() {
    let config = "[scooter_accumulator.commands]\nanswer_ms = 10000\nttl_ms = 10000\n";
    let rig = Rig::with(config).await;
    let booking = rig.book("pickup", 1).await;
    rig.cabinet.set_faults(CabinetFaults { late_ms: 3_000, ..faults() });
    let sent = eventually("the cabinet is told", async || {
        rig.cabinet.commands().iter().any(|command| command["type"] == "unlock_cells")
    });
    tokio::select! {
        reply = rig.execute(&booking, json!({})) => panic!("{}", reply.text()),
        () = sent => {}
    }
    rig.becomes(&booking, "executing").await;
    rig.comes_to("acc-1", &technician()).await;
}

#[actix_web::test]
async fn a_caller_who_names_no_patience_has_the_cabinets_time() {
    // Shorter than the cabinet takes, which for its part is far within its own time.
    let config = "[http]\ndefault_timeout_ms = 4000\n[scooter_accumulator.commands]\n\
         answer_ms = 15000\nttl_ms = 15000\n";
    let rig = Rig::with(config).await;
    let booking = rig.book("pickup", 1).await;
    rig.cabinet.set_faults(CabinetFaults { late_ms: 5000, ..faults() });
    assert_eq!(outcomes(&rig.execute(&booking, json!({})).await.expect(200)), ["opened"]);
    // Who names one is believed.
    let other = rig.book("pickup", 1).await;
    rig.cabinet.set_faults(CabinetFaults { ignores: true, ..faults() });
    let quick = rig.backend.header("X-Request-Timeout-Ms", "2500");
    execute(&quick, &other, json!({})).await.problem(504, "cabinet_no_answer");
    // The other routes wait no longer than they did.
    let mut blocker = rig.app.database().connect().await;
    let lock = blocker.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE scooter_accumulator.bookings").await.unwrap();
    let reply = rig.backend.get(&format!("bookings/{booking}")).await;
    reply.problem(504, "deadline_exceeded");
    lock.rollback().await.unwrap();
}

#[actix_web::test]
async fn a_command_lives_no_longer_than_its_callers_patience() {
    let rig = Rig::start().await;
    let booking = rig.book("pickup", 1).await;
    rig.cabinet.set_faults(CabinetFaults { ignores: true, ..faults() });
    let quick = rig.backend.header("X-Request-Timeout-Ms", "2500");
    execute(&quick, &booking, json!({})).await.problem(504, "cabinet_no_answer");
    let commands = rig.cabinet.commands();
    let unlock = commands.iter().find(|command| command["type"] == "unlock_cells").unwrap();
    let time = |key: &str| unlock[key].as_str().unwrap().parse::<Timestamp>().unwrap();
    let lives = time("expires_at").duration_since(time("issued_at"));
    assert!(lives.as_millis() <= 2500, "{lives:?}");
}

#[actix_web::test]
async fn a_return_opens_as_many_cells_as_it_brings() {
    let rig = Rig::start().await;
    rig.give(&["old-1", "old-2", "old-3"]).await;
    let booking = rig.book("return", 2).await;
    rig.execute(&booking, json!({})).await.invalid_at("/accumulator_ids");
    for wrong in [json!([]), json!(["old-1", "old-1"]), json!(["old-1", "old-2", "old-3"])] {
        let reply = rig.execute(&booking, json!({ "accumulator_ids": wrong })).await;
        assert_eq!(reply.status, 400, "{wrong}");
    }
    let reply = rig.execute(&booking, json!({"accumulator_ids": ["old-1", "acc-1"]})).await;
    let problem = reply.problem(409, "accumulator_not_with_contractor");
    assert_eq!(problem["accumulator_ids"], json!(["acc-1"]));
    let named = json!({"accumulator_ids": ["old-1"]});
    let executed = rig.execute(&booking, named.clone()).await.expect(200);
    assert_eq!(outcomes(&executed), ["opened", "unused"]);
    assert_eq!(executed["cells"][0]["accumulator_id"], "old-1");
    assert_eq!(rig.openings().len(), 1);
    assert_eq!(rig.place_of("old-1").await, technician(), "it is not reported yet");
    let other = rig.execute(&booking, json!({"accumulator_ids": ["old-2"]})).await;
    other.problem(409, "other_accumulators");
    rig.execute(&booking, named).await.expect(200);
    rig.cabinet.put(4, "old-1", 10.0).unwrap();
    rig.cabinet.shut(4).unwrap();
    let settled = rig.becomes(&booking, "completed").await;
    assert_eq!(outcomes(&settled), ["returned", "unused"]);
    assert_eq!(rig.place_of("old-1").await, cell(4));
    rig.assert_sound().await;
}

#[actix_web::test]
async fn what_cannot_be_executed_is_told() {
    let rig = Rig::start().await;
    let nobody = Uuid::now_v7().to_string();
    rig.execute(&nobody, json!({})).await.problem(404, "booking_not_found");
    rig.execute("no-id", json!({})).await.problem(404, "not_found");
    let booking = rig.book("pickup", 1).await;
    rig.execute(&booking, json!({"cells": [1]})).await.problem(400, "invalid_request");
    rig.execute(&booking, json!({"accumulator_ids": ["acc-1"]}))
        .await
        .invalid_at("/accumulator_ids");
    rig.backend.delete(&format!("bookings/{booking}")).await;
    let cancelled = rig.execute(&booking, json!({})).await.problem(409, "booking_not_active");
    assert_eq!(cancelled["booking_status"], "cancelled");
    let booking = rig.book("pickup", 1).await;
    let past = "UPDATE scooter_accumulator.bookings SET expires_at = now() - interval '1 second' \
         WHERE status = 'active'";
    rig.app.database().execute(past).await;
    let expired = rig.execute(&booking, json!({})).await.problem(409, "booking_not_active");
    assert_eq!(expired["booking_status"], "expired");
    assert_eq!(rig.cabinet.openings(), []);
}

#[actix_web::test]
async fn nothing_is_sent_to_a_cabinet_that_is_not_there() {
    let rig = Rig::start().await;
    let booking = rig.book("pickup", 1).await;
    rig.cabinet.cut();
    eventually("the cabinet is offline", async || {
        rig.backend.get("cabinets/cab-1").await.json()["online"] == false
    })
    .await;
    rig.execute(&booking, json!({})).await.problem(409, "cabinet_offline");
    rig.cabinet.come_back();
    rig.charged("cab-1", 2).await;
    rig.execute(&booking, json!({})).await.expect(200);
}

#[actix_web::test]
async fn without_a_broker_it_is_refused_at_once_while_bookings_go_on() {
    let mut rig = Rig::start().await;
    let done = rig.book("pickup", 1).await;
    rig.habit(good());
    rig.execute(&done, json!({})).await.expect(200);
    let settled = rig.becomes(&done, "completed").await;
    rig.broker.kill();
    let row = async || {
        let state = rig.app.anonymous().get("readyz").await.json();
        let rows = state["dependencies"].as_array().unwrap().clone();
        rows.into_iter().find(|row| row["name"] == "mqtt").unwrap()["status"].clone()
    };
    eventually("/readyz says so", async || row().await == "unavailable").await;
    let booking = rig.book("pickup", 1).await;
    rig.execute(&booking, json!({})).await.problem(503, "broker_unavailable");
    assert_eq!(rig.booking(&booking).await["status"], "active");
    assert_eq!(rig.execute(&done, json!({})).await.expect(200), settled);
    let body = json!({"type": "get_state"});
    rig.backend.post("cabinets/cab-1/commands", body).await.problem(503, "broker_unavailable");
    rig.broker.start_again().await;
    rig.app.connected("mqtt").await;
    eventually("the cabinet is back", async || rig.cabinet.is_connected()).await;
    rig.execute(&booking, json!({})).await.expect(200);
    rig.becomes(&booking, "completed").await;
}

#[actix_web::test]
async fn clocks_that_go_wrong_neither_refuse_early_nor_open_late() {
    for skew_s in [600, -600] {
        let rig = Rig::start().await;
        rig.habit(good());
        rig.cabinet.set_faults(CabinetFaults { skew_s, ..faults() });
        rig.cabinet.report();
        let ahead =
            "SELECT count(*) FROM scooter_accumulator.cabinets WHERE abs(clock_ahead_ms) > 590000";
        // A clock that was set back is seen by the next answer.
        rig.poll("cab-1").await;
        eventually("its clock is known", async || rig.app.database().count(ahead).await == 1).await;
        let booking = rig.book("pickup", 1).await;
        rig.execute(&booking, json!({})).await.expect(200);
        rig.becomes(&booking, "completed").await;
        // What it looks at too late by our clock is late by its own.
        rig.cabinet.set_faults(CabinetFaults { skew_s, slow_ms: 5_300, ..faults() });
        let late = rig.book("pickup", 1).await;
        rig.execute(&late, json!({})).await.problem(504, "cabinet_no_answer");
        rig.becomes(&late, "active").await;
        assert_eq!(rig.openings().len(), 1, "only the first");
        rig.assert_sound().await;
    }
}

#[actix_web::test]
async fn a_caller_without_time_left_makes_the_booking_unknown_at_once() {
    let rig =
        Rig::with("[scooter_accumulator.commands]\nanswer_ms = 60000\nttl_ms = 60000\n").await;
    rig.cabinet.set_faults(CabinetFaults { ignores: true, ..faults() });
    let booking = rig.book("pickup", 1).await;
    let quick = rig.backend.header("X-Request-Timeout-Ms", "2500");
    execute(&quick, &booking, json!({})).await.problem(504, "cabinet_no_answer");
    rig.becomes(&booking, "unknown").await;
    rig.cabinet.set_faults(faults());
    rig.becomes(&booking, "active").await;
}

#[actix_web::test]
async fn several_bookings_at_one_cabinet_take_their_turns() {
    let rig = Rig::with(
        "[scooter_accumulator.commands]\npace_ms = 300\nttl_ms = 5000\nanswer_ms = 5000\n",
    )
    .await;
    rig.habit(good());
    let bookings =
        [rig.book("pickup", 1).await, rig.book("pickup", 1).await, rig.book("pickup", 1).await];
    let call = |booking: usize| rig.execute(&bookings[booking], json!({}));
    let (one, two, three) = futures_util::join!(call(0), call(1), call(2));
    for reply in [one, two, three] {
        reply.expect(200);
    }
    for booking in &bookings {
        rig.becomes(booking, "completed").await;
    }
    assert_eq!(rig.openings().len(), 3);
}

#[actix_web::test]
async fn a_server_that_stops_hears_the_answers_that_its_callers_wait_for() {
    let mut rig = Rig::start().await;
    rig.cabinet.set_faults(CabinetFaults { late_ms: 400, ..faults() });
    let booking = rig.book("pickup", 1).await;
    let (backend, id) = (rig.backend.clone(), booking.clone());
    let call = actix_web::rt::spawn(async move { execute(&backend, &id, json!({})).await });
    eventually("the door opens", async || rig.cabinet.openings().len() == 1).await;
    rig.app.stop();
    assert_eq!(call.await.unwrap().expect(200)["status"], "executing");
}
