//! Too much at once: the surplus is refused at once, what was accepted is served.

use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::{DOMAIN, PARK, order_of, passenger};
use crate::support::app::TestApp;
use crate::support::{STALL, eventually};

#[actix_web::test]
async fn requests_beyond_the_limit_are_shed_and_the_accepted_ones_served() {
    let config = "[http]\nmax_in_flight = 4\ndefault_timeout_ms = 20000\n\
         [upstreams.personal]\ntimeout_ms = 20000\n";
    let app = TestApp::builder().config(config).start().await;
    app.fault("personal", json!({"kind": "delay", "ms": 15000, "route": "/phones/find"}));
    let dispatcher = app.dispatcher(DOMAIN, PARK);
    let find =
        async || dispatcher.post("customers/find-by-phone", json!({"phone": "+79990000001"})).await;
    let accepted = join_all((0..4).map(|_| find()));
    let meanwhile = async {
        eventually("all four are under way", async || {
            app.count("http_requests_in_flight").await == 4
        })
        .await;
        let started = Instant::now();
        for _ in 0..6 {
            let reply = find().await;
            reply.problem(503, "overloaded");
            assert_eq!(reply.header("retry-after"), "1");
            assert!(!reply.header("x-request-id").is_empty());
        }
        // The route counts, however its path is spelt.
        let spelt = "%66leet-customers/dispatcher/v1/customers";
        app.anonymous().get(spelt).await.problem(503, "overloaded");
        for path in ["livez", "readyz", "metrics", "version", "openapi.json"] {
            let reply = app.anonymous().get(path).await;
            assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        }
        assert!(started.elapsed() < 2 * STALL, "{:?}", started.elapsed());
    };
    let (accepted, ()) = join(accepted, meanwhile).await;
    for reply in accepted {
        reply.problem(404, "customer_not_found");
    }
    assert_eq!(app.count("http_requests_shed_total").await, 7);
    assert_eq!(app.count("http_requests_in_flight").await, 0);
    dispatcher.get("customers").await.expect(200);
}

#[actix_web::test]
async fn callers_whose_connection_is_reset_give_their_places_back_at_once() {
    let config = "[http]\nmax_in_flight = 2\ndefault_timeout_ms = 30000\n\
         [upstreams.personal]\ntimeout_ms = 30000\n";
    let app = TestApp::builder().config(config).start().await;
    app.fault("personal", json!({"kind": "hang"}));
    let request = format!(
        "POST /fleet-customers/dispatcher/v1/customers/find-by-phone HTTP/1.1\r\nHost: test\r\n\
         Authorization: Bearer test-dispatcher\r\nX-Park-Id: {PARK}\r\nX-Dispatcher-Id: 1\r\n\
         Content-Type: application/json\r\nContent-Length: 24\r\n\r\n{{\"phone\":\"+79990000001\"}}"
    );
    let started = Instant::now();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(app.addr()).await.unwrap();
        stream.set_zero_linger().unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        eventually("it is under way", async || app.count("http_requests_in_flight").await == 1)
            .await;
        drop(stream);
        eventually("its place is free", async || app.count("http_requests_in_flight").await == 0)
            .await;
    }
    assert!(started.elapsed() < Duration::from_secs(25), "{:?}", started.elapsed());
}

#[actix_web::test]
async fn an_exhausted_pool_sheds_and_recovers() {
    let config = "[http]\ndefault_timeout_ms = 20000\n[database]\npool_size = 2\n\
         acquire_timeout_ms = 3000\nlock_timeout_ms = 15000\n";
    let app = TestApp::builder().config(config).start().await;
    let dispatcher = app.dispatcher(DOMAIN, PARK);
    for number in 0..2 {
        let order = order_of(&passenger(number));
        app.internal(DOMAIN).post("customers/upsert", order).await.expect(200);
    }
    let mut other = app.database().connect().await;
    let lock = other.transaction().await.unwrap();
    lock.execute("SELECT 1 FROM fleet_customers.customers FOR UPDATE", &[]).await.unwrap();
    let edits = join_all((0..2).map(async |number| {
        let edit = json!({"sms_enabled": true, "order_options": null});
        dispatcher.put(&format!("customers/{}", passenger(number)), edit).await
    }));
    let meanwhile = async {
        let waiting = "SELECT count(*) FROM pg_stat_activity \
             WHERE datname = current_database() AND wait_event_type = 'Lock'";
        eventually("both connections are taken", async || app.database().count(waiting).await == 2)
            .await;
        let started = Instant::now();
        let shed = join_all((0..5).map(|_| dispatcher.get("customers"))).await;
        let took = started.elapsed();
        for reply in shed {
            reply.problem(503, "overloaded");
            assert_eq!(reply.header("retry-after"), "1");
        }
        let waited = Duration::from_secs(3);
        assert!(took >= waited && took < waited + STALL, "{took:?}");
        let ready = app.anonymous().get("readyz").await.expect(200);
        let rows = ready["dependencies"].as_array().unwrap();
        let is_well = json!({ "name": "postgresql", "status": "ok" });
        assert!(rows.contains(&is_well), "a busy pool is no dead database: {ready}");
        lock.rollback().await.unwrap();
    };
    let (edits, ()) = join(edits, meanwhile).await;
    for reply in edits {
        reply.expect(200);
    }
    for _ in 0..10 {
        dispatcher.get("customers").await.expect(200);
    }
}
