//! Traces leave over OTLP/HTTP when an endpoint is configured.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::database::TestDatabase;
use crate::support::process::Server;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// Takes one request: its head as text, and its body.
pub async fn one_request(listener: &TcpListener) -> (String, Vec<u8>) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut bytes = Vec::new();
    let (head, length) = loop {
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "closed within the head");
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            let length = head.to_lowercase().split_once("content-length: ").unwrap().1.to_owned();
            break (head.to_owned(), length.lines().next().unwrap().parse::<usize>().unwrap());
        }
    };
    while bytes.len() < head.len() + 4 + length {
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "closed within the body");
    }
    stream
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    (head.clone(), bytes.split_off(head.len() + 4))
}

#[actix_web::test]
async fn spans_go_to_the_collector_in_the_callers_trace_and_are_flushed_at_the_end() {
    let database = TestDatabase::create();
    let collector = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/v1/traces", collector.local_addr().unwrap());
    let mut server = Server::start(
        "[http]\ndrain_ms = 0\n",
        &[
            ("FLEET__DATABASE__URL", &database.url()),
            ("FLEET__TELEMETRY__OTLP_ENDPOINT", &endpoint),
            ("FLEET__TELEMETRY__TRACE_RATIO", "0"),
        ],
    )
    .await;
    let traceparent = format!("00-{TRACE}-b7ad6b7169203331-01");
    let reply = server.anonymous().header("traceparent", &traceparent).get("nowhere").await;
    assert_eq!(reply.json()["trace_id"], TRACE);

    // What is buffered leaves when the process stops.
    server.signal("TERM");
    let (head, body) = one_request(&collector).await;
    assert!(head.starts_with("POST /v1/traces "), "{head}");
    let id: Vec<u8> = (0..16)
        .map(|byte| u8::from_str_radix(&TRACE[2 * byte..2 * byte + 2], 16).unwrap())
        .collect();
    assert!(body.windows(16).any(|window| window == id), "the caller's trace is in it");
    assert!(server.wait(Duration::from_secs(10)).await.unwrap().success());
}

#[actix_web::test]
async fn without_a_callers_decision_the_ratio_decides() {
    let database = TestDatabase::create();
    let collector = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/v1/traces", collector.local_addr().unwrap());
    let server = Server::start(
        "[http]\ndrain_ms = 0\n",
        &[
            ("FLEET__DATABASE__URL", &database.url()),
            ("FLEET__TELEMETRY__OTLP_ENDPOINT", &endpoint),
            ("FLEET__TELEMETRY__TRACE_RATIO", "1"),
        ],
    )
    .await;
    let reply = server.anonymous().get("nowhere").await;
    assert_eq!(reply.json()["trace_id"].as_str().map(str::len), Some(32));
    server.signal("TERM");
    let (head, body) = one_request(&collector).await;
    assert!(head.starts_with("POST /v1/traces ") && !body.is_empty(), "{head}");
}
