//! PostgreSQL or Kafka goes away and comes back: no offset runs ahead of the database, and all is well
//! again without anybody's help.

use serde_json::json;

use super::world::World;
use super::{DOMAIN, REBALANCE, event};
use crate::support::app::{TestApp, configuration, start_sandbox};
use crate::support::database::TestDatabase;
use crate::support::kafka::{Kafka, on_each_broker};
use crate::support::ports::free_port;
use crate::support::postgres::Postgres;
use crate::support::process::{Server, run};
use crate::support::proxy::{Mode, Proxy, host_and_port};
use crate::support::{eventually, eventually_within};

/// How Kafka's row reads.
async fn kafka_is(app: &TestApp, status: &str, reason: Option<&str>) {
    let mut row = json!({"name": "kafka", "status": status});
    if let Some(reason) = reason {
        row["reason"] = reason.into();
    }
    eventually(&row.to_string(), async || {
        let ready = app.anonymous().get("readyz").await.json();
        ready["dependencies"].as_array().unwrap().contains(&row)
    })
    .await;
}

on_each_broker! {
    /// Cut off, then silent: what Kafka is told never runs ahead of the database.
    async fn while_the_database_is_away_no_offset_is_committed(kafka: Kafka) {
        let world = World::new(kafka, "");
        let proxy = Proxy::start(host_and_port(&world.database.url()).1);
        let url = proxy.in_front_of(&world.database.url());
        let impatient = format!("[database]\nurl = '{url}'\nconnect_timeout_ms = 1000\n\
            statement_timeout_ms = 1000\nlock_timeout_ms = 500\n");
        let app = TestApp::builder().domains(&[DOMAIN])
            .config(world.for_app()).config(impatient).start().await;
        let mut sent = 0;
        let mut send = |count| {
            world.send_drivers(sent, count);
            sent += count;
            i64::try_from(sent).unwrap()
        };
        let all = send(200);
        eventually("all are committed", async || world.kafka.committed_total() == all).await;
        for mode in [Mode::Close, Mode::BlackHole] {
            proxy.set(mode);
            let before = world.kafka.committed_total();
            let all = send(500);
            eventually("the intake waits for the database", async || {
                let ready = app.anonymous().get("readyz").await.json();
                let row = |row: &&serde_json::Value| row["name"] == "kafka";
                let row = ready["dependencies"].as_array().unwrap().iter().find(row).unwrap();
                // Silence is a deadline that passes, or, when it goes on, no connection.
                row["status"] == "unavailable"
                    && (row["reason"] == "database_unavailable" || row["reason"] == "deadline_exceeded")
            }).await;
            assert_eq!(world.kafka.committed_total(), before, "{mode:?}");
            proxy.set(Mode::Pass);
            eventually_within(REBALANCE, "all are committed", async || {
                let committed = world.kafka.committed_total();
                assert!(committed <= world.rows().await, "an offset ran ahead");
                committed == all
            }).await;
            assert_eq!(world.rows().await, all);
            kafka_is(&app, "ok", None).await;
        }
    }
}

on_each_broker! {
    /// The database crashes in mid-stream, again and again.
    async fn a_crash_of_the_database_loses_nothing(kafka: Kafka) {
        let mut postgres = Postgres::start().await;
        let sandbox = start_sandbox();
        let config = configuration(&postgres.url(), &sandbox)
            .replace("[kafka]\nbrokers = ''\n", &kafka.config());
        let config = format!("domains = ['{DOMAIN}']\n{config}");
        let _process = Server::start(&config, &[]).await;
        let send = |first: usize| {
            let texts: Vec<String> = (first..first + 1_000)
                .map(|n| event(&format!("d{n}"), "online", "10:00:00", "e").to_string())
                .collect();
            kafka.send(texts.iter().enumerate().map(|(n, text)| {
                (i32::try_from(n % 4).unwrap(), text.as_bytes())
            }));
        };
        for round in 0..2 {
            send(round * 1_000);
            let begun = i64::try_from(round * 1_000).unwrap();
            let goes_on = async || kafka.committed_total() > begun;
            eventually_within(REBALANCE, "it goes on", goes_on).await;
            postgres.stop_at_once();
            let committed = kafka.committed_total();
            postgres.start_again().await;
            let client = tokio_postgres::connect(&postgres.url(), tokio_postgres::NoTls).await;
            let (client, connection) = client.unwrap();
            tokio::spawn(connection);
            let count = "SELECT count(*) FROM deptrans.status_queue";
            let rows: i64 = client.query_one(count, &[]).await.unwrap().get(0);
            assert!(committed <= rows, "{committed} committed, {rows} in the database");
            let all = i64::try_from((round + 1) * 1_000).unwrap();
            let committed = async || kafka.committed_total() == all;
            eventually_within(REBALANCE, "all are committed", committed).await;
            let rows: i64 = client.query_one(count, &[]).await.unwrap().get(0);
            assert_eq!(rows, all);
        }
    }
}

/// Without brokers the rest works, at the start and later, and consumption goes on where it was.
#[actix_web::test]
async fn without_brokers_the_rest_works() {
    let kafka = Kafka::embedded();
    let broker = kafka.embedded_broker().unwrap();
    broker.set_reachable(false);
    let database = TestDatabase::create();
    let app = TestApp::builder()
        .domains(&[DOMAIN])
        .database(database)
        .config(kafka.config())
        .start()
        .await;
    kafka_is(&app, "unavailable", Some("brokers_unreachable")).await;
    assert_eq!(app.anonymous().get("readyz").await.status, 200);
    let body = json!({"events": [event("d0", "online", "10:00:00", "e")]});
    assert_eq!(app.internal(DOMAIN).post("status-events", body).await.status, 200);

    let send = |driver: &str| {
        let text = event(driver, "online", "10:00:00", "e").to_string();
        kafka.send([(0, text.as_bytes())]);
    };
    broker.set_reachable(true);
    send("d1");
    eventually("it consumes", async || kafka.committed_total() == 1).await;
    kafka_is(&app, "ok", None).await;
    assert_eq!(app.count("kafka_connected").await, 1);

    broker.set_reachable(false);
    kafka_is(&app, "unavailable", Some("brokers_unreachable")).await;
    assert_eq!(app.count("kafka_connected").await, 0);
    broker.set_reachable(true);
    send("d2");
    eventually("it goes on", async || kafka.committed_total() == 2).await;
    let rows = app.database().count("SELECT count(*) FROM deptrans.status_queue").await;
    assert_eq!(rows, 3);
}

/// Who looks before starting is told what is wrong, and what is well.
#[actix_web::test]
async fn the_doctor_tries_the_brokers() {
    let kafka = Kafka::embedded();
    let (database, sandbox) = (TestDatabase::create(), start_sandbox());
    let config = |section: &str| {
        let others = configuration(&database.url(), &sandbox);
        format!("domains = ['{DOMAIN}']\n{}", others.replace("[kafka]\nbrokers = ''\n", section))
    };
    let well = run(&["doctor"], &config(&kafka.config()), &[]);
    assert!(well.stdout.contains("ok       kafka\n"), "{well:?}");
    let none = run(&["doctor"], &config("[kafka]\nbrokers = ''\n"), &[]);
    assert!(!none.output().contains("kafka"), "{none:?}");
    let nobody = format!("[kafka]\nbrokers = '127.0.0.1:{}'\n", free_port());
    let trouble = run(&["doctor"], &config(&nobody), &[]);
    assert_eq!(trouble.code(), Some(1));
    assert!(trouble.stdout.contains("TROUBLE  kafka: no broker answers"), "{trouble:?}");
}

/// Kafka is opened by whoever consumes, and by nobody else.
#[actix_web::test]
async fn a_process_without_the_domain_opens_no_kafka() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let section = format!("[kafka]\nbrokers = '{}'\n", listener.local_addr().unwrap());
    let app = TestApp::builder().domains(&["fleet-customers"]).config(section).start().await;
    assert!(!app.anonymous().get("metrics").await.text().contains("kafka_"));
    let ready = app.anonymous().get("readyz").await.text();
    assert!(!ready.contains("kafka"), "{ready}");
    assert!(listener.accept().is_err(), "somebody connected");
}
