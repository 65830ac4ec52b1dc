//! Clients that ask and do not read what they are answered.

use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::rig::{LARGE, Rig};
use crate::support::raw::unread;
use crate::support::{PATIENCE, eventually};

const SOON: &str = "write_timeout_ms = 300\n";
const TIMEOUTS: &str = "http_write_timeouts_total";

async fn metric(rig: &Rig, series: &str) -> String {
    let text = rig.caller().get("metrics").await.text();
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {series}")).to_owned()
}

/// Asks for the large answer, and has not read it.
async fn ask(rig: &Rig, connection: &str) -> TcpStream {
    let request =
        format!("GET /trial/large HTTP/1.1\r\nHost: a\r\nConnection: {connection}\r\n\r\n");
    unread(rig.addr, &request).await
}

#[actix_web::test]
async fn a_client_that_does_not_read_loses_its_connection() {
    let rig = Rig::with(SOON);
    for (number, connection) in (1..).zip(["close", "keep-alive"]) {
        let mut stalled = ask(&rig, connection).await;
        let expected = number.to_string();
        eventually("its time is over", async || metric(&rig, TIMEOUTS).await == expected).await;
        let mut taken = Vec::new();
        let ended = timeout(PATIENCE, stalled.read_to_end(&mut taken)).await.expect("an end");
        assert!(ended.is_err() && taken.len() < LARGE, "{ended:?} after {}", taken.len());
    }
}

#[actix_web::test]
async fn a_client_that_reads_a_byte_now_and_then_gains_no_time() {
    let rig = Rig::with(SOON);
    let mut slow = ask(&rig, "close").await;
    // Until the connection breaks; it would take days.
    let trickle = async {
        while slow.read_u8().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, trickle).await.expect("an end");
    assert_eq!(metric(&rig, TIMEOUTS).await, "1");
}

#[actix_web::test]
async fn clients_that_do_not_read_hold_no_place() {
    let rig = Rig::with("write_timeout_ms = 600000\nmax_in_flight = 1\n");
    let mut stalled = Vec::new();
    for _ in 0..2 {
        let stream = ask(&rig, "close").await;
        // The answer has begun: its handler is done.
        timeout(PATIENCE, stream.readable()).await.expect("an answer").unwrap();
        stalled.push(stream);
    }
    assert_eq!(metric(&rig, "http_requests_in_flight").await, "0");
    let reply = rig.caller().get("trial/large").await;
    assert_eq!((reply.status, reply.body.len()), (200, LARGE));
    assert_eq!(metric(&rig, TIMEOUTS).await, "0");
    for mut stream in stalled {
        let mut answer = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("an end").unwrap();
        assert!(answer.len() > LARGE, "it reads on");
    }
}
