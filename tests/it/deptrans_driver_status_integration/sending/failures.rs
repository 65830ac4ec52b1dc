//! What the senders need is down, and comes back.

use std::time::Duration;

use serde_json::json;

use super::super::rig::{DOMAIN, Instances, Street, go, ready};
use crate::support::app::{TestApp, start_sandbox};
use crate::support::database::TestDatabase;
use crate::support::process::Server;
use crate::support::proxy::{Mode, Proxy, host_and_port};
use crate::support::{eventually, eventually_within};

/// Long enough for what waits for the end of a short lease.
const AFTER_A_LEASE: Duration = Duration::from_secs(40);

const DOWN: [&str; 4] = [
    r#"{"kind": "status", "status": 503}"#,
    r#"{"kind": "close"}"#,
    r#"{"kind": "garbage"}"#,
    r#"{"kind": "status", "status": 401}"#,
];

/// Nothing is sent while `stand_in` is down, however it fails; all of it is when it is back.
async fn waits_for(stand_in: &str, route: &str) {
    let street = Street::start().await;
    let drivers = street.ready(30).await;
    for (round, fault) in DOWN.iter().enumerate() {
        street.app.fault(stand_in, serde_json::from_str(fault).unwrap());
        let status = if round % 2 == 0 { "online" } else { "offline" };
        let all: Vec<_> = drivers.iter().map(|index| (*index, status)).collect();
        let (asked, told) = (street.sandbox().calls(stand_in, route), round * 30);
        street.go(&all).await;
        eventually("it is asked again", async || {
            street.sandbox().calls(stand_in, route) >= asked + 2
        })
        .await;
        assert_eq!(street.waiting().await, 30);
        assert_eq!(street.sandbox().all_reported().len(), told);
        let attempts = "SELECT max(attempts)::bigint FROM deptrans.status_queue";
        assert_eq!(street.database().count(attempts).await, 0, "no status is to blame");
        street.app.sandbox.clear_fault(stand_in);
        street.drained().await;
        assert_eq!(street.sandbox().all_reported().len(), told + 30);
    }
    assert_eq!(street.sandbox().krt_counts().repeated, 0);
}

#[actix_web::test]
async fn without_positions_nothing_is_sent() {
    waits_for("driver-trackstory", "POST /v1/positions").await;
}

#[actix_web::test]
async fn without_licence_numbers_nothing_is_sent() {
    waits_for("personal", "POST /v1/driver_licenses/bulk_retrieve").await;
}

/// What counts is that each is told the newest in the end, the database being away at any moment.
#[actix_web::test]
async fn a_database_that_goes_and_comes_loses_nothing() {
    let (database, sandbox) = (TestDatabase::create(), start_sandbox());
    sandbox.set_drivers(2_000).unwrap();
    let drivers = ready(&sandbox, &database, 300).await;
    let proxy = Proxy::start(host_and_port(&database.url()).1);
    let config = crate::support::app::configuration(&proxy.in_front_of(&database.url()), &sandbox);
    let env =
        Instances::environment(&[("SENDING__LEASE_MS", "11000"), ("SENDING__BATCH_MS", "1000")]);
    let env: Vec<(&str, &str)> =
        env.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let server = Server::start(&config, &env).await;
    sandbox.set_fault("krt", json!({"kind": "delay_after_work", "ms": 20})).unwrap();
    let all: Vec<_> = drivers.iter().map(|index| (*index, "online")).collect();
    go(&Instances::internal(&server), &sandbox, &all).await;
    for mode in [Mode::Close, Mode::BlackHole, Mode::Close] {
        let before = sandbox.krt_counts().reports;
        eventually("some are sent", async || {
            let reports = sandbox.krt_counts().reports;
            reports > before || reports == 300
        })
        .await;
        proxy.set(mode);
        tokio::time::sleep(Duration::from_millis(200)).await;
        proxy.set(Mode::Pass);
    }
    let waiting = "SELECT count(*) FROM deptrans.status_queue WHERE due_at IS NOT NULL";
    // A batch of which nobody knows waits for the end of its lease.
    let sent = async || database.count(waiting).await == 0;
    eventually_within(AFTER_A_LEASE, "all are sent", sent).await;
    let told =
        |index: &u64| sandbox.reported(&sandbox.driver(*index).license.unwrap().krt_id).len();
    assert!(drivers.iter().all(|index| told(index) == 1), "each once: the ids are the same");
    let states = "SELECT count(*) FROM deptrans.session_statuses WHERE session_status = 'active'";
    assert_eq!(database.count(states).await, 300);
}

/// A slow regulator holds up nothing but its own calls.
#[actix_web::test]
async fn a_slow_regulator_is_asked_by_as_many_calls_as_may_be_and_no_more() {
    let config = "[deptrans_driver_status_integration.krt]\nconcurrency = 7\n\
         [upstreams.krt]\nconcurrency = 100\ntimeout_ms = 20000\n";
    let street = Street::with(config).await;
    let drivers = street.ready(40).await;
    street.krt_fault(json!({"kind": "hold", "route": "statuses"}));
    let all: Vec<_> = drivers.iter().map(|index| (*index, "online")).collect();
    street.go(&all).await;
    let in_flight = async || street.app.count("upstream_in_flight{upstream=\"krt\"}").await;
    eventually("as many are asked as may be", async || in_flight().await >= 7).await;
    for _ in 0..20 {
        assert_eq!(in_flight().await, 7, "calls in flight");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    street.app.sandbox.clear_fault("krt");
    street.drained().await;
    assert_eq!(street.sandbox().krt_counts().reports, 40);
}

/// What is not sent in a batch's time waits again, with no attempt counted.
#[actix_web::test]
async fn a_batch_that_takes_too_long_goes_back() {
    let config = "[deptrans_driver_status_integration.krt]\nconcurrency = 1\n\
         [deptrans_driver_status_integration.sending]\nbatch_ms = 500\nworkers = 1\n";
    let street = Street::with(config).await;
    let drivers = street.ready(12).await;
    street.krt_fault(json!({"kind": "delay_after_work", "ms": 150, "route": "statuses"}));
    let all: Vec<_> = drivers.iter().map(|index| (*index, "online")).collect();
    street.go(&all).await;
    street.drained().await;
    eventually("it is counted", async || street.fate("waits", "late").await > 0).await;
    for driver in drivers {
        assert_eq!(street.told(driver), [true]);
    }
}

#[actix_web::test]
async fn at_the_end_what_has_left_is_settled_and_the_rest_goes_back() {
    let config = "[deptrans_driver_status_integration.krt]\nconcurrency = 2\n";
    let mut street = Street::with(config).await;
    let drivers = street.ready(40).await;
    street.krt_fault(json!({"kind": "delay_after_work", "ms": 200, "route": "statuses"}));
    let all: Vec<_> = drivers.iter().map(|index| (*index, "online")).collect();
    street.go(&all).await;
    eventually("some are on their way", async || !street.sandbox().all_reported().is_empty()).await;
    street.app.stop();
    let sent = i64::try_from(street.sandbox().all_reported().len()).unwrap();
    let rests = "SELECT count(*) FROM deptrans.status_queue WHERE due_at IS NULL \
         AND reported_on_line AND lease IS NULL";
    let back = "SELECT count(*) FROM deptrans.status_queue WHERE due_at <= now() \
         AND lease IS NULL AND attempts = 0";
    assert_eq!(street.database().count(rests).await, sent);
    assert_eq!(street.database().count(back).await, 40 - sent);
}

/// One that starts while the regulator is down serves and takes events.
#[actix_web::test]
async fn a_process_starts_without_the_regulator() {
    let sandbox = start_sandbox();
    sandbox.set_drivers(100).unwrap();
    sandbox.set_fault("krt", json!({"kind": "close"})).unwrap();
    let app = TestApp::builder().domains(&[DOMAIN]).sandbox(sandbox).start().await;
    assert_eq!(app.internal(DOMAIN).get("krt/outages").await.expect(200)["items"], json!([]));
}
