//! Supply at risk, in the metrics.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::super::rig::{Street, TULA};
use crate::support::eventually;

impl Street {
    async fn supply(&self) -> [u64; 4] {
        let mut counts = [0; 4];
        let reasons = ["total", "no_id", "no_active_shift", "shift_ends_within_hour"];
        for (count, reason) in counts.iter_mut().zip(reasons) {
            let series =
                format!("deptrans_supply_drivers{{reason=\"{reason}\",region=\"moscow\"}}");
            *count = self.app.count(&series).await;
        }
        counts
    }

    async fn supply_becomes(&self, expected: [u64; 4]) {
        eventually(&format!("supply is {expected:?}"), async || self.supply().await == expected)
            .await;
    }

    fn pin_shift(&self, index: u64, status: &str, ends_in: Option<SignedDuration>) {
        let ended_at = ends_in.map(|ends_in| Timestamp::now() + ends_in);
        let id = self.driver(index).license.unwrap().krt_id;
        let shift = json!({"session_status": status, "ended_at": ended_at});
        self.sandbox().set_krt_driver(&id, shift).unwrap();
    }
}

#[actix_web::test]
async fn drivers_on_line_in_the_region_are_counted_by_what_they_miss() {
    let street = Street::start().await;
    let drivers = street.ready(8).await;
    let [well, busy, unbound, resting, over, soon, far, off] = drivers[..] else { panic!() };
    let unbind = "UPDATE deptrans.profiles SET deptrans_id = NULL \
         WHERE deptrans_id = convert_to($1, 'UTF8')";
    let id = street.driver(unbound).license.unwrap().krt_id;
    street.database().query(unbind, &[&id]).await;
    street.pin_shift(resting, "resting", Some(SignedDuration::from_hours(5)));
    street.pin_shift(over, "active", Some(SignedDuration::from_secs(-1)));
    street.pin_shift(soon, "active", Some(SignedDuration::from_mins(59)));
    street.place(far, Some(TULA));
    let mut all: Vec<_> = drivers.iter().map(|index| (*index, "online")).collect();
    all.retain(|(index, _)| ![busy, off].contains(index));
    all.extend([(busy, "busy"), (off, "offline")]);
    street.go(&all).await;
    street.drained().await;
    street.supply_becomes([6, 1, 2, 1]).await;
    // Who goes off line, or away, is no supply.
    street.place(well, Some(TULA));
    street.go(&[(well, "busy"), (unbound, "offline")]).await;
    street.drained().await;
    street.supply_becomes([4, 0, 2, 1]).await;
}

#[actix_web::test]
async fn the_queue_is_counted_with_its_age() {
    let street = Street::start().await;
    let drivers = street.ready(5).await;
    street.app.fault("driver-trackstory", json!({"kind": "close"}));
    let all: Vec<_> = drivers.iter().map(|index| (*index, "online")).collect();
    street.go(&all).await;
    let queue = async || {
        let waiting = street.app.count("deptrans_queue_statuses").await;
        (waiting, street.app.count("deptrans_queue_oldest_seconds").await)
    };
    eventually("all are counted", async || queue().await.0 == 5).await;
    let age = "UPDATE deptrans.status_queue SET queued_at = queued_at - interval '1 hour'";
    street.database().execute(age).await;
    eventually("its age is told", async || (3_600..3_700).contains(&queue().await.1)).await;
    street.app.sandbox.clear_fault("driver-trackstory");
    street.drained().await;
    eventually("nothing is left", async || queue().await == (0, 0)).await;
    street.app.counted("deptrans_status_delay_seconds_count", 5).await;
}
