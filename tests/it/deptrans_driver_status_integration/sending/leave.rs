//! An id is taken from a driver who is on line under it: the regulator would have him on line for ever.

use serde_json::{Value, json};

use super::super::rig::{DOMAIN, Street};
use crate::support::eventually;

/// Support staff removes his id.
async fn unbind(street: &Street, index: u64) {
    let license = street.driver(index).license.unwrap().pd_id;
    let reply = street.internal.delete(&format!("id/{license}")).await;
    assert_eq!(reply.status, 204);
}

/// Whether those under an id went on line, by what the regulator was told.
fn told_under(street: &Street, id: &str) -> Vec<bool> {
    street.sandbox().reported(id).iter().map(|report| report.on_line).collect()
}

#[actix_web::test]
async fn whoever_is_on_line_is_told_off_line_when_his_id_is_removed() {
    let street = Street::start().await;
    let drivers = street.ready(3).await;
    let [on, off, silent] = drivers[..] else { panic!() };
    street.go(&[(on, "online"), (off, "online"), (off, "offline")]).await;
    street.drained().await;
    let before = street.told(off);
    for index in [on, off, silent] {
        unbind(&street, index).await;
    }
    eventually("the regulator is told", async || street.told(on) == [true, false]).await;
    street.drained().await;
    let row = street.row(on).await;
    assert_eq!((row.waits, row.reported_on_line), (false, Some(false)));
    assert_eq!(row.status, "online", "that is what he is");
    assert_eq!(street.told(off), before, "he was off line");
    assert!(street.told(silent).is_empty());
    let reports = street.reported(on);
    assert!(reports[0].occurred_at < reports[1].occurred_at);
    assert_eq!(reports[0].license_number, reports[1].license_number);
    assert_eq!(street.shift(on).await.and_then(|(status, ..)| status), None);
    street.had_fate("left_out", "no_id", 1).await;
    street.app.counted("deptrans_statuses_changed_while_sent_total", 0).await;

    street.go(&[(on, "busy"), (on, "offline")]).await;
    street.drained().await;
    unbind(&street, on).await;
    street.drained().await;
    assert_eq!(street.told(on), [true, false], "once is enough");
}

#[actix_web::test]
async fn that_waits_while_the_regulator_is_down() {
    let street = Street::start().await;
    let driver = street.ready(1).await[0];
    street.goes(driver, "online").await;
    street.drained().await;
    street.krt_fault(json!({"kind": "close"}));
    unbind(&street, driver).await;
    eventually("it is tried", async || street.fate("failed", "krt_unavailable").await > 0).await;
    // He goes off line by himself, and that says the same.
    street.goes(driver, "offline").await;
    assert_eq!(street.told(driver), [true]);
    street.sandbox().clear_fault("krt");
    street.drained().await;
    assert_eq!(street.told(driver), [true, false]);
    assert_eq!(street.row(driver).await.reported_on_line, Some(false));
}

#[actix_web::test]
async fn an_id_that_is_removed_while_it_is_reported_on_line_is_told_off_line_afterwards() {
    let street = Street::start().await;
    let driver = street.ready(1).await[0];
    street.krt_fault(json!({"kind": "hold_after_work", "route": "statuses", "times": 1}));
    street.goes(driver, "online").await;
    eventually("it is on its way", async || street.told(driver) == [true]).await;
    unbind(&street, driver).await;
    street.sandbox().clear_fault("krt");
    eventually("the regulator is told", async || street.told(driver) == [true, false]).await;
    street.drained().await;
    assert_eq!(street.row(driver).await.reported_on_line, Some(false));
    assert_eq!(street.shift(driver).await.and_then(|(status, ..)| status), None);
}

#[actix_web::test]
async fn whoever_gets_another_id_goes_off_line_under_the_first_and_on_line_under_the_second() {
    let street = Street::start().await;
    let index = street.ready(1).await[0];
    let driver = street.driver(index);
    let license = driver.license.unwrap();
    street.goes(index, "online").await;
    street.drained().await;
    let known = json!({"license_number": license.number});
    for new in ["new-id-43", "new-id-44"] {
        street.sandbox().set_krt_driver(new, known.clone()).unwrap();
        let caller = street.app.driver(DOMAIN, &driver.park_id, &driver.driver_id);
        caller.post("deptrans-status/v1/id", json!({ "id": new })).await.expect(200);
        eventually("he is on line under the new one", async || told_under(&street, new) == [true])
            .await;
    }
    street.drained().await;
    assert_eq!(told_under(&street, &license.krt_id), [true, false]);
    assert_eq!(told_under(&street, "new-id-43"), [true, false]);
    let all: Vec<_> = street.sandbox().all_reported();
    let all: Vec<_> = all.iter().map(|report| report.on_line).collect();
    assert_eq!(all, [true, false, true, false, true], "in this order");
    assert_eq!(street.row(index).await.reported_on_line, Some(true));
    let (status, ..) = street.shift(index).await.expect("a shift");
    assert_eq!(status.as_deref(), Some("active"), "that of the id which he has");
}

/// Two who have a licence each; the first is on line.
async fn two(street: &Street) -> (u64, u64) {
    let drivers = street.ready(2).await;
    let [mover, other] = drivers[..] else { panic!() };
    street.goes(mover, "online").await;
    street.drained().await;
    assert_eq!(street.row(mover).await.reported_on_line, Some(true));
    (mover, other)
}

/// The first's profile has the licence of the second.
fn moves(street: &Street, mover: u64, other: u64) {
    give(street, mover, json!({"license_pd_id": street.driver(other).license.unwrap().pd_id}));
}

/// driver-profiles says something else of a profile.
fn give(street: &Street, index: u64, change: Value) {
    let driver = street.driver(index);
    street.sandbox().set_profile(&driver.park_id, &driver.driver_id, &change).unwrap();
}

#[actix_web::test]
async fn whoever_moves_to_another_licence_goes_off_line_under_the_first() {
    let street = Street::start().await;
    let (mover, other) = two(&street).await;
    moves(&street, mover, other);
    eventually("he is on line under the new one", async || street.told(other) == [true]).await;
    street.drained().await;
    assert_eq!(street.told(mover), [true, false]);
    let all = street.sandbox().all_reported();
    let all: Vec<_> = all.iter().map(|report| report.on_line).collect();
    assert_eq!(all, [true, false, true], "in this order");
    let row = street.row(mover).await;
    assert_eq!((row.waits, row.reported_on_line), (false, Some(true)));
    // Each id with its own licence.
    street.had_fate("refused", "invalid", 0).await;

    street.goes(mover, "offline").await;
    street.drained().await;
    assert_eq!((street.told(mover), street.told(other)), (vec![true, false], vec![true, false]));
}

/// The id is still the first licence's, and so is what the regulator says of its shift.
#[actix_web::test]
async fn the_state_of_the_licence_that_was_left_is_kept() {
    let street = Street::start().await;
    let (mover, other) = two(&street).await;
    let license = street.driver(mover).license.unwrap();
    let resting = json!({"license_number": license.number, "session_status": "resting"});
    street.sandbox().set_krt_driver(&license.krt_id, resting).unwrap();
    moves(&street, mover, other);
    eventually("he is on line under the new one", async || street.told(other) == [true]).await;
    street.drained().await;
    let status = |shift: Option<(Option<String>, bool, i64)>| shift.and_then(|(status, ..)| status);
    assert_eq!(status(street.shift(mover).await).as_deref(), Some("resting"));
    assert_eq!(status(street.shift(other).await).as_deref(), Some("active"));
}

/// What was told is told by the row, whatever a process remembers.
#[actix_web::test]
async fn a_move_that_no_process_saw_is_found_with_the_next_status() {
    let street = Street::start().await;
    let (mover, other) = two(&street).await;
    let license = street.driver(other).license.unwrap();
    let told = street.driver(mover).license.unwrap();
    // As if his last status had been told under the other's licence.
    let sql = format!(
        "UPDATE deptrans.status_queue SET driver_license_pd_id = '\\x01{}'::bytea",
        license.pd_id
    );
    street.database().execute(&sql).await;
    street.goes(mover, "busy").await;
    street.drained().await;
    let all: Vec<_> = street.sandbox().all_reported();
    let all: Vec<_> = all.iter().map(|report| (&*report.driver_id, report.on_line)).collect();
    let [first, second] = [told.krt_id.as_str(), license.krt_id.as_str()];
    assert_eq!(all, [(first, true), (second, false), (first, true)]);
}

#[actix_web::test]
async fn a_profile_that_is_gone_goes_off_line_under_the_licence_that_it_had() {
    let street = Street::start().await;
    let drivers = street.ready(2).await;
    street.go(&[(drivers[0], "online"), (drivers[1], "online")]).await;
    street.drained().await;
    give(&street, drivers[0], json!({"is_deleted": true}));
    give(&street, drivers[1], json!({"license_pd_id": null}));
    street.caches_have_followed().await;
    street.go(&[(drivers[0], "offline"), (drivers[1], "offline")]).await;
    street.drained().await;
    for driver in drivers {
        assert_eq!(street.told(driver), [true, false]);
    }
}

/// The regulator may have given the id to somebody else by then: nothing can be said under it.
#[actix_web::test]
async fn what_the_regulator_refuses_of_that_is_not_repeated() {
    let street = Street::start().await;
    let driver = street.ready(1).await[0];
    street.goes(driver, "online").await;
    street.drained().await;
    let id = street.driver(driver).license.unwrap().krt_id;
    street.sandbox().set_krt_driver(&id, json!({"license_number": "7799999999"})).unwrap();
    unbind(&street, driver).await;
    street.drained().await;
    street.had_fate("refused", "invalid", 1).await;
    assert_eq!(street.told(driver), [true]);
    assert_eq!(street.row(driver).await.reported_on_line, Some(false));
}
