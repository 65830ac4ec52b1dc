//! PostgreSQL is cut off, falls silent, crashes, freezes, or is not there at all: answers stay
//! quick and clear, nothing acknowledged is lost, and all is well again without anybody's help.

use std::time::{Duration, Instant};

use futures_util::future::join;

use super::load::{Load, stored};
use super::{DOMAIN, PARK, order_of, passenger};
use crate::support::app::TestApp;
use crate::support::client::Caller;
use crate::support::database::TestDatabase;
use crate::support::postgres::Postgres;
use crate::support::proxy::{Mode, Proxy, host_and_port};
use crate::support::{STALL, eventually};

/// The bound on recovery after the database is back.
const RECOVERY: Duration = Duration::from_secs(10);
/// What a call may be told while the database is away.
const REFUSALS: [&str; 2] = ["database_unavailable", "deadline_exceeded"];
/// Short time-outs, so that a test of them takes no longer than it must.
const IMPATIENT: &str = "connect_timeout_ms = 1000\nacquire_timeout_ms = 1000\n\
     statement_timeout_ms = 1000\nlock_timeout_ms = 1000\nlane_statement_timeout_ms = 1000\n";

/// A server that reaches its database through a proxy.
struct Behind {
    proxy: Proxy,
    app: TestApp,
    dispatcher: Caller,
    internal: Caller,
}

impl Behind {
    async fn start(mode: Mode) -> Self {
        Self::with_patience(mode, 1_500).await
    }

    /// Calls wait for so many milliseconds.
    async fn with_patience(mode: Mode, patience: u64) -> Self {
        let database = TestDatabase::create();
        let proxy = Proxy::start(host_and_port(&database.url()).1);
        proxy.set(mode);
        let url = proxy.in_front_of(&database.url());
        let builder = TestApp::builder().domains(&[DOMAIN]).database(database).config(format!(
            "[http]\ndefault_timeout_ms = {patience}\n[database]\nurl = '{url}'\n{IMPATIENT}"
        ));
        let builder = if mode == Mode::Pass { builder } else { builder.without_waiting() };
        let app = builder.start().await;
        let (dispatcher, internal) = (app.dispatcher(DOMAIN, PARK), app.internal(DOMAIN));
        Self { proxy, app, dispatcher, internal }
    }

    /// Each way to the database once: a pooled transaction, a batched read, a batched write.
    async fn call_all(&self) -> Vec<(crate::support::client::Reply, Duration)> {
        let profile = format!("customers/{}", passenger(0));
        let mut answers = Vec::new();
        for kind in 0..3 {
            let started = Instant::now();
            let reply = match kind {
                0 => self.dispatcher.get("customers").await,
                1 => self.dispatcher.get(&profile).await,
                _ => self.internal.post("customers/upsert", order_of(&passenger(0))).await,
            };
            answers.push((reply, started.elapsed()));
        }
        answers
    }

    /// Waits until everything is served again and the probe says so.
    async fn recovers(&self) {
        let started = Instant::now();
        eventually("everything is served again", async || {
            self.call_all().await.iter().all(|(reply, _)| reply.status == 200)
        })
        .await;
        self.app.ready().await;
        assert!(started.elapsed() < RECOVERY, "{:?}", started.elapsed());
    }
}

#[actix_web::test]
async fn a_database_that_is_cut_off_is_told_at_once() {
    let behind = Behind::with_patience(Mode::Pass, 20_000).await;
    behind.internal.post("customers/upsert", order_of(&passenger(0))).await.expect(200);
    behind.recovers().await;
    behind.proxy.set(Mode::Close);
    let mut took_each = Vec::new();
    for _ in 0..3 {
        for (reply, took) in behind.call_all().await {
            reply.problem(503, "database_unavailable");
            assert_eq!(reply.header("retry-after"), "1");
            took_each.push(took);
        }
    }
    // Before anything that is waited for could come. One or another may meet a busy machine.
    took_each.sort();
    assert!(took_each[4] < Duration::from_millis(700), "{took_each:?}");
    eventually("/readyz names the database", async || {
        let ready = behind.app.anonymous().get("readyz").await;
        ready.status == 503
            && ready.json()["dependencies"][0]["name"] == "postgresql"
            && ready.json()["dependencies"][0]["reason"] == "database_unavailable"
    })
    .await;
    assert_eq!(behind.app.anonymous().get("livez").await.status, 200);
    behind.proxy.set(Mode::Pass);
    behind.recovers().await;
}

#[actix_web::test]
async fn a_database_that_falls_silent_costs_a_deadline_and_then_nothing() {
    let behind = Behind::start(Mode::Pass).await;
    behind.recovers().await;
    behind.proxy.set(Mode::BlackHole);
    eventually("answers come at once, though the database is silent", async || {
        let mut all_at_once = true;
        for (reply, took) in behind.call_all().await {
            assert!(matches!(reply.status, 503 | 504), "{}", reply.text());
            let code = reply.json()["code"].clone();
            assert!(REFUSALS.contains(&code.as_str().expect("a code")), "{code}");
            assert!(took < Duration::from_secs(2) + STALL, "{took:?}: {code}");
            all_at_once &= took < Duration::from_millis(700) && reply.status == 503;
        }
        all_at_once
    })
    .await;
    let probed = Instant::now();
    let ready = behind.app.anonymous().get("readyz").await;
    assert_eq!(ready.status, 503, "{}", ready.text());
    assert!(probed.elapsed() < Duration::from_secs(2) + STALL, "{:?}", probed.elapsed());
    behind.proxy.set(Mode::Pass);
    behind.recovers().await;
}

#[actix_web::test]
async fn a_slow_network_delays_and_breaks_nothing() {
    let behind = Behind::with_patience(Mode::Pass, 20_000).await;
    behind.internal.post("customers/upsert", order_of(&passenger(0))).await.expect(200);
    behind.recovers().await;
    behind.proxy.set(Mode::Delay(Duration::from_millis(30)));
    for (reply, _) in behind.call_all().await {
        reply.expect(200);
    }
}

#[actix_web::test]
async fn connections_that_are_cut_in_mid_answer_lose_nothing_that_was_acknowledged() {
    let behind = Behind::start(Mode::Pass).await;
    let load = Load::default();
    let breaks = async {
        for after in [0, 1, 50, 400] {
            let refused = load.refused();
            behind.proxy.set(Mode::CutAfter(after));
            let felt = format!("a cut after {after} bytes was felt");
            eventually(&felt, async || load.refused() > refused).await;
            behind.proxy.set(Mode::Pass);
            let before = load.acknowledged();
            eventually("calls succeed again", async || load.acknowledged() > before + 100).await;
        }
        // Cuts that the next connection heals, which may be felt by nobody: still nothing may be
        // done twice.
        for after in [0, 1, 300, 2000] {
            let (accepted, before) = (behind.proxy.accepted(), load.acknowledged());
            behind.proxy.set(Mode::CutOpenAfter(after));
            eventually("a new connection is made and used", async || {
                behind.proxy.accepted() > accepted && load.acknowledged() > before + 100
            })
            .await;
            behind.proxy.set(Mode::Pass);
        }
        load.stop();
    };
    join(load.run(&behind.internal), breaks).await;
    load.assert_refusals(&REFUSALS);
    behind.recovers().await;
    load.assert_kept(&stored(&behind.internal).await);
}

#[actix_web::test]
async fn a_write_whose_answer_was_cut_off_is_not_done_twice() {
    let behind = Behind::start(Mode::Pass).await;
    for number in 0..20 {
        // So many calls at once that each worker has its connection open. One that the last cut
        // still reaches is refused, and replaced.
        eventually("every worker's connection works", async || {
            let warm =
                (0..8).map(|_| behind.internal.post("customers/upsert", order_of(&passenger(0))));
            let replies = futures_util::future::join_all(warm).await;
            replies.iter().all(|reply| reply.status == 200)
        })
        .await;
        // The statement gets there, its answer does not come back, a new connection would pass.
        behind.proxy.set(Mode::CutOpenAfter(0));
        let id = passenger(1000 + number);
        let reply = behind.internal.post("customers/upsert", order_of(&id)).await;
        behind.proxy.set(Mode::Pass);
        let counted = format!(
            "SELECT COALESCE(sum(orders_count), 0) FROM fleet_customers.customers \
             WHERE fleet_platform.readable_id(personal_phone_id) = '{id}'"
        );
        let counted = behind.app.database().count(&counted).await;
        assert!(counted <= 1, "one call, {counted} orders, answered {}", reply.status);
        assert!(reply.status != 200 || counted == 1, "acknowledged and not stored");
        behind.recovers().await;
    }
}

#[actix_web::test]
async fn sessions_that_the_database_ends_are_replaced() {
    let behind = Behind::start(Mode::Pass).await;
    behind.recovers().await;
    for _ in 0..5 {
        let ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
             WHERE datname = current_database() AND application_name LIKE 'fleet%'";
        assert!(behind.app.database().count(ended).await > 0);
        let started = Instant::now();
        for (reply, _) in behind.call_all().await {
            // The one that meets the ended session may be refused, and clearly.
            assert!(matches!(reply.status, 200 | 503 | 504), "{}", reply.text());
        }
        behind.recovers().await;
        assert!(started.elapsed() < RECOVERY, "{:?}", started.elapsed());
    }
}

#[actix_web::test]
async fn without_a_database_the_process_is_up_says_so_and_comes_up_by_itself() {
    let behind = Behind::start(Mode::Close).await;
    let anonymous = behind.app.anonymous();
    assert_eq!(anonymous.get("livez").await.status, 200);
    eventually("/readyz says why", async || {
        let ready = anonymous.get("readyz").await;
        ready.status == 503 && ready.json()["domains"][0]["reason"] == "database_unavailable"
    })
    .await;
    let ready = anonymous.get("readyz").await.expect(503);
    assert_eq!(ready["status"], "not_ready");
    assert_eq!(ready["domains"][0]["name"], DOMAIN);
    for (reply, took) in behind.call_all().await {
        reply.problem(503, "domain_unavailable");
        assert!(!reply.header("retry-after").is_empty());
        assert!(took < STALL, "{took:?}");
    }
    // Who may not call is told so, started or not.
    anonymous.get("fleet-customers/dispatcher/v1/customers").await.problem(401, "unauthenticated");
    behind.proxy.set(Mode::Pass);
    let back = Instant::now();
    behind.app.ready().await;
    assert!(back.elapsed() < RECOVERY, "{:?}", back.elapsed());
    behind.recovers().await;
}

/// A server on a PostgreSQL of its own, which the test may break.
async fn on(postgres: &Postgres) -> (TestApp, Caller) {
    let config = format!(
        "[http]\ndefault_timeout_ms = 1500\n[database]\nurl = '{}'\n{IMPATIENT}",
        postgres.url()
    );
    let app = TestApp::builder().config(config).start().await;
    let internal = app.internal(DOMAIN);
    (app, internal)
}

#[actix_web::test]
async fn a_crash_of_the_database_under_load_loses_nothing_that_was_acknowledged() {
    let mut postgres = Postgres::start().await;
    let (app, internal) = on(&postgres).await;
    let load = Load::default();
    let breaks = async {
        for _ in 0..2 {
            let before = load.acknowledged();
            eventually("the load runs", async || load.acknowledged() > before + 200).await;
            let refused = load.refused();
            postgres.stop_at_once();
            eventually("calls are refused", async || load.refused() > refused + 20).await;
            postgres.start_again().await;
            let (back, before) = (Instant::now(), load.acknowledged());
            eventually("calls succeed again", async || load.acknowledged() > before).await;
            assert!(back.elapsed() < RECOVERY, "{:?}", back.elapsed());
        }
        load.stop();
    };
    join(load.run(&internal), breaks).await;
    load.assert_refusals(&REFUSALS);
    assert!(load.longest() < Duration::from_secs(2) + STALL, "{:?}", load.longest());
    app.ready().await;
    load.assert_kept(&stored(&internal).await);
}

#[actix_web::test]
async fn a_database_that_freezes_under_load_bounds_every_answer_and_loses_nothing() {
    let postgres = Postgres::start().await;
    let (app, internal) = on(&postgres).await;
    let load = Load::default();
    let breaks = async {
        eventually("the load runs", async || load.acknowledged() > 200).await;
        let refused = load.refused();
        postgres.freeze();
        eventually("calls are refused", async || load.refused() > refused + 50).await;
        postgres.thaw();
        let (back, before) = (Instant::now(), load.acknowledged());
        eventually("calls succeed again", async || load.acknowledged() > before + 200).await;
        assert!(back.elapsed() < RECOVERY, "{:?}", back.elapsed());
        load.stop();
    };
    join(load.run(&internal), breaks).await;
    load.assert_refusals(&REFUSALS);
    assert!(load.longest() < Duration::from_secs(2) + STALL, "{:?}", load.longest());
    app.ready().await;
    load.assert_kept(&stored(&internal).await);
}
