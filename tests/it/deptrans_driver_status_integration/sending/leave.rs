//! An id is taken from a driver who is on line under it: the regulator would have him on line for ever.

use serde_json::json;

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
    assert_eq!(street.fate("left_out", "no_id").await, 1, "then his status was looked at");
    assert_eq!(street.app.count("deptrans_statuses_changed_while_sent_total").await, 0);

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
    street
        .krt_fault(json!({"kind": "delay_after_work", "ms": 500, "route": "statuses", "times": 1}));
    street.goes(driver, "online").await;
    eventually("it is on its way", async || street.told(driver) == [true]).await;
    unbind(&street, driver).await;
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
    assert_eq!(street.fate("refused", "invalid").await, 1);
    assert_eq!(street.told(driver), [true]);
    assert_eq!(street.row(driver).await.reported_on_line, Some(false));
}
