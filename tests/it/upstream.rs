//! The policy every upstream call goes through, against the sandbox's stand-ins over real HTTP.

mod city;
mod drivers;
mod feeds;
mod fleet_parks;
mod int_api;
mod krt;
mod parks;
mod personal;
mod plain;
mod sandbox;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use actix_web::http::StatusCode;
use actix_web::rt::time::{sleep, timeout};
use fleet::platform::context::Context;
use fleet::platform::telemetry::metrics::Metrics;
use fleet::platform::upstream::{
    Answer, Call, Upstream, UpstreamError, UpstreamMetrics, UpstreamSettings,
};
use fleet::sandbox::{Sandbox, SandboxOptions, start};
use fleet::upstreams::personal::Personal;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::ports::free_port;
use crate::support::{PATIENCE, eventually};

const PHONE: &str = "+79991234567";
const TOKEN: &str = "token-of-the-test";
const STORE: &str = "POST /v1/phones/store";

/// A sandbox of its own, and clients of it.
struct Rig {
    sandbox: Sandbox,
    metrics: Metrics,
    upstream: Upstream,
    personal: Personal,
}

#[derive(Debug, Deserialize)]
struct Stored {
    #[allow(dead_code, reason = "that it is there is all")]
    id: String,
}

fn rig(adjust: impl FnOnce(&mut UpstreamSettings)) -> Rig {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let sandbox = start(listener, &SandboxOptions::default()).unwrap();
    let mut settings = settings(sandbox.base_url("personal"));
    adjust(&mut settings);
    let metrics = Metrics::default();
    let registered = UpstreamMetrics::register(&metrics);
    let upstream = Upstream::new("personal", &settings, &registered).unwrap();
    let personal = Personal::new(&settings, &registered).unwrap();
    Rig { sandbox, metrics, upstream, personal }
}

fn settings(base_url: String) -> UpstreamSettings {
    UpstreamSettings {
        base_url,
        token: SecretString::from(TOKEN),
        timeout_ms: 5_000,
        breaker_failures: 1_000,
        ..UpstreamSettings::default()
    }
}

fn upstream_of(base_url: String, adjust: impl FnOnce(&mut UpstreamSettings)) -> Upstream {
    let mut settings = settings(base_url);
    adjust(&mut settings);
    Upstream::new("test", &settings, &UpstreamMetrics::register(&Metrics::default())).unwrap()
}

fn ctx() -> Context {
    Context::background("test", PATIENCE)
}

/// A call that is sent once.
fn store() -> Call {
    Call::post("phones_store", "/v1/phones/store", &json!({ "value": PHONE })).unwrap()
}

impl Rig {
    fn fault(&self, fault: Value) {
        self.sandbox.set_fault("personal", fault).unwrap();
    }

    async fn send(&self, call: Call) -> Result<StatusCode, UpstreamError> {
        match self.upstream.call_json::<Stored>(&ctx(), call).await? {
            Answer::Ok(_) => Ok(StatusCode::OK),
            Answer::Refused(reply) => Ok(reply.status),
        }
    }

    fn stores(&self) -> u64 {
        self.sandbox.calls("personal", STORE)
    }

    fn assert_metric(&self, line: &str) {
        let rendered = self.metrics.render();
        assert!(rendered.lines().any(|found| found == line), "{line} in\n{rendered}");
    }
}

#[actix_web::test]
async fn every_fault_is_told_apart() {
    let rig = rig(|settings| {
        settings.timeout_ms = 6_000;
        settings.body_limit_bytes = 64 * 1024;
    });
    let status = |status: u16, retry_after: Option<u64>| UpstreamError::Status {
        status: StatusCode::from_u16(status).unwrap(),
        retry_after: retry_after.map(Duration::from_secs),
    };
    for (fault, expected) in [
        (json!({"kind": "status", "status": 500}), status(500, None)),
        (json!({"kind": "status", "status": 503, "retry_after": 9}), status(503, Some(9))),
        (json!({"kind": "status", "status": 429, "retry_after": 2}), status(429, Some(2))),
        (json!({"kind": "status", "status": 408}), status(408, None)),
        (json!({"kind": "status", "status": 302}), status(302, None)),
        (json!({"kind": "delay", "ms": 60_000}), UpstreamError::Timeout),
        (json!({"kind": "hang"}), UpstreamError::Timeout),
        (json!({"kind": "close"}), UpstreamError::Closed),
        (json!({"kind": "close_after_work"}), UpstreamError::Closed),
        (json!({"kind": "garbage"}), UpstreamError::BadBody { line: 1, column: 1 }),
        (json!({"kind": "truncate"}), UpstreamError::Closed),
        (json!({"kind": "huge"}), UpstreamError::BodyTooLarge),
        (json!({"kind": "slow_body", "ms": 1_000}), UpstreamError::Timeout),
    ] {
        rig.fault(fault.clone());
        let started = Instant::now();
        assert_eq!(rig.send(store()).await, Err(expected), "{fault}");
        assert!(started.elapsed() < PATIENCE / 2, "{fault}");
    }
    rig.fault(json!({"kind": "status", "status": 409}));
    assert_eq!(rig.send(store()).await, Ok(StatusCode::CONFLICT), "for the typed client");
    rig.sandbox.clear_fault("personal");
    assert_eq!(rig.send(store()).await, Ok(StatusCode::OK));
}

#[actix_web::test]
async fn nobody_listens() {
    let upstream = upstream_of(format!("http://127.0.0.1:{}", free_port()), |_| {});
    let error = upstream.call(&ctx(), store()).await.unwrap_err();
    assert_eq!(error, UpstreamError::Connect(std::io::ErrorKind::ConnectionRefused));
}

#[actix_web::test]
async fn only_idempotent_calls_are_repeated() {
    let rig = rig(|_| {});
    rig.fault(json!({"kind": "status", "status": 503, "times": 2}));
    assert_eq!(rig.send(store().idempotent()).await, Ok(StatusCode::OK));
    assert_eq!(rig.stores(), 3);
    rig.assert_metric(r#"upstream_retries_total{method="phones_store",upstream="personal"} 2"#);

    for fault in [json!({"kind": "status", "status": 503}), json!({"kind": "close_after_work"})] {
        rig.fault(fault);
        let before = rig.stores();
        rig.send(store()).await.unwrap_err();
        assert_eq!(rig.stores(), before + 1);
    }
}

#[actix_web::test]
async fn retry_after_is_waited_for_if_the_deadline_allows() {
    let rig = rig(|_| {});
    rig.fault(json!({"kind": "status", "status": 429, "retry_after": 1, "times": 1}));
    let started = Instant::now();
    assert_eq!(rig.send(store().idempotent()).await, Ok(StatusCode::OK));
    assert!(started.elapsed() >= Duration::from_secs(1));

    rig.fault(json!({"kind": "status", "status": 429, "retry_after": 60}));
    let started = Instant::now();
    rig.send(store().idempotent()).await.unwrap_err();
    assert!(started.elapsed() < PATIENCE / 2, "it is not begun to wait");
}

#[actix_web::test]
async fn an_outage_is_not_multiplied_by_retries() {
    let rig = rig(|settings| settings.attempts = 5);
    rig.fault(json!({"kind": "status", "status": 500}));
    let started = Instant::now();
    for _ in 0..50 {
        rig.send(store().idempotent()).await.unwrap_err();
    }
    let most = 50 + 10 + 50 / 5 + started.elapsed().as_secs();
    assert!((50..=most).contains(&rig.stores()), "{}", rig.stores());
}

#[actix_web::test]
async fn the_breaker_opens_and_recovers() {
    let rig = rig(|settings| {
        settings.timeout_ms = 1_000;
        settings.breaker_failures = 3;
        settings.breaker_open_ms = 4_000;
    });
    rig.fault(json!({"kind": "hang"}));
    for _ in 0..3 {
        assert_eq!(rig.send(store()).await, Err(UpstreamError::Timeout));
    }
    eventually("all have come", async || rig.stores() == 3).await;
    rig.sandbox.clear_fault("personal");
    let before = rig.stores();
    let error = rig.send(store()).await.unwrap_err();
    assert!(matches!(error, UpstreamError::BreakerOpen { .. }), "{error:?}");
    assert_eq!(rig.stores(), before, "nothing was sent");
    rig.assert_metric(r#"upstream_breaker_state{upstream="personal"} 2"#);
    eventually("it is tried again", async || rig.send(store()).await.is_ok()).await;
    rig.assert_metric(r#"upstream_breaker_state{upstream="personal"} 0"#);
}

#[actix_web::test]
async fn an_impatient_caller_does_not_open_the_breaker() {
    let rig = rig(|settings| settings.breaker_failures = 2);
    for fault in [json!({"kind": "hang"}), json!({"kind": "slow_body", "ms": 20})] {
        rig.fault(fault.clone());
        for _ in 0..3 {
            let ctx = Context::background("test", Duration::from_millis(100));
            let started = Instant::now();
            let error = rig.upstream.call(&ctx, store().idempotent()).await.unwrap_err();
            assert_eq!(error, UpstreamError::Deadline, "{fault}");
            assert!(started.elapsed() < PATIENCE / 4, "{fault}");
        }
    }
    rig.sandbox.clear_fault("personal");
    assert_eq!(rig.send(store()).await, Ok(StatusCode::OK));
    let spent = Context::background("test", Duration::ZERO);
    assert_eq!(rig.upstream.call(&spent, store()).await.unwrap_err(), UpstreamError::Deadline);
}

#[actix_web::test]
async fn a_dropped_call_gives_everything_back() {
    let rig = rig(|settings| {
        settings.concurrency = 1;
        settings.queue_wait_ms = 50;
        settings.breaker_failures = 1;
    });
    rig.fault(json!({"kind": "hang"}));
    let hanging = Box::pin(rig.send(store()));
    assert!(timeout(Duration::from_millis(200), hanging).await.is_err());
    rig.assert_metric(r#"upstream_in_flight{upstream="personal"} 0"#);
    rig.sandbox.clear_fault("personal");
    assert_eq!(rig.send(store()).await, Ok(StatusCode::OK));
}

#[actix_web::test]
async fn who_finds_no_place_in_time_is_told_so() {
    let rig = rig(|settings| {
        settings.timeout_ms = 20_000;
        settings.concurrency = 1;
        settings.queue_wait_ms = 50;
    });
    rig.fault(json!({"kind": "hang"}));
    let second = async {
        eventually("the one place is taken", async || rig.stores() == 1).await;
        rig.send(store()).await
    };
    tokio::select! {
        first = rig.send(store()) => panic!("{first:?}"),
        second = second => assert_eq!(second, Err(UpstreamError::Busy)),
    }
}

#[actix_web::test]
async fn a_connection_that_closes_under_a_call_does_not_surface() {
    let rig = rig(|settings| settings.attempts = 1);
    assert_eq!(rig.send(store()).await, Ok(StatusCode::OK));
    rig.fault(json!({"kind": "close", "times": 1}));
    assert_eq!(rig.send(store().idempotent()).await, Ok(StatusCode::OK));
}

#[actix_web::test]
async fn a_connection_that_closed_while_idle_is_not_used() {
    let (addr, requests) = server_of_one_answer_a_connection();
    let upstream = upstream_of(format!("http://{addr}"), |settings| settings.attempts = 1);
    for _ in 0..3 {
        assert_eq!(upstream.call(&ctx(), store()).await.unwrap().status, StatusCode::OK);
        // Told when the connection is closed.
        requests.recv_timeout(PATIENCE).unwrap();
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(requests.try_iter().count(), 0, "three calls, each on a connection of its own");
}

#[actix_web::test]
async fn a_call_carries_token_trace_and_headers() {
    let (addr, requests) = server_of_one_answer_a_connection();
    let upstream = upstream_of(format!("http://{addr}/prefix/"), |_| {});
    let ctx = ctx();
    upstream.call(&ctx, store()).await.unwrap();
    let request = requests.recv_timeout(PATIENCE).unwrap().to_lowercase();
    assert!(request.starts_with("post /prefix/v1/phones/store http/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("authorization: bearer {TOKEN}\r\n")));
    assert!(request.contains(&format!("traceparent: 00-{}-", ctx.trace.trace_id_hex())));
    assert!(!request.contains(&format!("{:016x}", ctx.trace.span_id)), "a span of its own");
    assert!(request.contains("content-type: application/json\r\n"));
}

#[actix_web::test]
async fn metrics_tell_outcomes() {
    let rig = rig(|settings| settings.timeout_ms = 6_000);
    rig.send(store()).await.unwrap();
    for fault in [
        json!({"kind": "status", "status": 500}),
        json!({"kind": "status", "status": 429}),
        json!({"kind": "status", "status": 404}),
        json!({"kind": "hang"}),
        json!({"kind": "close"}),
        json!({"kind": "garbage"}),
    ] {
        rig.fault(fault);
        let _ = rig.send(store()).await;
    }
    for outcome in
        ["ok", "server_error", "rate_limited", "client_error", "timeout", "closed", "bad_body"]
    {
        rig.assert_metric(&format!(
            "upstream_requests_total{{method=\"phones_store\",outcome=\"{outcome}\",\
             upstream=\"personal\"}} 1"
        ));
    }
    rig.assert_metric(
        r#"upstream_request_duration_seconds_count{method="phones_store",upstream="personal"} 7"#,
    );
}

/// Answers one request on each connection, as if it meant to keep it open, and then closes it.
/// The requests' heads can be received.
fn server_of_one_answer_a_connection() -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let (seen, requests) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            if seen.send(answer(stream.unwrap())).is_err() {
                return;
            }
        }
    });
    (addr, requests)
}

fn answer(mut stream: TcpStream) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"}") {
        let mut buffer = [0; 1024];
        let read = stream.read(&mut buffer).unwrap();
        request.extend_from_slice(&buffer[..read]);
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").unwrap();
    String::from_utf8(request).unwrap()
}
