//! A caller's patience bounds everything that is done for it, here and in PostgreSQL.

use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};
use serde_json::json;

use super::{DOMAIN, PARK, order_of, passenger};
use crate::support::app::TestApp;
use crate::support::client::{Caller, Reply};
use crate::support::{STALL, eventually};

const EDIT: &str = r#"{"sms_enabled": true, "order_options": null}"#;

fn edit() -> serde_json::Value {
    serde_json::from_str(EDIT).expect("JSON")
}

/// The answer of a caller that waits so long, which must come in about that time.
async fn within(patience: u64, caller: &Caller, send: impl AsyncFn(Caller) -> Reply) -> Reply {
    let caller = caller.header("X-Request-Timeout-Ms", &patience.to_string());
    let started = Instant::now();
    let reply = send(caller).await;
    let (took, patience) = (started.elapsed(), Duration::from_millis(patience));
    assert!(took + Duration::from_millis(20) >= patience, "{took:?}: {}", reply.text());
    assert!(took < patience + STALL, "{took:?}: {}", reply.text());
    reply
}

/// Sessions of the server's that are at work or hold a transaction, and what they do.
const AT_WORK: &str = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
     AND application_name LIKE 'fleet%' AND state <> 'idle'";

#[actix_web::test]
async fn a_service_that_hangs_takes_no_more_than_the_callers_patience() {
    let config = "[upstreams.personal]\ntimeout_ms = 20000\n";
    let app = TestApp::builder().config(config).start().await;
    app.fault("personal", json!({"kind": "hang"}));
    let dispatcher = app.dispatcher(DOMAIN, PARK);
    let find = async |caller: Caller| {
        caller.post("customers/find-by-phone", json!({"phone": "+79990000001"})).await
    };
    within(300, &dispatcher, find).await.problem(504, "deadline_exceeded");
    assert_eq!(app.count("http_requests_in_flight").await, 0);
    app.sandbox.clear_fault("personal");
    find(dispatcher).await.problem(404, "customer_not_found");
}

#[actix_web::test]
async fn a_callers_patience_is_capped_and_has_a_default() {
    let config = "[http]\ndefault_timeout_ms = 200\nmax_timeout_ms = 400\n\
         [upstreams.personal]\ntimeout_ms = 20000\n";
    let app = TestApp::builder().config(config).start().await;
    app.fault("personal", json!({"kind": "hang"}));
    let dispatcher = app.dispatcher(DOMAIN, PARK);
    for (patience, expected) in [(None, 200), (Some("60000"), 400)] {
        let caller = match patience {
            Some(patience) => dispatcher.header("X-Request-Timeout-Ms", patience),
            None => dispatcher.clone(),
        };
        let started = Instant::now();
        let reply = caller.post("customers/find-by-phone", json!({"phone": "+79990000001"})).await;
        reply.problem(504, "deadline_exceeded");
        let (took, expected) = (started.elapsed(), Duration::from_millis(expected));
        assert!(
            took + Duration::from_millis(20) >= expected && took < expected + STALL,
            "{took:?}"
        );
    }
}

#[actix_web::test]
async fn a_wait_for_a_locked_row_ends_with_the_callers_patience_in_postgresql_too() {
    let config = "[database]\nlock_timeout_ms = 20000\nstatement_timeout_ms = 20000\n";
    let app = TestApp::builder().config(config).start().await;
    let (dispatcher, id) = (app.dispatcher(DOMAIN, PARK), passenger(1));
    app.internal(DOMAIN).post("customers/upsert", order_of(&id)).await.expect(200);
    let path = format!("customers/{id}");
    let before = dispatcher.get(&path).await;

    let mut other = app.database().connect().await;
    let lock = other.transaction().await.unwrap();
    lock.execute("SELECT 1 FROM fleet_customers.customers FOR UPDATE", &[]).await.unwrap();
    for _ in 0..2 {
        let edits = within(5000, &dispatcher, async |caller| caller.put(&path, edit()).await);
        let seen = eventually("PostgreSQL waits for the row", async || {
            app.database().count(AT_WORK).await > 0
        });
        let (reply, ()) = join(edits, seen).await;
        reply.problem(504, "deadline_exceeded");
    }
    // The row is still locked: nobody waits for it any more.
    let waited = Instant::now();
    eventually("no session of the server is left at work", async || {
        app.database().count(AT_WORK).await == 0
    })
    .await;
    assert!(waited.elapsed() < 2 * STALL, "{:?}", waited.elapsed());
    lock.rollback().await.unwrap();

    let after = dispatcher.get(&path).await;
    assert_eq!(after.etag(), before.etag(), "an edit that was given up took effect");
    for _ in 0..20 {
        dispatcher.put(&path, edit()).await.expect(200);
    }
}

#[actix_web::test]
async fn a_lock_is_waited_for_no_longer_than_configured_whatever_the_patience() {
    let config = "[database]\nlock_timeout_ms = 200\n";
    let app = TestApp::builder().config(config).start().await;
    let (dispatcher, id) = (app.dispatcher(DOMAIN, PARK), passenger(1));
    app.internal(DOMAIN).post("customers/upsert", order_of(&id)).await.expect(200);
    let path = format!("customers/{id}");
    let mut other = app.database().connect().await;
    let lock = other.transaction().await.unwrap();
    lock.execute("SELECT 1 FROM fleet_customers.customers FOR UPDATE", &[]).await.unwrap();
    let started = Instant::now();
    let reply = dispatcher.put(&path, edit()).await;
    reply.problem(503, "database_contended");
    assert_eq!(reply.header("retry-after"), "1");
    assert!(started.elapsed() < Duration::from_millis(200) + STALL, "{:?}", started.elapsed());
    lock.rollback().await.unwrap();
    dispatcher.put(&path, edit()).await.expect(200);
}

#[actix_web::test]
async fn a_batched_statement_that_waits_holds_nobody_beyond_their_patience() {
    let config = "[database]\nlane_lock_timeout_ms = 1500\n";
    let app = TestApp::builder().config(config).start().await;
    let (dispatcher, id) = (app.dispatcher(DOMAIN, PARK), passenger(1));
    app.internal(DOMAIN).post("customers/upsert", order_of(&id)).await.expect(200);
    let path = format!("customers/{id}");

    let mut other = app.database().connect().await;
    let lock = other.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE fleet_customers.customers IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    let calls = (0..8).map(|_| within(300, &dispatcher, async |caller| caller.get(&path).await));
    for reply in join_all(calls).await {
        reply.problem(504, "deadline_exceeded");
    }
    lock.rollback().await.unwrap();
    for _ in 0..20 {
        dispatcher.get(&path).await.expect(200);
    }
    // Those who left were not served later in vain: their reads are no longer under way.
    eventually("no session is left at work", async || app.database().count(AT_WORK).await == 0)
        .await;
}

#[actix_web::test]
async fn a_locked_row_holds_up_nobody_who_shares_a_batch_with_it() {
    let config = "[http]\nworkers = 1\n[database]\nlane_lock_timeout_ms = 500\n";
    let app = TestApp::builder().config(config).start().await;
    let internal = app.internal(DOMAIN);
    internal.post("customers/upsert", order_of(&passenger(0))).await.expect(200);
    let mut other = app.database().connect().await;
    let lock = other.transaction().await.unwrap();
    lock.execute("SELECT 1 FROM fleet_customers.customers FOR UPDATE", &[]).await.unwrap();
    let calls = (0..20).map(|number| {
        let order = order_of(&passenger(number));
        let internal = internal.clone();
        async move { internal.post("customers/upsert", order).await }
    });
    let started = Instant::now();
    let replies = join_all(calls).await;
    assert!(started.elapsed() < Duration::from_secs(2) + STALL, "{:?}", started.elapsed());
    for (number, reply) in replies.iter().enumerate() {
        if number == 0 {
            reply.problem(503, "database_contended");
        } else {
            assert_eq!(reply.expect(200)["orders_count"], 1, "{number}");
        }
    }
    lock.rollback().await.unwrap();
    let counted = internal.post("customers/upsert", order_of(&passenger(0))).await.expect(200);
    assert_eq!(counted["orders_count"], 2, "the one that was refused took no effect");
}
