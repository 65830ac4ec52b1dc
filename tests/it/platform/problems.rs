//! Whatever goes wrong is answered in one form, and says which request and trace it was.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use actix_web::http::Method;
use serde_json::json;

use super::rig::Rig;
use super::{DOMAIN, NOBODY, PARK, order_of, passenger};
use crate::support::app::TestApp;
use crate::support::raw::{self, exchange};

const FIND: &str = "/fleet-customers/dispatcher/v1/customers/find-by-phone";

/// The head of a request of a dispatcher, up to what belongs to its body.
fn head(method: &str, path: &str, more: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer test-dispatcher\r\n\
         X-Park-Id: {PARK}\r\nX-Dispatcher-Id: 1\r\n{more}\r\n"
    )
}

#[track_caller]
fn assert_problem(reply: Option<raw::Reply>, status: u16, code: &str) {
    let reply = reply.expect("an answer");
    assert_eq!(reply.status, status, "{reply:?}");
    assert_eq!(reply.headers["content-type"], "application/problem+json");
    assert!(reply.headers.contains_key("x-request-id"), "{reply:?}");
    assert_eq!(reply.json()["code"], code, "{reply:?}");
}

#[actix_web::test]
async fn a_path_that_no_route_has_is_a_problem() {
    let app = TestApp::start().await;
    for path in ["nothing", "fleet-customers", "fleet-customers/dispatcher/v2/customers", "%FF"] {
        let reply = app.anonymous().get(path).await;
        let problem = reply.problem(404, "route_not_found");
        assert_eq!(problem["trace_id"].as_str().map(str::len), Some(32), "{path}");
        assert!(!reply.header("x-request-id").is_empty(), "{path}");
    }
}

#[actix_web::test]
async fn a_method_that_a_route_does_not_answer_is_told_which_it_does() {
    let app = TestApp::start().await;
    let document = app.anonymous().get("openapi.json").await.expect(200);
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() > 10);
    for (template, item) in paths {
        let path = template.trim_start_matches('/').replace(['{', '}'], "");
        let reply = app.anonymous().send(Method::OPTIONS, &path, None).await;
        reply.problem(405, "method_not_allowed");
        let allowed: Vec<&str> = reply.header("allow").split(", ").collect();
        let documented: Vec<String> =
            item.as_object().unwrap().keys().map(|method| method.to_uppercase()).collect();
        assert_eq!(allowed.len(), documented.len(), "{template}: {allowed:?}");
        for method in documented {
            assert!(allowed.contains(&method.as_str()), "{template}: {allowed:?}");
        }
    }
    let customer = format!("customers/{NOBODY}/favourite-locations/x");
    let reply = app.dispatcher(DOMAIN, PARK).patch(&customer, json!({})).await;
    reply.problem(405, "method_not_allowed");
    assert_eq!(reply.header("allow"), "GET, PUT, DELETE");
}

#[actix_web::test]
async fn a_body_over_the_limit_is_refused_announced_or_not() {
    let app = TestApp::builder().config("[http]\nbody_limit_bytes = 2048").start().await;
    let dispatcher = app.dispatcher(DOMAIN, PARK);
    let long = json!({"phone": "9".repeat(4096)});
    dispatcher.post("customers/find-by-phone", long).await.problem(413, "body_too_large");

    let more = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n";
    let piece = format!("400\r\n{}\r\n", " ".repeat(1024));
    let request = head("POST", FIND, more) + &piece.repeat(4) + "0\r\n\r\n";
    assert_problem(exchange(app.addr(), &request), 413, "body_too_large");

    let fits = json!({"phone": format!("{}+79990000001", " ".repeat(1900))});
    let reply = dispatcher.post("customers/find-by-phone", fits).await;
    assert_ne!(reply.status, 413, "{}", reply.text());
}

#[actix_web::test]
async fn a_body_of_another_type_is_refused() {
    let app = TestApp::start().await;
    for kind in ["text/plain", "application/x-www-form-urlencoded", "", "json"] {
        let dispatcher = app.dispatcher(DOMAIN, PARK).header("Content-Type", kind);
        let reply = dispatcher.post("customers/find-by-phone", json!({"phone": "1"})).await;
        reply.problem(415, "unsupported_media_type");
    }
    let packed = app.dispatcher(DOMAIN, PARK).header("Content-Encoding", "gzip");
    let reply = packed.post("customers/find-by-phone", json!({"phone": "1"})).await;
    reply.problem(415, "unsupported_content_encoding");
    let untyped = head("POST", FIND, "Content-Length: 2\r\n") + "{}";
    assert_problem(exchange(app.addr(), &untyped), 415, "unsupported_media_type");
    let dispatcher = app.dispatcher(DOMAIN, PARK);
    let typed = dispatcher.header("Content-Type", "Application/JSON; charset=utf-8");
    let reply = typed.post("customers/find-by-phone", json!({"phone": "+79990000001"})).await;
    reply.problem(404, "customer_not_found");
}

#[actix_web::test]
async fn a_body_that_is_not_json_is_told_from_one_of_the_wrong_shape() {
    let app = TestApp::start().await;
    let dispatcher = app.dispatcher(DOMAIN, PARK);
    for body in ["", "{", "{\"phone\": \"+7", "nonsense", "{\"phone\":\"+79990000001\"} x"] {
        let path = "customers/find-by-phone";
        let reply = dispatcher.send(Method::POST, path, Some(body.to_owned())).await;
        let problem = reply.problem(400, "invalid_json");
        assert!(problem["errors"].is_null(), "{body}: {problem}");
    }
    let more = "Content-Type: application/json\r\nContent-Length: 13\r\n";
    let mut request = head("POST", FIND, more).into_bytes();
    request.extend_from_slice(b"{\"phone\":\"\xff\"}");
    let mut stream = TcpStream::connect(app.addr()).unwrap();
    stream.write_all(&request).unwrap();
    let reply = raw::read_reply(&mut stream).expect("an answer");
    assert_eq!(reply.status, 400, "{reply:?}");
    assert_eq!(reply.headers["content-type"], "application/problem+json");

    let internal = app.internal(DOMAIN);
    for (change, pointer) in [
        (json!({"ordered_at": 5}), "/ordered_at"),
        (json!({"park_id": "a b"}), "/park_id"),
        (json!({"orderd_at": "x"}), "/orderd_at"),
        (json!({"order_options": {"classes": ["econom", 7]}}), "/order_options/classes/1"),
        (json!({"order_options": {"classes": [""]}}), "/order_options/classes/0"),
    ] {
        let mut body = order_of(NOBODY);
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        internal.post("customers/upsert", body).await.invalid_at(pointer);
    }
    internal.post("customers/upsert", json!([])).await.problem(400, "invalid_request");
}

#[actix_web::test]
async fn a_body_that_comes_too_slowly_is_given_up() {
    let app = TestApp::builder().config("[http]\nbody_timeout_ms = 300").start().await;
    let more = "Content-Type: application/json\r\nContent-Length: 1000\r\n";
    let mut stream = TcpStream::connect(app.addr()).unwrap();
    stream.write_all(head("POST", FIND, more).as_bytes()).unwrap();
    let mut reader = stream.try_clone().unwrap();
    let started = Instant::now();
    let (answered, answer) = mpsc::channel();
    std::thread::spawn(move || {
        let reply = raw::read_reply(&mut reader);
        let _ = answered.send((reply, started.elapsed()));
    });
    // A byte now and then, for ten times as long as the whole body may take.
    let (reply, took) = loop {
        match answer.recv_timeout(Duration::from_millis(30)) {
            Ok(answer) => break answer,
            Err(_) => drop(stream.write_all(b" ")),
        }
        assert!(started.elapsed() < Duration::from_secs(15), "never given up");
    };
    assert_problem(reply, 408, "body_timeout");
    assert!(took >= Duration::from_millis(290), "{took:?}");
}

#[actix_web::test]
async fn a_body_that_ends_early_is_refused_and_takes_nothing_along() {
    let app = TestApp::start().await;
    let more = "Content-Type: application/json\r\nContent-Length: 100\r\n";
    let mut stream = TcpStream::connect(app.addr()).unwrap();
    stream.write_all((head("POST", FIND, more) + "{\"phone\"").as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    // Whoever hangs up need not be answered; if it is, then like this.
    if let Some(reply) = raw::read_reply(&mut stream) {
        assert_problem(Some(reply), 400, "body_incomplete");
    }
    assert_eq!(app.anonymous().get("livez").await.text(), "ok\n");
    assert_eq!(app.count("http_requests_in_flight").await, 0);
}

#[actix_web::test]
async fn a_head_that_never_ends_or_is_too_large_ends_its_connection_only() {
    let app = TestApp::builder().config("[http]\nhead_timeout_ms = 300").start().await;
    let mut unfinished = TcpStream::connect(app.addr()).unwrap();
    unfinished.write_all(b"GET /livez HTTP/1.1\r\nHost: t").unwrap();
    unfinished.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let started = Instant::now();
    let mut answer = String::new();
    unfinished.read_to_string(&mut answer).expect("the server ends the connection");
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(started.elapsed() < Duration::from_secs(9));

    let large = format!("X-Large: {}\r\n", "a".repeat(200 * 1024));
    let many = "X-Many: a\r\n".repeat(500);
    for more in [large, many] {
        let reply = exchange(app.addr(), &head("GET", "/livez", &more));
        if let Some(reply) = reply {
            assert!((400..500).contains(&reply.status), "{reply:?}");
        }
    }
    assert_eq!(app.anonymous().get("livez").await.text(), "ok\n");
}

#[actix_web::test]
async fn a_patience_that_is_no_number_of_milliseconds_is_refused() {
    let app = TestApp::start().await;
    for patience in ["0", "-1", "1.5", "1s", "", "99999999999999999999999"] {
        let caller = app.dispatcher(DOMAIN, PARK).header("X-Request-Timeout-Ms", patience);
        let reply = caller.get("customers").await;
        reply.problem(400, "invalid_timeout");
        assert!(!reply.header("x-request-id").is_empty());
    }
    // More than is allowed is cut, not refused.
    let caller =
        app.dispatcher(DOMAIN, PARK).header("X-Request-Timeout-Ms", "18446744073709551615");
    caller.get("customers").await.expect(200);
}

#[actix_web::test]
async fn a_list_of_values_is_not_read_as_an_object() {
    let app = TestApp::start().await;
    let dispatcher = app.dispatcher(DOMAIN, PARK);
    let reply = dispatcher.post("customers/find-by-phone", json!(["+79990000001"])).await;
    reply.problem(400, "invalid_request");
}

#[actix_web::test]
async fn a_query_that_a_list_does_not_know_is_refused() {
    let app = TestApp::start().await;
    let dispatcher = app.dispatcher(DOMAIN, PARK);
    for (query, code) in [
        ("limit=0", "invalid_limit"),
        ("limit=1001", "invalid_limit"),
        ("limit=ten", "invalid_query"),
        ("limit=", "invalid_query"),
        ("limit=1&limit=2", "invalid_query"),
        ("offset=10", "invalid_query"),
        ("cursor=%00", "invalid_cursor"),
        ("cursor=bm9uc2Vuc2U", "invalid_cursor"),
    ] {
        dispatcher.get(&format!("customers?{query}")).await.problem(400, code);
    }
    dispatcher.get("customers?limit=1000").await.expect(200);
}

#[actix_web::test]
async fn a_handler_that_panics_is_answered_and_the_next_request_too() {
    let rig = Rig::start();
    for path in ["trial/panics", "trial/panics-later"] {
        let caller = rig.caller().header("X-Request-Id", "of-the-panic");
        let reply = caller.get(path).await;
        let problem = reply.problem(500, "internal");
        assert_eq!(reply.header("x-request-id"), "of-the-panic");
        assert!(!problem.to_string().contains("7999"), "{problem}");
        assert_eq!(problem["trace_id"].as_str().map(str::len), Some(32));
    }
    let metrics = rig.caller().get("metrics").await.text();
    assert!(metrics.contains("\nhttp_handler_panics_total 2\n"), "{metrics}");
    assert!(metrics.contains("\nhttp_requests_in_flight 0\n"), "{metrics}");
}

#[actix_web::test]
async fn what_a_library_answers_by_itself_becomes_a_problem() {
    let rig = Rig::start();
    rig.caller().post("trial/library", json!("x")).await.problem(400, "invalid_request");
    let teapot = rig.caller().get("trial/teapot").await;
    teapot.problem(400, "invalid_request");
    assert!(!teapot.text().contains("SELECT"), "{}", teapot.text());
}

#[actix_web::test]
async fn a_request_id_is_taken_over_only_when_it_is_plain() {
    let app = TestApp::start().await;
    let caller = app.dispatcher(DOMAIN, PARK);
    for path in ["customers", "customers?limit=0", "nothing"] {
        let reply = caller.header("X-Request-Id", "Req_1.2-3").get(path).await;
        assert_eq!(reply.header("x-request-id"), "Req_1.2-3", "{path}");
        for id in ["a b", "a,b", "\"a\"", "a\u{e9}", &"a".repeat(65)] {
            let reply = caller.header("X-Request-Id", id).get(path).await;
            let ours = reply.header("x-request-id");
            assert!(uuid::Uuid::try_parse(ours).is_ok(), "{path}: {id}: {ours}");
        }
    }
    let (first, second) = (caller.get("customers").await, caller.get("customers").await);
    assert_ne!(first.header("x-request-id"), second.header("x-request-id"));
}

#[actix_web::test]
async fn a_callers_trace_is_adopted_and_goes_on_to_the_services_that_are_called() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let personal = listener.local_addr().unwrap();
    let (seen, requests) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let read = stream.read(&mut request).unwrap();
            let answer =
                "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
            stream.write_all(answer.as_bytes()).unwrap();
            let text = String::from_utf8_lossy(&request[..read]).to_lowercase();
            if seen.send(text).is_err() {
                return;
            }
        }
    });
    let base_url = format!("[upstreams.personal]\nbase_url = 'http://{personal}'");
    let app = TestApp::builder().config(base_url).start().await;
    let dispatcher = app.dispatcher(DOMAIN, PARK);
    let find = json!({"phone": "+79990000001"});

    let (trace, span) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
    let traced = dispatcher.header("traceparent", &format!("00-{trace}-{span}-01"));
    let reply = traced.post("customers/find-by-phone", find.clone()).await;
    assert_eq!(reply.problem(404, "customer_not_found")["trace_id"], trace);
    let request = requests.recv().unwrap();
    assert!(request.contains(&format!("\r\ntraceparent: 00-{trace}-")), "{request}");
    assert!(!request.contains(span), "the call is a span of its own: {request}");

    for malformed in ["nonsense", "00-00000000000000000000000000000000-00f067aa0ba902b7-01"] {
        let reply = dispatcher.header("traceparent", malformed);
        let reply = reply.post("customers/find-by-phone", find.clone()).await;
        let own = reply.problem(404, "customer_not_found")["trace_id"].clone();
        let own = own.as_str().unwrap();
        assert!(own.len() == 32 && own != trace && own.bytes().any(|digit| digit != b'0'), "{own}");
        let request = requests.recv().unwrap();
        assert!(request.contains(&format!("\r\ntraceparent: 00-{own}-")), "{request}");
    }
}

#[actix_web::test]
async fn an_id_that_cannot_be_one_is_not_found() {
    let app = TestApp::start().await;
    let dispatcher = app.dispatcher(DOMAIN, PARK);
    let items = format!("customers/{}/favourite-locations", passenger(1));
    for path in ["customers/a%20b", "customers/%FF", &format!("{items}/not-a-uuid")] {
        let reply = dispatcher.get(path).await;
        assert_eq!(reply.status, 404, "{path}: {}", reply.text());
        assert_eq!(reply.header("content-type"), "application/problem+json", "{path}");
    }
}

#[actix_web::test]
async fn a_header_that_identifies_may_come_once_only() {
    let app = TestApp::start().await;
    let list = |more: &str| head("GET", "/fleet-customers/dispatcher/v1/customers", more);
    assert_eq!(exchange(app.addr(), &list("")).expect("an answer").status, 200);
    for repeated in [
        "X-Park-Id: b\r\n",
        "X-Dispatcher-Id: 2\r\n",
        "Authorization: Bearer test-internal\r\n",
        "X-Request-Timeout-Ms: 500\r\nX-Request-Timeout-Ms: 600\r\n",
    ] {
        assert_problem(exchange(app.addr(), &list(repeated)), 400, "repeated_header");
    }
}
