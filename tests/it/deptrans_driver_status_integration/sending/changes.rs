//! A status that changes while it is sent.

use serde_json::json;

use super::super::rig::Street;
use crate::support::eventually;

#[actix_web::test]
async fn a_status_that_changes_while_it_is_sent_is_sent_again() {
    let street = Street::start().await;
    let driver = street.ready(1).await[0];
    street.krt_fault(json!({"kind": "hold_after_work", "route": "statuses", "times": 1}));
    street.goes(driver, "online").await;
    eventually("it is on its way", async || street.told(driver) == [true]).await;
    let row = street.row(driver).await;
    assert!(row.is_taken && row.waits, "{row:?}");
    street.goes(driver, "busy").await;
    street.goes(driver, "offline").await;
    street.sandbox().clear_fault("krt");
    street.drained().await;
    assert_eq!(street.told(driver), [true, false], "the newest follows, what was between does not");
    assert_eq!(street.row(driver).await.reported_on_line, Some(false));
    street.app.counted("deptrans_statuses_changed_while_sent_total", 1).await;
}

#[actix_web::test]
async fn an_older_event_that_comes_while_a_status_is_sent_changes_nothing() {
    let street = Street::start().await;
    let driver = street.ready(1).await[0];
    let key = street.driver(driver);
    let event = |status: &str, at: &str| {
        json!({"events": [{
            "park_id": key.park_id, "driver_id": key.driver_id, "status": status,
            "occurred_at": at, "event_id": "x",
        }]})
    };
    street.krt_fault(json!({"kind": "hold_after_work", "route": "statuses", "times": 1}));
    let newer = event("online", "2026-03-01T10:00:00Z");
    street.internal.post("status-events", newer).await.expect(200);
    eventually("it is on its way", async || street.told(driver) == [true]).await;
    let older = event("offline", "2026-03-01T09:59:59.999999Z");
    let taken = street.internal.post("status-events", older).await.expect(200);
    assert_eq!(taken["superseded"], 1);
    street.sandbox().clear_fault("krt");
    street.drained().await;
    assert_eq!(street.told(driver), [true]);
    street.app.counted("deptrans_statuses_changed_while_sent_total", 0).await;
}

/// On line goes first, however late it came.
#[actix_web::test]
async fn those_on_line_are_sent_before_those_off_line() {
    let config = "[deptrans_driver_status_integration.krt]\nconcurrency = 1\n\
         [deptrans_driver_status_integration.sending]\nworkers = 1\nbatch = 5\n";
    let street = Street::with(config).await;
    let drivers = street.ready(20).await;
    let (off, on) = drivers.split_at(10);
    // Those off line have waited for longer, and the last of each for longest.
    let waits = |(place, index): (usize, &u64)| {
        let status = if on.contains(index) { "online" } else { "offline" };
        (*index, status, 100 - i32::try_from(place).unwrap())
    };
    let order: Vec<u64> = off.iter().chain(on).copied().collect();
    street.have_waited(&order.iter().enumerate().map(waits).collect::<Vec<_>>()).await;
    street.drained().await;
    let told: Vec<bool> =
        street.sandbox().all_reported().iter().map(|report| report.on_line).collect();
    assert_eq!(told, [vec![true; 10], vec![false; 10]].concat());
    let first = street.sandbox().all_reported();
    let expected: Vec<_> =
        on.iter().map(|index| street.driver(*index).license.unwrap().krt_id).collect();
    let order: Vec<_> = first.iter().take(10).map(|report| report.driver_id.clone()).collect();
    assert_eq!(order, expected, "whoever came on line first is first");
}
