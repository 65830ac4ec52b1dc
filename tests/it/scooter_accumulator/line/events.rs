//! What cabinets say, in whatever order and form it comes.

use fleet::sandbox::cabinets::{CabinetFaults, Cell};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Rig, cell, event, event_at, good, technician};
use crate::support::eventually;

fn in_future(millis: i64) -> Timestamp {
    Timestamp::now() + SignedDuration::from_millis(millis)
}

/// `cell_changed` of one cell.
fn changed(at: Timestamp, cell: Value) -> Value {
    event_at(at, "cell_changed", json!({"cells": [cell]}))
}

impl Rig {
    async fn cell(&self, n: usize) -> Value {
        let cells = self.backend.get("cabinets/cab-1/cells").await.expect(200);
        let cells = cells.get("items").cloned().unwrap_or(cells);
        let mut cell = cells[n - 1].clone();
        cell.as_object_mut().unwrap().remove("reported_at");
        cell
    }
}

#[actix_web::test]
async fn a_report_changes_cells_contents_and_charges() {
    let rig = Rig::start().await;
    let cells = json!([
        {"n": 1, "state": "charging", "accumulator_id": "acc-1", "charge": 40},
        {"n": 2, "state": "broken"}, {"n": 3, "state": "open"},
        {"n": 4, "state": "charged", "accumulator_id": "new", "charge": 100},
        {"n": 5, "state": "empty"},
    ]);
    rig.tell(&event("state", json!({"cells": cells, "firmware": "9.9"})));
    rig.comes_to("new", &cell(4)).await;
    for (n, shown) in [
        (1, json!({"n": 1, "state": "charging", "accumulator_id": "acc-1", "charge": 40})),
        (2, json!({"n": 2, "state": "broken", "accumulator_id": "acc-2", "charge": 99})),
        (3, json!({"n": 3, "state": "open", "accumulator_id": "acc-3", "charge": 98})),
        (4, json!({"n": 4, "state": "charged", "accumulator_id": "new", "charge": 100})),
        (5, json!({"n": 5, "state": "empty"})),
    ] {
        assert_eq!(rig.cell(n).await, shown);
    }
    // What nobody has heard of before is for a person to look at.
    let new = rig.backend.get("accumulators/new").await.expect(200);
    assert_eq!((&new["flagged"], &new["charge"]), (&json!(true), &json!(100)));
    let firmware = "SELECT count(*) FROM scooter_accumulator.cabinets WHERE firmware = '9.9'";
    assert_eq!(rig.app.database().count(firmware).await, 1);
    rig.assert_sound().await;
}

#[actix_web::test]
async fn a_repeated_event_changes_nothing() {
    let rig = Rig::start().await;
    let moved =
        changed(in_future(0), json!({"n": 5, "state": "charged", "accumulator_id": "acc-1"}));
    rig.tell(&moved);
    rig.comes_to("acc-1", &cell(5)).await;
    // A person takes it away; the event that comes once more does not bring it back.
    let place = json!({"id": "acc-1", "charge": 10, "place": {"contractor_id": "t"}});
    rig.backend.put("accumulators/acc-1", place).await.expect(200);
    for _ in 0..3 {
        rig.tell(&moved);
    }
    rig.heard("cell_changed", "duplicate", 3).await;
    assert_eq!(rig.place_of("acc-1").await, technician());
    rig.assert_sound().await;
}

#[actix_web::test]
async fn an_older_report_of_a_cell_changes_nothing() {
    let rig = Rig::start().await;
    let full = |id: &str| json!({"n": 5, "state": "charged", "accumulator_id": id, "charge": 90});
    let (first, second) = (in_future(1_000), in_future(2_000));
    rig.tell(&changed(second, full("acc-2")));
    rig.comes_to("acc-2", &cell(5)).await;
    rig.tell(&changed(first, full("acc-3")));
    rig.tell(&changed(first, json!({"n": 4, "state": "broken"})));
    eventually("the other cell is news", async || rig.cell(4).await["state"] == "broken").await;
    assert_eq!(rig.place_of("acc-3").await, cell(3));
    assert_eq!(rig.cell(5).await["accumulator_id"], "acc-2");
}

#[actix_web::test]
async fn two_that_changed_places_are_both_where_they_are_reported() {
    let rig = Rig::start().await;
    let full = |n: i32, id: &str| json!({"n": n, "state": "charged", "accumulator_id": id});
    let cells = json!([full(1, "acc-2"), full(2, "acc-1")]);
    rig.tell(&event("cell_changed", json!({ "cells": cells })));
    rig.comes_to("acc-1", &cell(2)).await;
    assert_eq!(rig.place_of("acc-2").await, cell(1));
    rig.assert_sound().await;
}

#[actix_web::test]
async fn what_is_not_an_event_of_one_of_our_cabinets_is_counted_and_changes_nothing() {
    let rig = Rig::start().await;
    let before = rig.backend.get("accumulators?cabinet_id=cab-1").await.expect(200);
    let dump = async || {
        let sql = "SELECT count(*) FROM scooter_accumulator.accumulator_moves";
        rig.app.database().count(sql).await
    };
    let moves = dump().await;
    let in_two = json!({"cells": [{"n": 4, "state": "charged", "accumulator_id": "x"},
        {"n": 5, "state": "charged", "accumulator_id": "x"}]});
    rig.tell(&event("state", in_two));
    rig.tell(&event("dance", json!({})));
    rig.tell(&json!({"v": 2, "event_id": "e", "at": Timestamp::now(), "type": "online"}));
    for garbage in ["", "{", "null", "\u{0}", "[1]"] {
        rig.cabinet.publish(None, garbage);
    }
    rig.cabinet.publish(None, vec![0xff; 1_000]);
    rig.cabinet.publish(None, vec![b' '; 300_000]);
    for (outcome, count) in
        [("contradictory", 1), ("unknown_type", 1), ("version", 1), ("malformed", 6)]
    {
        rig.heard("unread", outcome, count).await;
    }
    // A cabinet that we do not know.
    let stranger = rig.app.sandbox.cabinets().add("cab-3", vec![Cell::holding("x", 1.0)]).unwrap();
    rig.heard("online", "unknown_cabinet", 1).await;
    stranger.report();
    rig.heard("state", "unknown_cabinet", 1).await;
    // Cells that it does not have.
    rig.tell(&event(
        "cell_changed",
        json!({"cells": [{"n": 6, "state": "charged", "accumulator_id": "y"}]}),
    ));
    rig.heard("cell_changed", "applied", 1).await;
    let mut after = rig.backend.get("accumulators?cabinet_id=cab-1").await.expect(200);
    assert_eq!(after["items"].take(), before["items"]);
    assert_eq!(dump().await, moves);
    for id in ["x", "y"] {
        assert_eq!(rig.backend.get(&format!("accumulators/{id}")).await.status, 404);
    }
}

#[actix_web::test]
async fn a_cabinet_speaks_only_for_itself() {
    let rig = Rig::start().await;
    let body = json!({"id": "cab-2", "lat": 1, "lon": 1, "cell_count": 2});
    rig.backend.post("cabinets", body).await.expect(201);
    let other =
        rig.app.sandbox.cabinets().add("cab-2", vec![Cell::holding("b-1", 100.0), Cell::empty()]);
    let other = other.unwrap();
    rig.charged("cab-2", 1).await;
    // The broker lets it publish nowhere else.
    let empty = json!({"cells": [{"n": 1, "state": "empty"}]});
    other.publish(Some("cabinets/cab-1/events"), event("state", empty.clone()).to_string());
    // And whatever its payload names, its topic says whose it is.
    let mut lie = event("state", json!({"cells": [{"n": 1, "state": "empty"}]}));
    lie["cabinet_id"] = json!("cab-1");
    other.publish(None, lie.to_string());
    eventually("its own cell is empty", async || rig.place_of("b-1").await == Value::Null).await;
    assert_eq!(rig.place_of("acc-1").await, cell(1));
    // It cannot answer another's command either.
    rig.cabinet.set_faults(CabinetFaults { ignores: true, ..CabinetFaults::default() });
    let booking = rig.book("pickup", 1).await;
    rig.execute(&booking, json!({})).await.problem(504, "cabinet_no_answer");
    let sql = "SELECT id::text FROM scooter_accumulator.commands";
    let id: String = rig.app.database().query(sql, &[]).await[0].get(0);
    other.publish(None, event("command_result", json!({"command_id": id, "ok": true})).to_string());
    rig.heard("command_result", "unknown_command", 1).await;
    assert_eq!(rig.booking(&booking).await["status"], "unknown");
}

#[actix_web::test]
async fn answers_to_nothing_are_counted() {
    let rig = Rig::start().await;
    for id in [json!(Uuid::now_v7()), json!("of-another-system")] {
        rig.tell(&event("command_result", json!({"command_id": id, "ok": true})));
    }
    rig.heard("command_result", "unknown_command", 2).await;
}

#[actix_web::test]
async fn what_is_gone_without_anybody_is_lost_and_flagged() {
    let rig = Rig::start().await;
    rig.cabinet.take_by_force(1).unwrap();
    rig.cabinet.shut(1).unwrap();
    rig.comes_to("acc-1", &Value::Null).await;
    let lost = rig.backend.get("accumulators/acc-1").await.expect(200);
    assert_eq!(lost["flagged"], true);
    let history = rig.backend.get("accumulators/acc-1/history").await.expect(200);
    assert_eq!(history["items"][0]["kind"], "lost");
    // It is found again where a cabinet reports it.
    rig.cabinet.set_cell(5, Cell::holding("acc-1", 50.0)).unwrap();
    rig.cabinet.report();
    rig.comes_to("acc-1", &cell(5)).await;
    rig.assert_sound().await;
}

#[actix_web::test]
async fn what_comes_from_where_nobody_said_it_left_is_flagged() {
    let rig = Rig::start().await;
    for (id, place) in [("s-acc", json!({"scooter_id": "s"})), ("t-acc", technician())] {
        let body = json!({"id": id, "charge": 10, "place": place});
        rig.backend.post("accumulators", body).await.expect(201);
    }
    rig.cabinet.set_cell(4, Cell::holding("s-acc", 10.0)).unwrap();
    rig.cabinet.set_cell(5, Cell::holding("t-acc", 10.0)).unwrap();
    rig.cabinet.report();
    for (id, n, flagged) in [("s-acc", 4, true), ("t-acc", 5, false)] {
        rig.comes_to(id, &cell(n)).await;
        let shown = rig.backend.get(&format!("accumulators/{id}")).await.expect(200);
        assert_eq!(shown["flagged"].as_bool().unwrap_or(false), flagged, "{id}");
    }
}

#[actix_web::test]
async fn a_cabinet_is_there_until_it_leaves_or_the_broker_says_so() {
    let rig = Rig::start().await;
    let online = async |expected: bool| {
        let shown = async || rig.backend.get("cabinets/cab-1").await.json();
        eventually("as expected", async || shown().await["online"] == expected).await;
        assert!(shown().await["last_seen_at"].is_string());
    };
    rig.cabinet.leave();
    online(false).await;
    rig.cabinet.come_back();
    online(true).await;
    rig.cabinet.cut();
    online(false).await;
    rig.cabinet.come_back();
    online(true).await;
    // An old word does not bring it back.
    rig.cabinet.cut();
    online(false).await;
}

#[actix_web::test]
async fn two_instances_hear_everything_and_apply_it_once() {
    let rig = Rig::start().await;
    let other = rig.another("").await;
    let events = async |outcome: &str| {
        let series = format!(
            "scooter_accumulator_events_total{{outcome=\"{outcome}\",type=\"cell_changed\"}}"
        );
        rig.app.count(&series).await + other.count(&series).await
    };
    rig.habit(good());
    // The caller waits at one instance; whichever hears the answer first, he gets it.
    for _ in 0..3 {
        let booking = rig.book("pickup", 1).await;
        let backend = other.internal(super::DOMAIN);
        super::execute(&backend, &booking, json!({})).await.expect(200);
        rig.becomes(&booking, "completed").await;
    }
    eventually("both have heard all", async || {
        events("applied").await == 3 && events("duplicate").await >= 3
    })
    .await;
    let moves =
        "SELECT count(*) FROM scooter_accumulator.accumulator_moves WHERE kind = 'unlocked'";
    assert_eq!(rig.app.database().count(moves).await, 3);
    assert_eq!(rig.openings().len(), 3);
    rig.assert_sound().await;
}

#[actix_web::test]
async fn events_that_are_told_several_times_and_backwards_settle_all_the_same() {
    let rig = Rig::start().await;
    rig.habit(good());
    for reversed in [false, true] {
        let booking = rig.book("pickup", 1).await;
        rig.cabinet.set_faults(CabinetFaults {
            holds: true,
            copies: 2,
            ..CabinetFaults::default()
        });
        let release = async {
            // The answer, and what the technician did.
            let opened = rig.cabinet.openings().len();
            eventually("a door opens", async || rig.cabinet.openings().len() > opened).await;
            eventually("it is shut", async || rig.cabinet.cells().iter().all(|cell| !cell.open))
                .await;
            rig.cabinet.release(reversed);
        };
        let call = rig.execute(&booking, json!({}));
        let (reply, ()) = futures_util::join!(call, release);
        reply.expect(200);
        rig.becomes(&booking, "completed").await;
    }
    assert!(rig.openings().values().all(|times| *times == 1));
    rig.assert_sound().await;
}
