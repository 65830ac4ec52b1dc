//! Scenario 6: PostgreSQL restarts, hangs, or is cut off, while mailings are ordered.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use actix_web::http::Method;
use futures_util::future::{join, join_all};
use rand::RngExt;
use serde_json::json;
use tokio_postgres::NoTls;

use super::rig::{Counts, DOMAIN, Run, dispatcher, seeds, until};
use crate::support::app::{configuration, start_sandbox};
use crate::support::client::Caller;
use crate::support::postgres::Postgres;
use crate::support::process::Server;
use crate::support::proxy::{Mode, Proxy, host_and_port};

const ORDERERS: usize = 4;
const RECIPIENTS: usize = 3;
/// How long an answer may take while the database is away, on a busy machine.
const BOUND: Duration = Duration::from_secs(6);
/// Everything is well so long after the database is back.
const RECOVERY: Duration = Duration::from_secs(10);
const ENV: [(&str, &str); 9] = [
    ("FLEET__DOMAINS", DOMAIN),
    ("FLEET__HTTP__DEFAULT_TIMEOUT_MS", "2000"),
    ("FLEET__DATABASE__CONNECT_TIMEOUT_MS", "1000"),
    ("FLEET__DATABASE__ACQUIRE_TIMEOUT_MS", "500"),
    ("FLEET__DATABASE__STATEMENT_TIMEOUT_MS", "1000"),
    ("FLEET__TASKS__LEASE_MS", "2000"),
    ("FLEET__TASKS__POLL_MS", "100"),
    ("FLEET__TASKS__BACKOFF_BASE_MS", "20"),
    ("FLEET__TASKS__BACKOFF_MAX_MS", "500"),
];

/// Orders until told to stop; each order again under its key until it is acknowledged.
#[derive(Default)]
struct Orders {
    acknowledged: RefCell<Vec<String>>,
    refused: Cell<usize>,
    stopped: Cell<bool>,
}

impl Orders {
    async fn run(&self, dispatcher: &Caller, ids: &[String]) {
        join_all((0..ORDERERS).map(async |orderer| {
            for number in 0.. {
                if self.stopped.get() {
                    return;
                }
                self.order(dispatcher, &format!("order-{orderer}-{number}"), ids).await;
            }
        }))
        .await;
    }

    async fn order(&self, dispatcher: &Caller, key: &str, ids: &[String]) {
        let keyed = dispatcher.header("Idempotency-Key", key);
        let body = json!({"message": key, "filter": {"incl_contractor_ids": ids}}).to_string();
        let began = Instant::now();
        loop {
            let started = Instant::now();
            let reply = keyed.try_send(Method::POST, "mailings", Some(body.clone())).await.unwrap();
            assert!(started.elapsed() < BOUND, "{:?}: {}", started.elapsed(), reply.text());
            match reply.status {
                202 => {
                    let id = reply.json()["mailing_id"].as_str().expect("an id").to_owned();
                    self.acknowledged.borrow_mut().push(id);
                    return;
                }
                503 | 504 => self.refused.set(self.refused.get() + 1),
                _ => drop(reply.problem(409, "idempotency_key_in_progress")),
            }
            assert!(began.elapsed() < 2 * super::rig::limit(), "never acknowledged: {key}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn acknowledged(&self) -> usize {
        self.acknowledged.borrow().len()
    }
}

/// Breaks the database in one way, until orders are refused.
async fn strike(
    run: &mut Run,
    way: usize,
    postgres: &mut Postgres,
    proxy: &Proxy,
    orders: &Orders,
) {
    let refused = orders.refused.get();
    let felt =
        async || until("orders are refused", async || orders.refused.get() > refused + 2).await;
    match way {
        0 => {
            postgres.stop_at_once();
            felt().await;
            run.pause(0, 500).await;
            postgres.start_again().await;
        }
        1 => {
            postgres.freeze();
            felt().await;
            run.pause(0, 1_000).await;
            postgres.thaw();
        }
        _ => {
            let after = run.random.random_range(0..400);
            let modes = [Mode::Close, Mode::BlackHole, Mode::CutAfter(after)];
            proxy.set(modes[run.random.random_range(0..modes.len())]);
            felt().await;
            run.pause(0, 500).await;
            proxy.set(Mode::Pass);
        }
    }
}

async fn count(url: &str, sql: &str) -> i64 {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client.query_one(sql, &[]).await.unwrap().get(0)
}

#[actix_web::test]
async fn no_acknowledged_order_is_lost_whatever_becomes_of_the_database() {
    for seed in seeds() {
        let mut run = Run::of("6 PostgreSQL", seed);
        let mut postgres = Postgres::start().await;
        let proxy = Proxy::start(host_and_port(&postgres.url()).1);
        let sandbox = start_sandbox();
        let config = configuration(&proxy.in_front_of(&postgres.url()), &sandbox);
        let server = Server::start(&config, &ENV).await;
        let dispatcher = dispatcher(&server.anonymous(), "park-1");
        let ids = sandbox.driver_ids("park-1")[..RECIPIENTS].to_vec();
        let (orders, strikes) = (Orders::default(), Cell::new(0));
        let breaks = async {
            let first = run.random.random_range(0..3);
            for way in 0..3 {
                let before = orders.acknowledged();
                until("orders are taken", async || orders.acknowledged() > before + 10).await;
                strike(&mut run, (first + way) % 3, &mut postgres, &proxy, &orders).await;
                strikes.set(strikes.get() + 1);
                let (back, before) = (Instant::now(), orders.acknowledged());
                until("orders are taken again", async || orders.acknowledged() > before).await;
                assert!(back.elapsed() < RECOVERY, "{:?}", back.elapsed());
            }
            orders.stopped.set(true);
        };
        join(orders.run(&dispatcher, &ids), breaks).await;

        let acknowledged: BTreeSet<String> = orders.acknowledged.borrow().iter().cloned().collect();
        assert_eq!(acknowledged.len(), orders.acknowledged(), "one mailing for each order");
        let open = "SELECT count(*) FROM fleet_communications.mailings WHERE status <> 'sent'";
        let url = postgres.url();
        until("every mailing is sent", async || count(&url, open).await == 0).await;
        let all = count(&url, "SELECT count(*) FROM fleet_communications.mailings").await;
        assert_eq!(
            usize::try_from(all).unwrap(),
            acknowledged.len(),
            "nothing but what was acknowledged"
        );
        let delivered = sandbox.delivered_counts(None);
        assert_eq!((delivered.doubled, delivered.mismatches), (0, 0));
        let selected = (acknowledged.len() * RECIPIENTS) as u64;
        let counts = Counts {
            selected,
            delivered: delivered.deliveries,
            lost: selected.saturating_sub(delivered.deliveries),
            doubled: delivered.deliveries.saturating_sub(selected),
        };
        run.assert(strikes.get(), counts);
    }
}
