//! The clock of one process is ten minutes fast or slow: nothing that it or its neighbour does expires
//! early or opens late. What others wait by is the database's clock.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::fmt::rfc2822;
use jiff::{SignedDuration, Timestamp};
use rand::RngExt;
use serde_json::{Value, json};

use super::cabinets::{CELLS_OF_A_BOOKING, Site, quick};
use super::rig::{Counts, Crowd, Run, dispatcher, drivers, seeds, slow_feeds, until};
use crate::deptrans_driver_status_integration::rig::{Instances, go, ready};
use crate::support::client::Caller;
use crate::support::process::Server;

const MINUTES: i64 = 10;
/// Every execution is to succeed: cabinets may take their time.
const ANSWER_MS: i64 = 10_000;
const PATIENT: &str = "[scooter_accumulator.commands]\nanswer_ms = 10000\nttl_ms = 10000\npace_ms = 0\n\
     poll_ms = 2000\nask_again_ms = 200\noffline_after_ms = 600000\n";
/// Nobody loses a task but to a clock that is wrong by more.
const LEASE: (&str, &str) = ("FLEET__TASKS__LEASE_MS", "30000");

/// How a process gets a wrong clock. The monotonic one stays as it is.
struct Clock {
    library: String,
    offset: String,
    ahead: SignedDuration,
}

impl Clock {
    /// Fast or slow, as the seed says.
    fn of(run: &mut Run) -> Self {
        let ahead = SignedDuration::from_mins(if run.random.random() { MINUTES } else { -MINUTES });
        let folders = std::fs::read_dir("/usr/lib").unwrap().flatten();
        let library = folders
            .map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"))
            .find(|path: &PathBuf| path.exists())
            .expect("libfaketime: tools/local/install.sh faketime");
        let library = library.to_str().unwrap().to_owned();
        Self { library, offset: format!("{:+}s", ahead.as_secs()), ahead }
    }

    fn env(&self) -> [(&str, &str); 3] {
        [
            ("LD_PRELOAD", &self.library),
            ("FAKETIME", &self.offset),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ]
    }

    /// Makes sure that a process believes what it is to believe.
    async fn assert_wrong(&self, server: &Server) {
        let reply = server.anonymous().get("livez").await;
        let date = reply.header("date").replace("GMT", "+0000");
        let date = rfc2822::parse(&date).expect("a date").timestamp();
        let off = date.duration_since(Timestamp::now()) - self.ahead;
        assert!(off.abs() < SignedDuration::from_mins(2), "the clock is not wrong: {date}");
    }
}

/// Sent at its time: not before, and then.
async fn scheduled(crowd: &Crowd, asker: &Caller, park: &str) {
    let before = crowd.sandbox.delivered_counts(Some(park)).deliveries;
    let send_at = Timestamp::now() + SignedDuration::from_secs(8);
    let body = json!({"message": "x", "filter": {}, "send_at": send_at.to_string()});
    let ordered = asker.post("mailings", body).await.expect(202);
    assert_eq!(ordered["status"], "scheduled", "{ordered}");
    loop {
        // The time is taken afterwards: what is seen was there by then.
        let delivered = crowd.sandbox.delivered_counts(Some(park)).deliveries - before;
        let now = Timestamp::now();
        if now >= send_at {
            break;
        }
        assert_eq!(delivered, 0, "sent {} before its time", send_at.duration_since(now));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    until("it is sent", async || crowd.sandbox.delivered_counts(Some(park)).deliveries > before)
        .await;
}

/// An answer is kept for a day, and no longer.
async fn kept_for_a_day(crowd: &Crowd, asker: &Caller, key: &str) {
    let keyed = asker.header("Idempotency-Key", key);
    let body = json!({"message": "x", "filter": {"incl_contractor_ids": ["nobody"]}});
    let order = async || keyed.post("mailings", body.clone()).await.expect(202);
    let first = order().await;
    for (age, same) in [("23 hours 55 minutes", true), ("24 hours 5 minutes", false)] {
        let sql = format!(
            "UPDATE fleet_platform.idempotency_keys SET created_at = now() - interval '{age}'"
        );
        crowd.database.execute(&sql).await;
        assert_eq!(order().await["mailing_id"] == first["mailing_id"], same, "after {age}");
    }
}

#[actix_web::test]
async fn tasks_schedules_and_keys_do_not_follow_a_wrong_clock() {
    for seed in seeds() {
        let mut run = Run::of("clocks: mailings", seed);
        let clock = Clock::of(&mut run);
        let mut crowd = Crowd::of(1, &[LEASE]).await;
        let env: Vec<_> = clock.env().into_iter().chain([LEASE]).collect();
        crowd.spawn(&env);
        crowd.servers[1].wait_for("readyz", 200).await;
        clock.assert_wrong(&crowd.servers[1]).await;
        crowd.sandbox.set_fault("feeds", json!({"kind": "hold_after_work"})).unwrap();
        // The wrong one is last, and orders. Each has one of them for longer than both look for work.
        let mailings = [
            crowd.order("park-1", drivers().min(20_000)).await,
            crowd.order("park-2", drivers().min(20_000)).await,
        ];
        until("both work", async || crowd.running().await == 2).await;
        slow_feeds(&crowd.sandbox, 200);
        let counts = crowd.outcome(&mailings).await;
        assert_eq!(crowd.rescues().await, 0, "a task was taken from somebody who had it");
        crowd.sandbox.set_park("park-3", json!({"drivers": 3})).unwrap();
        for (number, server) in crowd.servers.iter().enumerate() {
            let asker = dispatcher(&server.anonymous(), "park-3");
            scheduled(&crowd, &asker, "park-3").await;
            kept_for_a_day(&crowd, &asker, &format!("key-{number}")).await;
        }
        let sent = "SELECT count(*) FROM fleet_communications.mailings WHERE status <> 'sent'";
        until("all is sent", async || crowd.database.count(sent).await == 0).await;
        assert_eq!(crowd.rescues().await, 0, "a task was taken from somebody who had it");
        run.assert(1, counts);
    }
}

#[actix_web::test]
async fn leases_and_the_regulators_token_do_not_follow_a_wrong_clock() {
    for seed in seeds() {
        let mut run = Run::of("clocks: regulator", seed);
        let clock = Clock::of(&mut run);
        let world = Instances::prepare();
        // Less than the clock is wrong by.
        world.sandbox.set_krt(json!({"token_seconds": 300})).unwrap();
        let drivers = ready(&world.sandbox, &world.database, 200).await;
        // Batches take a while, and others look for what is due meanwhile.
        let slow = json!({"kind": "delay_after_work", "ms": 300, "route": "statuses"});
        world.sandbox.set_fault("krt", slow).unwrap();
        let env = [("SENDING__BATCH_MS", "15000"), ("SENDING__LEASE_MS", "60000")];
        let wrong = world.start_under(&clock.env(), &env).await;
        clock.assert_wrong(&wrong).await;
        let right = world.start(&env).await;
        let mut told = 0;
        for (server, status) in [(&wrong, "online"), (&right, "offline"), (&wrong, "busy")] {
            let all: Vec<_> = drivers.iter().map(|index| (*index, status)).collect();
            go(&Instances::internal(server), &world.sandbox, &all).await;
            until("all are sent", async || world.waiting().await == 0).await;
            told += drivers.len() as u64;
        }
        let counts = world.sandbox.krt_counts();
        assert_eq!(counts.tokens, 1, "a token was thrown away that was good, or asked for twice");
        let lost = told.saturating_sub(counts.reports);
        let doubled = counts.repeated + counts.reports.saturating_sub(told);
        run.assert(1, Counts { selected: told, delivered: counts.reports, lost, doubled });
    }
}

/// A booking that nobody executes keeps its cells to its end, and no longer.
async fn expires_in_time(booker: &Caller, others: &[Caller], ttl: SignedDuration) {
    let before = Timestamp::now();
    let body =
        json!({"cabinet_id": "cab-1", "contractor_id": "t-late", "kind": "pickup", "count": 1});
    let booked = booker.post("bookings", body).await.expect(201);
    let after = Timestamp::now();
    let expires_at: Timestamp = booked["expires_at"].as_str().unwrap().parse().unwrap();
    let slack = SignedDuration::from_millis(1);
    assert!(expires_at >= before + ttl - slack && expires_at <= after + ttl + slack, "{booked}");
    let path = format!("bookings/{}", booked["id"].as_str().unwrap());
    loop {
        let shown = join_statuses(others, &path).await;
        let now = Timestamp::now();
        if now >= expires_at {
            break;
        }
        assert!(shown.iter().all(|status| status == "active"), "{shown:?} before {expires_at}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    until("it is expired", async || {
        join_statuses(others, &path).await.iter().all(|status| status == "expired")
    })
    .await;
}

async fn join_statuses(callers: &[Caller], path: &str) -> Vec<Value> {
    let ask = async |caller: &Caller| caller.get(path).await.expect(200)["status"].clone();
    futures_util::future::join_all(callers.iter().map(ask)).await
}

#[actix_web::test]
async fn commands_and_bookings_do_not_follow_a_wrong_clock() {
    for seed in seeds() {
        let mut run = Run::of("clocks: cabinets", seed);
        let clock = Clock::of(&mut run);
        let site = Site::with(1, PATIENT, quick()).await;
        let ttl_ms = "2500";
        let env: Vec<_> = clock
            .env()
            .into_iter()
            .chain([("FLEET__SCOOTER_ACCUMULATOR__BOOKING_TTL_MS", ttl_ms)])
            .collect();
        let mut wrong = site.spawn_under(&env);
        wrong.wait_for("readyz", 200).await;
        clock.assert_wrong(&wrong).await;
        site.enlist(wrong);
        let callers = [site.caller(0), site.caller(1)];
        let mut executed = 0;
        for (number, caller) in callers.iter().enumerate() {
            for cabinet in ["cab-1", "cab-2"] {
                let technician = format!("t-{number}-{cabinet}");
                executed += site.pickup(caller, cabinet, &technician).await;
            }
        }
        let started = Instant::now();
        let ttl = SignedDuration::from_millis(ttl_ms.parse().unwrap());
        expires_in_time(&callers[1], &callers, ttl).await;
        assert!(started.elapsed() >= Duration::from_secs(2), "by the monotonic clock too");
        until("the database has what the cabinets have", async || site.differences().await == 0)
            .await;
        site.assert_expiries(ANSWER_MS);
        let opened = site.opened();
        let counts = Counts {
            selected: executed,
            delivered: opened,
            lost: executed.saturating_sub(opened),
            doubled: site.wrong_openings() + opened.saturating_sub(executed),
        };
        assert_eq!(executed, 4 * CELLS_OF_A_BOOKING);
        run.assert(1, counts);
    }
}
