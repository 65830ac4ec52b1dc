//! Scenario 10: the regulator's system is away for long and comes back, while statuses change and the
//! processes that send them are killed. What it noted down itself says what it was told.

use std::collections::BTreeMap;

use fleet::sandbox::KrtReport;
use jiff::Timestamp;
use rand::RngExt;
use rand::seq::IndexedRandom;
use serde_json::json;

use super::rig::{Counts, Run, drivers, seeds, until};
use crate::deptrans_driver_status_integration::rig::{Instances, go, ready};
use crate::support::process::Server;

const RATE: usize = 100;
const BURST: usize = 5;
const PROCESSES: usize = 2;
/// Calls of each process under way, as [`ENV`] has it.
const CONCURRENCY: usize = 8;
/// What is taken is another's as soon after a kill as may be. A hundred calls a second.
const ENV: [(&str, &str); 6] = [
    ("SENDING__BATCH_MS", "500"),
    ("SENDING__LEASE_MS", "10500"),
    ("KRT__CALLS_PER_SECOND", "100"),
    ("KRT__BURST", "5"),
    ("KRT__CONCURRENCY", "8"),
    ("FLEET__UPSTREAMS__KRT__TIMEOUT_MS", "600"),
];
const STATUSES: [&str; 3] = ["online", "busy", "offline"];
const ROUNDS: usize = 4;

struct City {
    world: Instances,
    servers: Vec<Server>,
    drivers: Vec<u64>,
    /// Whether each is on line, by the last that was taken in.
    on_line: BTreeMap<u64, bool>,
    kills: usize,
}

impl City {
    async fn of(count: usize) -> Self {
        let world = Instances::prepare();
        let drivers = ready(&world.sandbox, &world.database, count).await;
        let mut servers = Vec::new();
        for _ in 0..PROCESSES {
            servers.push(world.start(&ENV).await);
        }
        Self { world, servers, drivers, on_line: BTreeMap::new(), kills: 0 }
    }

    /// So many change; some process is told, and takes it all.
    async fn change(&mut self, run: &mut Run, count: usize) {
        let whose: Vec<u64> = self.drivers.sample(&mut run.random, count).copied().collect();
        let changes: Vec<(u64, &str)> = whose
            .into_iter()
            .map(|index| (index, *STATUSES.choose(&mut run.random).unwrap()))
            .collect();
        let server = &self.servers[run.random.random_range(0..self.servers.len())];
        go(&Instances::internal(server), &self.world.sandbox, &changes).await;
        self.on_line.extend(changes.iter().map(|(index, status)| (*index, *status != "offline")));
    }

    /// Changes the status of whoever was told last, before the sender has the answer, so many times.
    async fn change_while_sent(&mut self, times: usize) {
        let by_id: BTreeMap<String, u64> =
            self.drivers.iter().map(|index| (self.krt_id(*index), *index)).collect();
        let mut seen = self.world.sandbox.all_reported().len();
        for _ in 0..times {
            until("somebody is told", async || self.world.sandbox.all_reported().len() > seen)
                .await;
            let reports = self.world.sandbox.all_reported();
            seen = reports.len();
            let last = &reports[seen - 1];
            let (index, status) =
                (by_id[&last.driver_id], if last.on_line { "offline" } else { "online" });
            go(&Instances::internal(&self.servers[0]), &self.world.sandbox, &[(index, status)])
                .await;
            self.on_line.insert(index, !last.on_line);
        }
    }

    /// How often a process that is there has found that a status changed while it was sent.
    async fn changed_while_sent(&self) -> u64 {
        const NAME: &str = "deptrans_statuses_changed_while_sent_total ";
        let mut sum = 0;
        for server in &self.servers {
            let text = server.anonymous().get("metrics").await.text();
            let count = text.lines().find_map(|line| line.strip_prefix(NAME));
            sum += count.map_or(0, |count| count.parse::<u64>().unwrap());
        }
        sum
    }

    /// Kills one, with what it has taken, and starts another.
    async fn kill(&mut self, run: &mut Run) {
        let victim = run.random.random_range(0..self.servers.len());
        drop(self.servers.remove(victim));
        self.servers.push(self.world.start(&ENV).await);
        self.kills += 1;
    }

    async fn drained(&self) {
        until("nothing waits to be sent", async || self.world.waiting().await == 0).await;
    }

    /// Waits until every process knows that the regulator is away, and takes no more than it needs to ask.
    async fn knows(&self) {
        // Whatever was taken before a process knew is given up by then, on a busy machine, too.
        let taken = "SELECT count(*) FROM deptrans.status_queue WHERE lease IS NOT NULL \
             AND due_at > clock_timestamp() + interval '7.5 seconds'";
        until("every process has found out", async || {
            for server in &self.servers {
                let ready = server.anonymous().get("readyz").await.json();
                let rows = ready["dependencies"].as_array().expect("rows");
                if rows.iter().any(|row| row["name"] == "krt" && row["status"] == "ok") {
                    return false;
                }
            }
            true
        })
        .await;
        until("nothing but probes is taken", async || {
            let outages =
                Instances::internal(&self.servers[0]).get("krt/outages").await.expect(200);
            let is_open =
                outages["items"][0].get("to_at").is_none() && outages["items"][0].is_object();
            is_open && self.world.database.count(taken).await <= i64::try_from(PROCESSES).unwrap()
        })
        .await;
    }

    /// What was told since, by driver.
    fn told(&self, since: usize) -> BTreeMap<String, Vec<KrtReport>> {
        let mut told: BTreeMap<String, Vec<KrtReport>> = BTreeMap::new();
        for report in self.world.sandbox.all_reported().split_off(since) {
            told.entry(report.driver_id.clone()).or_default().push(report);
        }
        told
    }

    fn krt_id(&self, index: u64) -> String {
        self.world.sandbox.driver(index).license.expect("a licence").krt_id
    }
}

/// Reports that came after a newer one, and those of which each is another's repetition.
fn wrong(reports: &[KrtReport]) -> u64 {
    let is_wrong = |pair: &&[KrtReport]| pair[1].occurred_at <= pair[0].occurred_at;
    reports.windows(2).filter(is_wrong).count() as u64
}

/// In no second were there more calls than slots, of which those may be late that were claimed in time:
/// all that the processes have under way.
fn assert_pace(city: &City, since: usize) {
    let counts = city.world.sandbox.krt_counts();
    assert!(
        counts.most_per_second <= RATE + RATE / 2 + BURST + CONCURRENCY * PROCESSES,
        "{counts:?}"
    );
    let told = city.world.sandbox.all_reported().split_off(since);
    let (first, last) = (told[0].received_at, told[told.len() - 1].received_at);
    let fastest = told.len().saturating_sub(BURST) as f64 / RATE as f64;
    let took = last.duration_since(first).as_secs_f64();
    assert!(took >= fastest * 0.9, "{} reports in {took} s", told.len());
}

#[actix_web::test]
async fn after_a_long_outage_the_regulator_believes_what_is_true() {
    for seed in seeds() {
        let mut run = Run::of("10 regulator away", seed);
        let count = usize::try_from(drivers() / 20).unwrap().min(600);
        let mut city = City::of(count).await;
        city.change(&mut run, count).await;
        city.drained().await;
        let before = city.world.sandbox.all_reported().len();

        let kinds = [
            json!({"kind": "status", "status": 503, "route": "statuses"}),
            json!({"kind": "close"}),
            json!({"kind": "hang", "route": "statuses"}),
        ];
        let fault = kinds.choose(&mut run.random).unwrap().clone();
        city.world.sandbox.set_fault("krt", fault).unwrap();
        for _ in 0..ROUNDS {
            city.change(&mut run, count).await;
            run.pause(0, 300).await;
            city.kill(&mut run).await;
        }
        let rows = "SELECT count(*) FROM deptrans.status_queue";
        assert_eq!(city.world.database.count(rows).await, count as i64, "one row a driver");
        city.knows().await;
        let is_true_since = Timestamp::now();
        city.change(&mut run, count).await;
        let during = city.world.sandbox.all_reported().len();
        assert_eq!(during, before, "while it was away it was told nothing");

        // It is back, slow at first, and some of its answers are lost: statuses change meanwhile.
        let back = json!([
            {"kind": "close_after_work", "route": "statuses", "times": 3},
            {"kind": "delay_after_work", "ms": run.random.random_range(20..100), "route": "statuses"},
        ]);
        city.world.sandbox.set_fault("krt", back).unwrap();
        until("it is told again", async || city.world.sandbox.all_reported().len() > before).await;
        let kills = city.kills;
        for _ in 0..ROUNDS {
            run.pause(0, 200).await;
            city.change(&mut run, count / 10).await;
            if run.random.random_range(0..2) == 0 || city.kills == kills {
                city.kill(&mut run).await;
            }
        }
        // Answers take their time now, and by then another status is true.
        let slow = json!({"kind": "delay_after_work", "ms": 350, "route": "statuses"});
        city.world.sandbox.set_fault("krt", slow).unwrap();
        city.change(&mut run, count / 4).await;
        // A machine that stands still now and then may miss the moment: each change is told too.
        for _ in 0..10 {
            city.change_while_sent(10).await;
            if city.changed_while_sent().await > 0 {
                break;
            }
        }
        city.world.sandbox.clear_fault("krt");
        city.drained().await;
        assert!(city.changed_while_sent().await > 0, "none changed while it was sent");

        let told = city.told(before);
        let outdated =
            told.values().flatten().filter(|one| one.occurred_at < is_true_since).count();
        assert!(outdated <= PROCESSES, "{outdated} were no longer true, and no probes");
        assert!(
            told.values().any(|reports| reports.len() > 1),
            "nothing changed while it was sent"
        );
        assert_pace(&city, before);
        let believes =
            |index: &u64| told.get(&city.krt_id(*index))?.last().map(|last| last.on_line);
        let right = city.on_line.iter().filter(|(index, truth)| believes(index) == Some(**truth));
        let delivered = right.count() as u64;
        let counts = Counts {
            selected: count as u64,
            delivered,
            lost: count as u64 - delivered,
            doubled: told.values().map(|reports| wrong(reports)).sum(),
        };
        run.assert(city.kills, counts);
    }
}
