//! Outages of hours, in which time is moved in the database.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::super::rig::Street;
use crate::support::eventually;

const DRIVERS: usize = 300;

impl Street {
    /// Waits until an outage is open, and its queue was counted.
    async fn out(&self) {
        eventually("an outage is open", async || {
            let outages = self.outages().await;
            let open = outages.first().filter(|outage| outage.get("to_at").is_none());
            open.is_some_and(|outage| outage["longest_queue"] != 0)
        })
        .await;
    }

    /// Waits until the last outage is over and made up for; it.
    async fn caught_up(&self) -> Value {
        eventually("what waited is sent", async || {
            self.outages().await[0].get("caught_up_at").is_some()
        })
        .await;
        self.outages().await[0].clone()
    }

    /// So many hours pass.
    async fn hours_pass(&self, hours: i32) {
        let sql = format!(
            "UPDATE deptrans.krt_outages SET from_at = from_at - interval '{hours} hours'; \
             UPDATE deptrans.status_queue SET occurred_at = occurred_at - interval '{hours} hours', \
               queued_at = queued_at - interval '{hours} hours', \
               due_at = due_at - interval '{hours} hours'; \
             UPDATE deptrans.krt_pace SET answered_at = answered_at - interval '{hours} hours'"
        );
        self.database().execute(&sql).await;
    }
}

#[track_caller]
fn time(outage: &Value, name: &str) -> Timestamp {
    outage[name].as_str().unwrap_or_else(|| panic!("no {name}: {outage}")).parse().unwrap()
}

/// Scenario 10: the regulator is down for hours.
#[actix_web::test]
async fn after_hours_only_what_is_true_now_is_told_at_the_allowed_rate_and_on_line_first() {
    let config = "[deptrans_driver_status_integration.krt]\ncalls_per_second = 150\nburst = 5\n";
    let street = Street::with(config).await;
    let drivers = street.ready(DRIVERS).await;
    // All is well at first.
    let all =
        |status: &'static str| -> Vec<_> { drivers.iter().map(|index| (*index, status)).collect() };
    street.go(&all("offline")).await;
    street.drained().await;
    let before = street.sandbox().all_reported().len();

    street.krt_fault(json!({"kind": "status", "status": 503, "route": "statuses"}));
    street.go(&all("online")).await;
    street.out().await;
    street.hours_pass(2).await;
    // Intake goes on: everybody's status changes three times more.
    for round in 0..3_u64 {
        let status =
            |index: &u64| if (index + round).is_multiple_of(3) { "offline" } else { "busy" };
        let changes: Vec<_> = drivers.iter().map(|index| (*index, status(index))).collect();
        street.go(&changes).await;
        assert_eq!(street.waiting().await, DRIVERS as i64);
        street.hours_pass(1).await;
    }
    let rows = "SELECT count(*) FROM deptrans.status_queue";
    assert_eq!(street.database().count(rows).await, DRIVERS as i64, "one row a driver");
    assert_eq!(street.sandbox().all_reported().len(), before, "nothing was told");
    // Nothing but probes leaves.
    let calls = || street.sandbox().calls("krt", "POST /api/v1/statuses");
    let asked = calls();
    let since = std::time::Instant::now();
    tokio::time::sleep(Duration::from_millis(500)).await;
    eventually("it is probed", async || calls() > asked).await;
    let (probes, passed) = (calls() - asked, since.elapsed().as_secs_f64());
    assert!((probes as f64) <= 20.0 * passed, "{probes} calls in {passed} s");

    let back = Timestamp::now();
    street.app.sandbox.clear_fault("krt");
    let outage = street.caught_up().await;
    street.drained().await;
    let told: Vec<_> = street.sandbox().all_reported().split_off(before);
    assert_eq!(told.len(), DRIVERS, "one report a driver");
    let off_line = |index: &&u64| (**index + 2).is_multiple_of(3);
    let on = DRIVERS - drivers.iter().filter(off_line).count();
    // Those who are being sent when the first of the others are taken may be overtaken.
    let first_on = told.iter().take(on).filter(|report| report.on_line).count();
    assert!(first_on >= on - 100, "{first_on} of {on} came before those off line");
    for index in &drivers {
        assert_eq!(street.told(*index).last(), Some(&!off_line(&index)), "driver {index}");
    }
    // A call may be late on its way, and is never early.
    let took = told[DRIVERS - 1].received_at.duration_since(back).as_secs_f64();
    assert!(took >= (DRIVERS - 10) as f64 / 150.0 * 0.9, "{took} s is faster than the pace");

    assert_eq!(outage["longest_queue"], DRIVERS);
    assert_eq!(outage["superseded"], 3 * DRIVERS);
    let (from, to) = (time(&outage, "from_at"), time(&outage, "to_at"));
    let lasted = to.duration_since(from);
    let expected = SignedDuration::from_hours(5);
    assert!(lasted >= expected && lasted < expected + SignedDuration::from_mins(2), "{lasted}");
    assert!(time(&outage, "caught_up_at") > to);
    assert_eq!(street.outages().await.len(), 1);
}

/// However the calls fail.
#[actix_web::test]
async fn every_way_of_failing_is_an_outage_and_its_end_is_noticed() {
    let config = "[upstreams.krt]\ntimeout_ms = 2500\n\
         [deptrans_driver_status_integration]\noutage_after_ms = 2500\n";
    let street = Street::with(config).await;
    let drivers = street.ready(30).await;
    let faults = [
        json!({"kind": "close"}),
        json!({"kind": "hang"}),
        json!({"kind": "garbage", "route": "statuses"}),
        json!({"kind": "status", "status": 500, "route": "statuses"}),
    ];
    for (round, fault) in faults.into_iter().enumerate() {
        street.krt_fault(fault.clone());
        let status = if round % 2 == 0 { "online" } else { "offline" };
        let all: Vec<_> = drivers.iter().map(|index| (*index, status)).collect();
        street.go(&all).await;
        street.out().await;
        assert_eq!(street.outages().await.len(), round + 1, "{fault}");
        assert_eq!(street.waiting().await, 30);
        street.app.sandbox.clear_fault("krt");
        let outage = street.caught_up().await;
        assert_eq!(outage["longest_queue"], 30, "{fault}");
        street.drained().await;
        assert!(time(&outage, "from_at") < time(&outage, "to_at"));
    }
    assert_eq!(street.sandbox().krt_counts().reports, 120);
}

/// Failures that are few, or short, are none.
#[actix_web::test]
async fn a_short_failure_is_no_outage() {
    let street =
        Street::with("[deptrans_driver_status_integration]\noutage_after_ms = 60000\n").await;
    let drivers = street.ready(30).await;
    street.krt_fault(json!({"kind": "status", "status": 503, "route": "statuses", "times": 14}));
    let all: Vec<_> = drivers.iter().map(|index| (*index, "online")).collect();
    street.go(&all).await;
    street.drained().await;
    assert_eq!(street.outages().await, Vec::<Value>::new());
    assert_eq!(street.sandbox().krt_counts().reports, 30);
}

/// One status that KRT cannot stand must not keep all others back: the next probe is another's.
#[actix_web::test]
async fn a_status_that_brings_krt_down_is_not_the_only_one_that_asks_for_it() {
    let street = Street::start().await;
    let drivers = street.ready(12).await;
    street.krt_fault(json!({"kind": "status", "status": 500, "route": "statuses"}));
    let all: Vec<_> = drivers.iter().map(|index| (*index, "online")).collect();
    street.go(&all).await;
    street.out().await;
    let asked = RefCell::new(BTreeSet::new());
    eventually("probes are of several drivers", async || {
        if let Some((_, body)) = street.sandbox().last_request("krt", "statuses") {
            let body: Value = serde_json::from_slice(&body).unwrap();
            asked.borrow_mut().insert(body["driver_id"].as_str().unwrap().to_owned());
        }
        asked.borrow().len() >= 4
    })
    .await;
}
