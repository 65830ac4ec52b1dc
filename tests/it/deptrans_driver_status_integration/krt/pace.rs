//! The pace of all instances together.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::super::rig::{Instances, Street, go, ready};
use crate::support::eventually;

#[actix_web::test]
async fn all_instances_together_keep_the_pace() {
    const EVERY: SignedDuration = SignedDuration::from_millis(1_000 / 40);
    const BURST: i32 = 5;
    let world = Instances::prepare();
    let drivers = ready(&world.sandbox, &world.database, 150).await;
    let env = [("KRT__CALLS_PER_SECOND", "40"), ("KRT__BURST", "5")];
    let servers = [world.start(&env).await, world.start(&env).await];
    let all: Vec<_> = drivers.iter().map(|index| (*index, "online")).collect();
    let begun = Timestamp::now();
    go(&Instances::internal(&servers[0]), &world.sandbox, &all).await;
    eventually("all are sent", async || world.waiting().await == 0).await;
    let counts = world.sandbox.krt_counts();
    assert_eq!((counts.reports, counts.repeated), (150, 0));
    // A call may be late on its way to the regulator, and is never early.
    for (report, number) in world.sandbox.all_reported().iter().zip(1..) {
        let after = report.received_at.duration_since(begun);
        assert!(after >= EVERY * (number - BURST), "the {number}th came after {after}");
    }
}

#[actix_web::test]
async fn too_many_calls_slow_everybody_down() {
    let street = Street::start().await;
    let drivers = street.ready(30).await;
    let busy =
        json!({"kind": "status", "status": 429, "retry_after": 5, "route": "statuses", "times": 1});
    street.krt_fault(busy);
    let all: Vec<_> = drivers.iter().map(|index| (*index, "online")).collect();
    street.go(&all).await;
    let later = "SELECT count(*) FROM deptrans.krt_pace WHERE next_at > now() + interval '300 ms'";
    eventually("the pace of all is put off", async || street.database().count(later).await == 1)
        .await;
    street.drained().await;
    street.had_fate("waits", "rate_limited", 1).await;
    assert_eq!(street.sandbox().krt_counts().reports, 30);
    assert_eq!(street.outages().await, Vec::<serde_json::Value>::new());
    let attempts = "SELECT max(attempts)::bigint FROM deptrans.status_queue";
    assert_eq!(street.database().count(attempts).await, 0);
}

/// The regulator itself counts: with our pace above what it allows, all is told in the end.
#[actix_web::test]
async fn a_regulator_that_limits_us_is_told_everything_in_the_end() {
    let street = Street::start().await;
    street.sandbox().set_krt(json!({"per_second": 20})).unwrap();
    let drivers = street.ready(60).await;
    let all: Vec<_> = drivers.iter().map(|index| (*index, "online")).collect();
    street.go(&all).await;
    street.drained().await;
    let counts = street.sandbox().krt_counts();
    assert_eq!(counts.reports, 60);
    assert!(counts.limited > 0, "{counts:?}");
    assert!(drivers.iter().all(|index| street.told(*index) == [true]));
}
