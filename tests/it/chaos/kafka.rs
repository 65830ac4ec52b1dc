//! Scenario 9: statuses come shuffled, doubled and at equal times, while consumers come and go, are
//! stopped, and are killed, also between both commits.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::RngExt;
use rand::seq::SliceRandom;
use serde_json::{Value, json};

use super::rig::{Counts, Run, drivers, limit, seeds, until};
use crate::support::PATIENCE;
use crate::support::app::{configuration, start_sandbox};
use crate::support::database::TestDatabase;
use crate::support::kafka::{Kafka, PARTITIONS};
use crate::support::process::Server;

const DOMAIN: &str = "deptrans-driver-status-integration";
/// Few, so that what is lost was likely somebody's newest.
const EACH: usize = 6;
/// Small, so that every fault finds one under way.
const ENV: [(&str, &str); 2] =
    [("FLEET__KAFKA__BATCH_MESSAGES", "50"), ("FLEET__KAFKA__BATCH_LINGER_MS", "5")];
/// Whoever holds this lock stops every commit that changes the queue; and what changes a row without
/// being newer is written down.
const WATCH: &str = "CREATE FUNCTION public.pass() RETURNS trigger LANGUAGE plpgsql AS \
     $$ BEGIN PERFORM pg_advisory_xact_lock_shared(9); RETURN NULL; END $$; \
     CREATE CONSTRAINT TRIGGER pass AFTER INSERT OR UPDATE ON deptrans.status_queue \
     DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.pass(); \
     CREATE TABLE public.backwards (status text); \
     CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS \
     $$ BEGIN INSERT INTO public.backwards VALUES (NEW.status); RETURN NULL; END $$; \
     CREATE TRIGGER note AFTER UPDATE ON deptrans.status_queue FOR EACH ROW \
     WHEN ((NEW.occurred_at, NEW.tiebreak) <= (OLD.occurred_at, OLD.tiebreak)) \
     EXECUTE FUNCTION public.note()";
const COMMITTING: &str = "SELECT count(*) FROM pg_stat_activity \
     WHERE datname = current_database() AND wait_event = 'advisory'";
const WRITING: &str = "SELECT count(*) FROM pg_stat_activity \
     WHERE datname = current_database() AND wait_event = 'relation'";
const KEPT: &str = "SELECT fleet_platform.readable_id(driver_id), status::text, \
     to_char(occurred_at AT TIME ZONE 'UTC', 'HH24:MI:SS.US') || tiebreak FROM deptrans.status_queue";

/// The status of a driver, and by what it is the greatest.
type Newest = BTreeMap<String, (String, String)>;

/// Events in the order in which they come, and what must be left of them.
fn history(run: &mut Run, drivers: usize) -> (Vec<String>, Newest) {
    let (mut events, mut newest) = (Vec::new(), Newest::new());
    for driver in 0..drivers {
        let driver = format!("d{driver}");
        for _ in 0..EACH {
            // Few times, so that many are equal.
            let (second, micros) = (run.random.random_range(0..3), run.random.random_range(0..2));
            let nanos = run.random.random_range(0..2);
            let id: usize = run.random.random_range(0..1_000);
            // By the id alone, so that equal ones are one event.
            let status = ["online", "busy", "offline"][id % 3];
            let time = format!("10:00:0{second}.{micros:06}");
            let event: Value = json!({"park_id": "park-1", "driver_id": driver, "status": status,
                "event_id": format!("{id:03}"), "occurred_at": format!("2026-03-01T{time}{nanos:03}Z")});
            for _ in 0..=run.random.random_range(0..3) {
                events.push(event.to_string());
            }
            let rank = format!("{time}{nanos:03}{id:03}");
            let kept = newest.entry(driver.clone()).or_default();
            if rank > kept.1 {
                *kept = (status.to_owned(), rank);
            }
        }
    }
    events.shuffle(&mut run.random);
    (events, newest)
}

struct Site {
    kafka: Kafka,
    database: TestDatabase,
    config: String,
    consumers: Vec<Server>,
    frozen: Vec<Server>,
    sent: usize,
}

impl Site {
    async fn start(&mut self) {
        let mut server = Server::spawn(&self.config, &ENV);
        server.wait_for("readyz", 200).await;
        self.consumers.push(server);
    }

    /// Each to a partition by its place, so that a driver's are in several.
    fn send(&mut self, events: &[String]) {
        let first = self.sent;
        self.sent += events.len();
        self.kafka.send(events.iter().enumerate().map(|(place, event)| {
            let partition = i32::try_from((first + place) % usize::try_from(PARTITIONS).unwrap());
            (partition.unwrap(), event.as_bytes())
        }));
    }

    /// Kills all when the database has committed what they handed over, and Kafka has not heard of it.
    async fn kill_between_commits(&mut self, events: &[String]) {
        let gate = self.database.connect().await;
        gate.execute("SELECT pg_advisory_lock(9)", &[]).await.unwrap();
        self.send(events);
        let committing = async || self.database.count(COMMITTING).await;
        until("somebody commits", async || committing().await > 0).await;
        self.consumers.iter().for_each(|server| server.signal("STOP"));
        let kept = self.database.count("SELECT count(*) FROM deptrans.status_queue").await;
        gate.execute("SELECT pg_advisory_unlock(9)", &[]).await.unwrap();
        until("it has committed", async || committing().await == 0).await;
        let after = self.database.count("SELECT count(*) FROM deptrans.status_queue").await;
        assert!(after >= kept, "rows are never fewer");
        self.consumers.clear();
        self.start().await;
        self.start().await;
    }

    /// Kills one while the database does not have yet what it handed over.
    async fn kill_before_commit(&mut self, run: &mut Run, events: &[String]) {
        let gate = self.database.connect().await;
        let lock = "BEGIN; LOCK TABLE deptrans.status_queue IN EXCLUSIVE MODE";
        gate.batch_execute(lock).await.unwrap();
        self.send(events);
        until("somebody hands over", async || self.database.count(WRITING).await > 0).await;
        run.pause(0, 100).await;
        drop(self.consumers.remove(run.random.random_range(0..self.consumers.len())));
        gate.batch_execute("ROLLBACK").await.unwrap();
        self.start().await;
    }

    async fn strike(&mut self, run: &mut Run, way: usize, events: &[String]) {
        if way < 2 {
            // One that stands still with rows locked would let nobody commit.
            self.thaw();
        }
        match way {
            0 => return self.kill_between_commits(events).await,
            1 => return self.kill_before_commit(run, events).await,
            _ => {}
        }
        self.send(events);
        run.pause(0, 200).await;
        let victim = run.random.random_range(0..self.consumers.len());
        if way == 2 {
            let victim = self.consumers.remove(victim);
            victim.signal("STOP");
            self.frozen.push(victim);
            return self.start().await;
        }
        // One more comes, and one leaves in good order: partitions move twice in mid-batch.
        self.start().await;
        run.pause(0, 200).await;
        let mut leaver = self.consumers.remove(victim);
        leaver.signal("TERM");
        assert!(leaver.wait(PATIENCE).await.is_some_and(|ended| ended.success()));
    }

    /// Those that stood still go on, and believe that they are members.
    fn thaw(&mut self) {
        for server in self.frozen.drain(..) {
            server.signal("CONT");
            self.consumers.push(server);
        }
    }

    async fn kept(&self) -> Newest {
        let rows = self.database.query(KEPT, &[]).await;
        rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect()
    }
}

#[actix_web::test]
async fn the_greatest_status_is_left_whatever_becomes_of_the_consumers() {
    for seed in seeds() {
        let mut run = Run::of("9 Kafka", seed);
        let kafka = match Kafka::real().await {
            Some(kafka) => kafka,
            None => Kafka::embedded(),
        };
        let (database, sandbox) = (TestDatabase::create(), start_sandbox());
        database.execute(WATCH).await;
        let config = configuration(&database.url(), &sandbox)
            .replace("[kafka]\nbrokers = ''\n", &kafka.config());
        let config = format!("domains = ['{DOMAIN}']\n{config}");
        let mut site =
            Site { kafka, database, config, consumers: Vec::new(), frozen: Vec::new(), sent: 0 };
        let drivers = usize::try_from(drivers() / 4).unwrap();
        let (events, newest) = history(&mut run, drivers);
        // A member that went without a word is missed after seconds: few faults make a short run.
        let faults = if drivers < 10_000 { 3 } else { 8 };
        let portions: Vec<&[String]> = events.chunks(events.len().div_ceil(faults + 1)).collect();
        site.send(portions[0]);
        site.start().await;
        site.start().await;
        for (number, portion) in portions[1..].iter().enumerate() {
            let way = if number < 2 { number } else { run.random.random_range(0..4) };
            site.strike(&mut run, way, portion).await;
        }
        site.thaw();
        let all = i64::try_from(events.len()).unwrap();
        let started = std::time::Instant::now();
        // Asking Kafka takes a while, and blocks.
        while site.kafka.committed_total() < all {
            assert!(started.elapsed() < limit(), "not all is committed");
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        let kept = site.kept().await;
        let right = newest.iter().filter(|(driver, status)| kept.get(*driver) == Some(*status));
        let delivered = right.count();
        let letters = site.database.count("SELECT count(*) FROM deptrans.dead_letters").await;
        assert_eq!(letters, 0, "all could be read");
        let backwards = site.database.count("SELECT count(*) FROM public.backwards").await;
        let counts = Counts {
            selected: newest.len() as u64,
            delivered: delivered as u64,
            lost: (newest.len() - delivered) as u64,
            doubled: u64::try_from(backwards).unwrap() + (kept.len() - newest.len()) as u64,
        };
        run.assert(faults, counts);
    }
}
