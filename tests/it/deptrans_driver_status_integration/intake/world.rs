//! A topic, a database, and real processes that may be killed.

use std::collections::BTreeMap;

use fleet::sandbox::Sandbox;
use serde_json::Value;
use tokio_postgres::Client;

use super::{DOMAIN, event};
use crate::support::app::{configuration, start_sandbox};
use crate::support::database::TestDatabase;
use crate::support::eventually;
use crate::support::kafka::{Kafka, PARTITIONS};
use crate::support::process::Server;

/// SQL: statements of batches that wait for the queue.
const WAITING: &str = "FROM pg_stat_activity WHERE datname = current_database() \
     AND wait_event_type = 'Lock' AND query LIKE '%INSERT INTO deptrans.status_queue%'";

pub struct World {
    pub kafka: Kafka,
    pub database: TestDatabase,
    /// The stand-ins live as long as this.
    _sandbox: Sandbox,
    config: String,
}

impl World {
    pub fn new(kafka: Kafka, more: &str) -> Self {
        let (database, sandbox) = (TestDatabase::create(), start_sandbox());
        let config = format!(
            "domains = ['{DOMAIN}']\n{}{more}",
            configuration(&database.url(), &sandbox)
                .replace("[kafka]\nbrokers = ''\n", &kafka.config())
        );
        Self { kafka, database, _sandbox: sandbox, config }
    }

    /// A process that consumes.
    pub async fn process(&self) -> Server {
        // A batch under way at the end has time, also on a busy machine.
        let env = [("FLEET__KAFKA__STOP_MS", "12000"), ("FLEET__HTTP__FINISH_MS", "15000")];
        Server::start(&self.config, &env).await
    }

    /// The configuration for a server in this process, with the same database.
    pub fn for_app(&self) -> String {
        format!("[database]\nurl = '{}'\n{}", self.database.url(), self.kafka.config())
    }

    /// Another database connection, that holds the queue: no batch can be stored until it is dropped or
    /// lets go.
    pub async fn hold_the_queue(&self) -> Client {
        let client = self.database.connect().await;
        client
            .batch_execute("BEGIN; LOCK TABLE deptrans.status_queue IN EXCLUSIVE MODE")
            .await
            .unwrap();
        client
    }

    /// Waits until a batch waits for the queue.
    pub async fn batch_waits(&self) {
        let waiting = format!("SELECT count(*) {WAITING}");
        eventually("a batch waits", async || self.database.count(&waiting).await > 0).await;
    }

    /// Ends the statements of batches that wait for the queue: PostgreSQL would run them though whoever
    /// sent them has died.
    pub async fn no_batch_waits(&self) {
        let end = format!("SELECT pg_terminate_backend(pid) {WAITING}");
        let waiting = format!("SELECT count(*) {WAITING}");
        self.database.query(&end, &[]).await;
        eventually("no batch waits", async || self.database.count(&waiting).await == 0).await;
    }

    pub async fn rows(&self) -> i64 {
        self.database.count("SELECT count(*) FROM deptrans.status_queue").await
    }

    /// One event of each of `count` drivers, the first being number `first`, over all partitions.
    pub fn send_drivers(&self, first: usize, count: usize) {
        let texts: Vec<(i32, String)> = (first..first + count)
            .map(|n| (partition(n), event(&format!("d{n}"), "online", "10:00:00", "e").to_string()))
            .collect();
        self.kafka.send(texts.iter().map(|(partition, text)| (*partition, text.as_bytes())));
    }

    /// Writes events, each to the partition that its number says.
    pub fn send(&self, events: &[Value]) {
        let texts: Vec<(i32, String)> =
            events.iter().enumerate().map(|(n, event)| (partition(n), event.to_string())).collect();
        self.kafka.send(texts.iter().map(|(partition, text)| (*partition, text.as_bytes())));
    }

    /// The newest statuses that are kept: driver, then status, time and what decides.
    pub async fn newest(&self) -> BTreeMap<String, (String, String)> {
        let sql = "SELECT fleet_platform.readable_id(driver_id), status::text, \
             to_char(occurred_at AT TIME ZONE 'UTC', 'HH24:MI:SS.US') || tiebreak \
             FROM deptrans.status_queue";
        let rows = self.database.query(sql, &[]).await;
        rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect()
    }
}

fn partition(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(0) % PARTITIONS
}
