//! Who is reported, who is not, and why.

use fleet::sandbox::SandboxDriver;
use serde_json::json;

use super::super::rig::{DOMAIN, Row, Street, TULA};

use crate::support::eventually;

const NOTHING: [bool; 0] = [];

/// A row that rests, of somebody in the first region.
fn rests(status: &str, reported_on_line: Option<bool>) -> Row {
    Row {
        waits: false,
        is_taken: false,
        status: status.to_owned(),
        reported_on_line,
        attempts: 0,
        region: Some(1),
    }
}

#[actix_web::test]
async fn on_line_busy_and_off_line_are_told_and_the_shift_is_kept() {
    let street = Street::start().await;
    let driver = street.ready(1).await[0];
    for (status, on_line) in [("online", true), ("busy", true), ("offline", false)] {
        street.goes(driver, status).await;
        eventually("it rests", async || street.row(driver).await == rests(status, Some(on_line)))
            .await;
        assert_eq!(street.told(driver).last(), Some(&on_line));
    }
    assert_eq!(street.told(driver), [true, true, false]);
    let (status, has_end, _) = street.shift(driver).await.expect("a shift");
    assert_eq!((status.as_deref(), has_end), (Some("active"), true));
    street.had_fate("sent", "on_line", 2).await;
    street.had_fate("sent", "off_line", 1).await;
    street.app.counted("deptrans_status_delay_seconds_count", 3).await;
    let report = &street.reported(driver)[0];
    let license = street.driver(driver).license.unwrap();
    assert_eq!((&report.driver_id, &report.license_number), (&license.krt_id, &license.number));
}

#[actix_web::test]
async fn whoever_is_nothing_for_the_regulator_is_left_out_and_counted_by_reason() {
    let street = Street::start().await;
    let ready = street.ready(6).await;
    let change = |index: u64| street.driver(index);
    // The caches follow.
    let set = |driver: &SandboxDriver, categories: &[&str]| {
        let change = json!({"categories": categories});
        street.sandbox().set_categories(&driver.park_id, &driver.driver_id, &change).unwrap();
    };
    let [cargo, outside, nowhere, unlicensed, unbound, unknown_number] = ready[..] else {
        panic!()
    };
    set(&change(cargo), &["cargo"]);
    street.place(outside, Some(TULA));
    street.place(nowhere, None);
    let driver = change(unlicensed);
    let none = json!({"license_pd_id": null});
    street.sandbox().set_profile(&driver.park_id, &driver.driver_id, &none).unwrap();
    let unbind = "UPDATE deptrans.profiles SET deptrans_id = NULL WHERE deptrans_id = \
         convert_to($1, 'UTF8')";
    let id = change(unbound).license.unwrap().krt_id;
    street.database().query(unbind, &[&id]).await;
    // A licence that personal does not know.
    let driver = change(unknown_number);
    let lost = json!({"license_pd_id": "lost-license"});
    street.sandbox().set_profile(&driver.park_id, &driver.driver_id, &lost).unwrap();
    street
        .database()
        .execute(
            "INSERT INTO deptrans.profiles (seq, updated_at, driver_license_pd_id, deptrans_id) \
             VALUES (999999, now(), 'lost-license', '999999999999')",
        )
        .await;
    street.caches_have_followed().await;

    let all: Vec<_> = ready.iter().map(|index| (*index, "online")).collect();
    street.go(&all).await;
    street.drained().await;
    for (index, reason) in [
        (cargo, "category"),
        (outside, "region"),
        (nowhere, "no_position"),
        (unlicensed, "no_license"),
        (unbound, "no_id"),
        (unknown_number, "no_license_number"),
    ] {
        street.had_fate("left_out", reason, 1).await;
        assert_eq!(street.told(index), NOTHING, "{reason}");
        let row = street.row(index).await;
        assert_eq!((row.waits, row.reported_on_line), (false, None), "{reason}");
        let in_region = matches!(reason, "no_license" | "no_id" | "no_license_number");
        assert_eq!(row.region, in_region.then_some(1), "{reason}");
    }
    assert_eq!(street.sandbox().krt_counts().reports, 0);
}

/// The caches may be a moment behind: a driver whom they do not know is tried again some times.
#[actix_web::test]
async fn an_unknown_driver_is_tried_again_and_then_left_out() {
    let street = Street::start().await;
    let event = json!({
        "park_id": "park-1", "driver_id": "nobody", "status": "online",
        "occurred_at": "2026-03-01T10:00:00Z", "event_id": "x",
    });
    street.internal.post("status-events", json!({"events": [event]})).await.expect(200);
    street.drained().await;
    street.had_fate("failed", "unknown_driver", 3).await;
    street.had_fate("left_out", "unknown_driver", 1).await;
}

#[actix_web::test]
async fn whoever_was_told_on_line_is_told_off_line_wherever_he_is() {
    let street = Street::start().await;
    let drivers = street.ready(3).await;
    let [far, changed, fresh] = drivers[..] else { panic!() };
    street.go(&[(far, "online"), (changed, "online")]).await;
    street.drained().await;
    street.place(far, Some(TULA));
    street.place(fresh, Some(TULA));
    let driver = street.driver(changed);
    let cargo = json!({"categories": ["cargo"]});
    street.sandbox().set_categories(&driver.park_id, &driver.driver_id, &cargo).unwrap();
    street.caches_have_followed().await;
    // On line elsewhere is nothing for the regulator; off line is.
    street.goes(far, "busy").await;
    street.drained().await;
    assert_eq!(street.told(far), [true]);
    assert_eq!(street.row(far).await.reported_on_line, Some(true));
    street.go(&[(far, "offline"), (changed, "offline"), (fresh, "offline")]).await;
    street.drained().await;
    assert_eq!(street.told(far), [true, false]);
    assert_eq!(street.told(changed), [true, false]);
    assert_eq!(street.told(fresh), NOTHING, "he was never on line for the regulator");
    assert_eq!(street.row(far).await.reported_on_line, Some(false));
    // Once is enough.
    street.goes(far, "online").await;
    street.goes(far, "offline").await;
    street.drained().await;
    assert_eq!(street.told(far), [true, false]);
}

#[actix_web::test]
async fn what_the_regulator_refuses_for_good_rests() {
    let street = Street::start().await;
    let drivers = street.ready(2).await;
    let (unknown, other) = (street.driver(drivers[0]), street.driver(drivers[1]));
    let rebind = "UPDATE deptrans.profiles SET deptrans_id = convert_to($2, 'UTF8') \
         WHERE deptrans_id = convert_to($1, 'UTF8')";
    let other_id = other.license.unwrap().krt_id;
    let unknown_id = unknown.license.unwrap().krt_id;
    street.database().query(rebind, &[&unknown_id, &"999999999999"]).await;
    let number = json!({"license_number": "7799999999"});
    street.sandbox().set_krt_driver(&other_id, number).unwrap();
    street.go(&[(drivers[0], "online"), (drivers[1], "online")]).await;
    street.drained().await;
    street.had_fate("refused", "unknown_id", 1).await;
    street.had_fate("refused", "invalid", 1).await;
    for driver in drivers {
        let row = street.row(driver).await;
        assert_eq!((row.waits, row.reported_on_line, row.region), (false, None, Some(1)));
        assert_eq!(street.shift(driver).await, None);
    }
}

#[actix_web::test]
async fn a_status_whose_answer_is_lost_is_sent_again_as_the_same_one() {
    let street = Street::start().await;
    let driver = street.ready(1).await[0];
    street.krt_fault(json!({"kind": "truncate", "route": "statuses", "times": 3}));
    street.goes(driver, "online").await;
    street.drained().await;
    let counts = street.sandbox().krt_counts();
    assert_eq!(counts.reports, 1, "one report");
    assert!(counts.repeated >= 2, "{counts:?}");
    assert_eq!(street.told(driver), [true]);
    street.had_fate("sent", "on_line", 1).await;
}

#[actix_web::test]
async fn answers_that_are_none_are_asked_for_again() {
    let street = Street::start().await;
    let drivers = street.ready(4).await;
    let all: Vec<_> = drivers.iter().map(|index| (*index, "online")).collect();
    let once = |body: serde_json::Value| json!({"kind": "answer", "status": 200, "body": body, "route": "statuses", "times": 1});
    let faults = json!([
        {"kind": "garbage", "route": "statuses", "times": 1},
        once(json!({})),
        once(json!({"session_status": "dancing"})),
        {"kind": "huge", "route": "statuses", "times": 1},
    ]);
    street.krt_fault(faults);
    street.go(&all).await;
    street.drained().await;
    for driver in drivers {
        assert_eq!(street.told(driver), [true]);
        assert_eq!(street.row(driver).await, rests("online", Some(true)));
    }
    street.had_fate("failed", "krt_bad_answer", 4).await;
}

/// A process that is to send nothing takes events all the same.
#[actix_web::test]
async fn without_workers_nothing_is_sent() {
    let street = Street::with("[deptrans_driver_status_integration.sending]\nworkers = 0\n").await;
    let driver = street.ready(1).await[0];
    street.goes(driver, "online").await;
    eventually("the queue is counted", async || {
        street.app.count("deptrans_queue_statuses").await == 1
    })
    .await;
    assert_eq!(street.told(driver), NOTHING);
    assert!(street.row(driver).await.waits);
    assert_eq!(street.app.sandbox.calls("krt", "POST /api/v1/token"), 0, "{DOMAIN}");
}
