//! Several instances, one of which is killed or stopped.

use std::time::Duration;

use serde_json::json;

use super::super::rig::{Instances, go, ready};
use crate::support::{eventually, eventually_within};

const DRIVERS: usize = 400;

/// A lease that is as short as may be.
const SHORT_LEASE: [(&str, &str); 2] =
    [("SENDING__LEASE_MS", "11000"), ("SENDING__BATCH_MS", "1000")];
/// Neither a call nor a batch ends before a test lets it.
const PATIENT: [(&str, &str); 3] = [
    ("SENDING__LEASE_MS", "120000"),
    ("SENDING__BATCH_MS", "60000"),
    ("FLEET__UPSTREAMS__KRT__TIMEOUT_MS", "60000"),
];
/// Time passes: what was taken under a patient lease is due again.
const LEASES_ARE_OVER: &str = "UPDATE deptrans.status_queue \
     SET due_at = due_at - interval '120 seconds' WHERE lease IS NOT NULL";

#[actix_web::test]
async fn two_instances_share_the_queue_and_tell_each_driver_once() {
    let world = Instances::prepare();
    let drivers = ready(&world.sandbox, &world.database, DRIVERS).await;
    let servers = [world.start(&PATIENT).await, world.start(&PATIENT).await];
    world.sandbox.set_fault("krt", json!({"kind": "hold", "route": "statuses"})).unwrap();
    let all: Vec<_> = drivers.iter().map(|index| (*index, "online")).collect();
    let (one, other) = all.split_at(DRIVERS / 2);
    go(&Instances::internal(&servers[0]), &world.sandbox, one).await;
    go(&Instances::internal(&servers[1]), &world.sandbox, other).await;
    let batches = "SELECT count(DISTINCT lease) FROM deptrans.status_queue";
    eventually("all workers of both have taken", async || world.database.count(batches).await == 4)
        .await;
    world.sandbox.clear_fault("krt");
    eventually("all are sent", async || world.waiting().await == 0).await;
    let counts = world.sandbox.krt_counts();
    assert_eq!((counts.reports, counts.repeated), (DRIVERS as u64, 0), "no driver twice");
    assert_eq!(counts.tokens, 1, "they share a token");
    for server in &servers {
        let sent = "deptrans_statuses_total{outcome=\"sent\",reason=\"on_line\"}";
        Instances::has_counted(server, sent).await;
    }
}

#[actix_web::test]
async fn what_a_killed_instance_had_taken_is_sent_by_another() {
    let world = Instances::prepare();
    let drivers = ready(&world.sandbox, &world.database, DRIVERS).await;
    let first = world.start(&PATIENT).await;
    // Answers come after the work: whoever is killed meanwhile has told and does not know.
    let held = json!({"kind": "hold_after_work", "route": "statuses"});
    world.sandbox.set_fault("krt", held).unwrap();
    let all: Vec<_> = drivers.iter().map(|index| (*index, "online")).collect();
    go(&Instances::internal(&first), &world.sandbox, &all).await;
    eventually("some are sent", async || world.sandbox.krt_counts().reports > 20).await;
    drop(first);
    world.sandbox.clear_fault("krt");
    let taken = "SELECT count(*) FROM deptrans.status_queue WHERE lease IS NOT NULL";
    assert!(world.database.count(taken).await > 0, "it was killed in between");
    world.database.execute(LEASES_ARE_OVER).await;
    let _second = world.start(&PATIENT).await;
    eventually("all are sent", async || world.waiting().await == 0).await;
    let counts = world.sandbox.krt_counts();
    assert_eq!(counts.reports, DRIVERS as u64, "none is lost, none is another report");
    assert!(drivers.iter().all(|index| world.told(*index) == [true]));
    let states = "SELECT count(*) FROM deptrans.session_statuses WHERE session_status = 'active'";
    assert_eq!(world.database.count(states).await, DRIVERS as i64);
}

/// The first tells the regulator, is stopped, and wants to settle when its lease is long over.
#[actix_web::test]
async fn an_instance_that_was_stopped_past_its_lease_changes_nothing() {
    let world = Instances::prepare();
    let driver = ready(&world.sandbox, &world.database, 1).await[0];
    let first = world.start(&PATIENT).await;
    let held = json!({"kind": "hold_after_work", "route": "statuses", "times": 1});
    world.sandbox.set_fault("krt", held).unwrap();
    go(&Instances::internal(&first), &world.sandbox, &[(driver, "online")]).await;
    eventually("it is told", async || world.told(driver) == [true]).await;
    first.signal("STOP");
    world.sandbox.clear_fault("krt");
    world.database.execute(LEASES_ARE_OVER).await;
    // Another takes over; by now the driver is off line.
    let second = world.start(&PATIENT).await;
    eventually("it is sent again", async || world.waiting().await == 0).await;
    go(&Instances::internal(&second), &world.sandbox, &[(driver, "offline")]).await;
    eventually("and the next", async || world.told(driver) == [true, false]).await;
    eventually("it rests", async || world.waiting().await == 0).await;
    let row =
        "SELECT md5(q::text || s::text) FROM deptrans.status_queue q, deptrans.session_statuses s";
    let before: String = world.database.query(row, &[]).await[0].get(0);
    first.signal("CONT");
    eventually("it finds that it lost its lease", async || {
        let metrics = first.anonymous().get("metrics").await.text();
        metrics.contains("deptrans_status_leases_lost_total 1")
    })
    .await;
    let after: String = world.database.query(row, &[]).await[0].get(0);
    assert_eq!(before, after);
    assert_eq!(world.told(driver), [true, false]);
    assert!(world.sandbox.krt_counts().repeated >= 1, "the second told the same report");
}

/// Statuses change all the time, instances are killed and stopped: in the end the regulator believes of
/// each driver what is true.
#[actix_web::test]
async fn through_kills_and_changes_the_newest_is_told_in_the_end() {
    let world = Instances::prepare();
    let drivers = ready(&world.sandbox, &world.database, 100).await;
    let survivor = world.start(&SHORT_LEASE).await;
    world.sandbox.set_fault("krt", json!({"kind": "delay_after_work", "ms": 15})).unwrap();
    for round in 0_u64..6 {
        let victim = world.start(&SHORT_LEASE).await;
        let status = |index: &u64| match (index * 7 + round * 5) % 3 {
            0 => "offline",
            1 => "busy",
            _ => "online",
        };
        let changes: Vec<_> = drivers.iter().map(|index| (*index, status(index))).collect();
        go(&Instances::internal(&survivor), &world.sandbox, &changes).await;
        tokio::time::sleep(Duration::from_millis(20 * round)).await;
        drop(victim);
    }
    // Once the leases of those that were killed are over.
    let sent = async || world.waiting().await == 0;
    eventually_within(Duration::from_secs(40), "all are sent", sent).await;
    for index in drivers {
        let on_line = (index * 7 + 5 * 5) % 3 != 0;
        assert_eq!(world.told(index).last(), Some(&on_line), "driver {index}");
    }
    let wrong = "SELECT count(*) FROM deptrans.status_queue \
         WHERE reported_on_line IS DISTINCT FROM NOT off_line OR lease IS NOT NULL";
    assert_eq!(world.database.count(wrong).await, 0);
}
