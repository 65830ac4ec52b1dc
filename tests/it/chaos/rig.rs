//! Processes of the server on one database, their mailings, and what came of them.

use std::time::{Duration, Instant};

use fleet::sandbox::Sandbox;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use crate::support::app::{configuration, start_sandbox};
use crate::support::client::Caller;
use crate::support::database::TestDatabase;
use crate::support::eventually_within;
use crate::support::process::Server;

pub const DOMAIN: &str = "fleet-communications";
/// Within this everything is done after the last fault, however busy the machine.
pub fn limit() -> Duration {
    Duration::from_secs(60 + drivers() / 500)
}

/// Pauses are short, so that runs are; each process works on one mailing at a time.
const ENV: [(&str, &str); 8] = [
    ("FLEET__DOMAINS", DOMAIN),
    ("FLEET__TASKS__LEASE_MS", "1500"),
    ("FLEET__TASKS__POLL_MS", "50"),
    ("FLEET__TASKS__BACKOFF_BASE_MS", "20"),
    ("FLEET__TASKS__BACKOFF_MAX_MS", "500"),
    ("FLEET__TASKS__QUEUES__MAILINGS", "1"),
    ("FLEET__UPSTREAMS__FEEDS__BREAKER_FAILURES", "1000000"),
    ("FLEET__FLEET_COMMUNICATIONS__MAILING_SLICE_MS", "500"),
];

fn number_of(name: &str, usual: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

/// The seeds to run: `FLEET_CHAOS_SEEDS` of them, from `FLEET_CHAOS_SEED` on.
pub fn seeds() -> impl Iterator<Item = u64> {
    let first = number_of("FLEET_CHAOS_SEED", 1);
    first..first + number_of("FLEET_CHAOS_SEEDS", 1)
}

/// Of steps that are tried one by one, each so manieth is; `make chaos` tries all.
pub fn stride() -> u64 {
    number_of("FLEET_CHAOS_STRIDE", 13)
}

/// How many drivers the great mailing has.
pub fn drivers() -> u64 {
    number_of("FLEET_CHAOS_DRIVERS", 4_000)
}

/// One seed's run of a scenario. When it fails, it says how to run it again.
pub struct Run {
    scenario: &'static str,
    seed: u64,
    pub random: StdRng,
    started: Instant,
    told: bool,
}

impl Run {
    pub fn of(scenario: &'static str, seed: u64) -> Self {
        let random = StdRng::seed_from_u64(seed);
        Self { scenario, seed, random, started: Instant::now(), told: false }
    }

    /// A pause that the seed chooses.
    pub async fn pause(&mut self, from_ms: u64, to_ms: u64) {
        let ms = self.random.random_range(from_ms..=to_ms);
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    /// Makes sure that something was broken, and that nothing came of it; prints the row.
    #[track_caller]
    pub fn assert(mut self, faults: usize, counts: Counts) {
        let Counts { selected, delivered, lost, doubled } = counts;
        let took = self.started.elapsed().as_secs_f64();
        println!(
            "| {} | {} | {faults} | {selected} | {delivered} | {lost} | {doubled} | {took:.1} |",
            self.scenario, self.seed
        );
        assert!(faults > 0, "no fault struck: the run shows nothing");
        assert_eq!((lost, doubled), (0, 0), "lost and doubled");
        self.told = true;
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if !self.told {
            println!(
                "chaos: `{}` failed with seed {}; again: make chaos SEED={} SEEDS=1",
                self.scenario, self.seed, self.seed
            );
        }
    }
}

/// What was to be done, what was, and the difference. Recipients, or whatever the scenario counts.
#[derive(Debug, Clone, Copy)]
pub struct Counts {
    pub selected: u64,
    pub delivered: u64,
    pub lost: u64,
    pub doubled: u64,
}

/// Waits until `holds`, for [`limit`].
pub async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    eventually_within(limit(), what, holds).await;
}

/// A mailing that was ordered.
pub struct Mailing {
    pub park: String,
    pub id: String,
    pub drivers: u64,
}

/// Processes on one database, with stand-ins of their own.
pub struct Crowd {
    pub database: TestDatabase,
    pub sandbox: Sandbox,
    pub servers: Vec<Server>,
}

impl Crowd {
    /// So many processes, all ready.
    pub async fn of(count: usize, env: &[(&str, &str)]) -> Self {
        let (database, sandbox) = (TestDatabase::create(), start_sandbox());
        // Counts the tasks that were taken from workers which no longer renewed their lease.
        let rescues = "CREATE TABLE public.rescues (task bigint); \
             CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN INSERT INTO public.rescues VALUES (OLD.id); RETURN NULL; END $$; \
             CREATE TRIGGER note AFTER UPDATE ON task_queue.tasks FOR EACH ROW \
             WHEN (OLD.state = 'running' AND NEW.state <> 'running' AND NEW.token = OLD.token \
               AND NEW.error = 'The worker stopped without a word.' \
               AND OLD.lease_until < clock_timestamp()) EXECUTE FUNCTION public.note()";
        database.execute(rescues).await;
        let mut crowd = Self { database, sandbox, servers: Vec::new() };
        for _ in 0..count {
            crowd.spawn(env);
        }
        for server in &mut crowd.servers {
            server.wait_for("readyz", 200).await;
        }
        crowd
    }

    /// One more, which need not be ready yet.
    pub fn spawn(&mut self, env: &[(&str, &str)]) {
        let config = configuration(&self.database.url(), &self.sandbox);
        let env: Vec<_> = ENV.iter().chain(env).copied().collect();
        self.servers.push(Server::spawn(&config, &env));
    }

    /// Kills one without a warning.
    pub fn kill(&mut self, victim: usize) {
        drop(self.servers.remove(victim));
    }

    pub fn dispatcher(&self, park: &str) -> Caller {
        dispatcher(&self.servers.last().expect("a server").anonymous(), park)
    }

    /// Orders a mailing to all of a park, which gets so many drivers.
    pub async fn order(&self, park: &str, drivers: u64) -> Mailing {
        self.sandbox.set_park(park, json!({"drivers": drivers})).unwrap();
        let body = json!({"message": format!("{{first_name}}, this is for {park}"), "filter": {}});
        let ordered = self.dispatcher(park).post("mailings", body).await.expect(202);
        let id = ordered["mailing_id"].as_str().expect("an id").to_owned();
        Mailing { park: park.to_owned(), id, drivers }
    }

    pub async fn status(&self, mailing: &Mailing) -> String {
        let sql = "SELECT status::text FROM fleet_communications.mailings WHERE id = $1";
        self.database.query(sql, &[&mailing.id]).await[0].get(0)
    }

    /// How many of them are not sent yet.
    pub async fn open(&self, mailings: &[Mailing]) -> i64 {
        let mut open = 0;
        for mailing in mailings {
            open += i64::from(self.status(mailing).await != "sent");
        }
        open
    }

    pub async fn are_sent(&self, mailings: &[Mailing]) -> bool {
        self.open(mailings).await == 0
    }

    pub async fn rescues(&self) -> usize {
        let rescues = self.database.count("SELECT count(*) FROM public.rescues").await;
        usize::try_from(rescues).unwrap()
    }

    /// Tasks of mailings that a worker has now.
    pub async fn running(&self) -> i64 {
        let sql =
            "SELECT count(*) FROM task_queue.tasks WHERE queue = 'mailings' AND state = 'running'";
        self.database.count(sql).await
    }

    /// Waits until all are sent, and compares what feeds delivered with who was meant.
    pub async fn outcome(&self, mailings: &[Mailing]) -> Counts {
        until("every mailing is sent", async || self.are_sent(mailings).await).await;
        let mut all = Counts { selected: 0, delivered: 0, lost: 0, doubled: 0 };
        for mailing in mailings {
            let sql = "SELECT selected, sent FROM fleet_communications.mailings WHERE id = $1";
            let row = &self.database.query(sql, &[&mailing.id]).await[0];
            let told: [i64; 2] = [row.get(0), row.get(1)];
            let drivers = i64::try_from(mailing.drivers).unwrap();
            assert_eq!(told, [drivers; 2], "{}: selected and sent", mailing.park);
            let delivered = self.sandbox.delivered(&mailing.park);
            let meant = self.sandbox.driver_ids(&mailing.park);
            let has =
                |id: &String| delivered.contains_key(&format!("contractor:{}:{id}", mailing.park));
            all.selected += meant.len() as u64;
            all.lost += meant.iter().filter(|id| !has(id)).count() as u64;
            all.delivered += delivered.values().sum::<u64>();
            all.doubled += delivered.values().map(|times| times - 1).sum::<u64>();
        }
        assert_eq!(self.sandbox.delivered_counts(None).mismatches, 0, "repeated with another body");
        all
    }
}

/// A dispatcher of a park, at a server.
pub fn dispatcher(root: &Caller, park: &str) -> Caller {
    root.dispatcher(DOMAIN, park)
}

/// Answers of feeds come some time after its work.
pub fn slow_feeds(sandbox: &Sandbox, ms: u64) {
    let delay: Value = json!({"kind": "delay_after_work", "ms": ms, "route": "/create"});
    sandbox.set_fault("feeds", delay).unwrap();
}
