//! Scenarios 11 to 13: technicians take accumulators out and bring them back at simulated cabinets, while
//! processes of the server and the broker are killed and cabinets answer late, twice, or not at all. In
//! the end the cabinets themselves say what is true.

use std::cell::{Cell as Shared, RefCell};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use actix_web::http::Method;
use fleet::sandbox::Sandbox;
use fleet::sandbox::cabinets::{Broker, Cabinet, CabinetFaults, Cell, Habit};
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use rand::RngExt;
use serde_json::{Value, json};

use super::rig::{Counts, Run, seeds, until};
use crate::support::app::{configuration_at, start_sandbox};
use crate::support::client::{Caller, Reply};
use crate::support::database::TestDatabase;
use crate::support::mosquitto::Mosquitto;
use crate::support::process::Server;
use crate::support::proxy::{Proxy, host_and_port};

const DOMAIN: &str = "scooter-accumulator";
pub const CABINETS: [&str; 2] = ["cab-1", "cab-2"];
const CELLS: usize = 8;
const FULL: usize = 5;
const TECHNICIANS: usize = 4;
/// How long faults go on.
const FOR: Duration = Duration::from_secs(8);
/// An expiry is read to the millisecond, and a clock takes a moment to be looked at.
const BLINK: SignedDuration = SignedDuration::from_millis(5);
/// Commands are good for little longer than an answer takes.
const SETTINGS: &str = "[scooter_accumulator.commands]\nanswer_ms = 700\nttl_ms = 700\nsettle_ms = 3000\n\
     pace_ms = 0\npoll_ms = 2000\nask_again_ms = 200\noffline_after_ms = 600000\n";

/// What a technician takes out where a booking of his is carried through at once.
pub const CELLS_OF_A_BOOKING: u64 = 1;

/// Everything that the technicians work with.
pub struct Site {
    /// Away while it is killed and started again.
    broker: RefCell<Option<Mosquitto>>,
    section: String,
    settings: &'static str,
    sandbox: Sandbox,
    pub database: TestDatabase,
    /// Between the processes and the database.
    pub proxy: Proxy,
    cabinets: Vec<Cabinet>,
    servers: RefCell<Vec<Server>>,
    roots: RefCell<Vec<Caller>>,
    over: Shared<bool>,
    executed: Shared<u64>,
}

/// Technicians who act when doors open.
pub fn quick() -> Habit {
    Habit { acts: true, after_ms: 30, ..Habit::default() }
}

impl Site {
    /// So many processes, cabinets that have told what they have, and technicians who act when doors
    /// open.
    pub async fn of(processes: usize) -> Self {
        Self::with(processes, SETTINGS, quick()).await
    }

    /// The same with other settings and technicians.
    pub async fn with(processes: usize, settings: &'static str, habit: Habit) -> Self {
        let database = TestDatabase::create();
        let broker = Mosquitto::start(&CABINETS).await;
        let sandbox = start_sandbox();
        let password = "{cabinet_id}-secret".to_owned();
        sandbox.cabinets().use_broker(Broker { url: broker.url(), password });
        sandbox.cabinets().set_habit(habit);
        let mut site = Self {
            section: broker.section(),
            settings,
            broker: RefCell::new(Some(broker)),
            sandbox,
            proxy: Proxy::start(host_and_port(&database.url()).1),
            database,
            cabinets: Vec::new(),
            servers: RefCell::default(),
            roots: RefCell::default(),
            over: Shared::new(false),
            executed: Shared::new(0),
        };
        for _ in 0..processes {
            site.start().await;
        }
        for id in CABINETS {
            let body = json!({"id": id, "lat": 1, "lon": 1, "cell_count": CELLS});
            site.caller(0).post("cabinets", body).await.expect(201);
            let full = (0..FULL).map(|n| Cell::holding(format!("{id}-{n}"), 100.0));
            let cells = full.chain((FULL..CELLS).map(|_| Cell::empty())).collect();
            site.cabinets.push(site.sandbox.cabinets().add(id, cells).unwrap());
        }
        until("the cabinets have told", async || site.differences().await == 0).await;
        site
    }

    fn spawn(&self) -> Server {
        self.spawn_under(&[])
    }

    /// One more, under further variables; it need not be ready yet.
    pub fn spawn_under(&self, env: &[(&str, &str)]) -> Server {
        let url = self.proxy.in_front_of(&self.database.url());
        let config = configuration_at(&url, &self.sandbox, &self.section) + self.settings;
        let env: Vec<_> = env.iter().copied().chain([("FLEET__DOMAINS", DOMAIN)]).collect();
        Server::spawn(&config, &env)
    }

    /// From now on it is called too.
    pub fn enlist(&self, server: Server) {
        self.roots.borrow_mut().push(server.anonymous().internal(DOMAIN));
        self.servers.borrow_mut().push(server);
    }

    pub fn cabinets(&self) -> &[Cabinet] {
        &self.cabinets
    }

    /// Kills the broker, with all that it has, and starts it again.
    pub async fn restart_broker(&self, away: Duration) {
        let mut broker = self.broker.take().expect("nobody else is at it");
        broker.kill();
        tokio::time::sleep(away).await;
        broker.start_again().await;
        self.broker.replace(Some(broker));
    }

    /// Kills a process and starts another.
    pub fn replace(&self, victim: usize) {
        self.kill(victim);
        self.enlist(self.spawn());
    }

    /// Kills a process.
    pub fn kill(&self, victim: usize) {
        drop(self.servers.borrow_mut().remove(victim));
        self.roots.borrow_mut().remove(victim);
    }

    /// Starts a process and waits until it is ready.
    pub async fn start(&self) {
        let mut server = self.spawn();
        server.wait_for("readyz", 200).await;
        self.enlist(server);
    }

    /// Nothing that must not be.
    pub async fn assert_sound(&self) {
        for (what, wrong) in WRONG {
            assert_eq!(self.database.count(wrong).await, 0, "{what}");
        }
    }

    pub fn caller(&self, number: usize) -> Caller {
        let roots = self.roots.borrow();
        roots[number % roots.len()].header("X-Request-Timeout-Ms", "2000")
    }

    /// Calls whichever process is there, for as long as faults go on.
    pub async fn post(&self, number: usize, path: &str, body: &Value) -> Option<Reply> {
        for attempt in 0.. {
            let caller = self.caller(number + attempt);
            let reply = caller.try_send(Method::POST, path, Some(body.to_string())).await;
            if let Ok(reply) = reply
                && ![503, 504, 429].contains(&reply.status)
            {
                return Some(reply);
            }
            if self.over.get() {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        None
    }

    /// A technician takes one or two out, brings back what he has, and so on.
    async fn work(&self, number: usize) {
        let id = format!("t-{number}");
        for round in 0.. {
            if self.over.get() {
                return;
            }
            let cabinet = CABINETS[(number + round) % CABINETS.len()];
            let book = |kind: &str, count: usize| json!({"cabinet_id": cabinet, "contractor_id": id, "kind": kind, "count": count});
            let has = self.carried_by(number, &id).await;
            let (body, order) = if has.is_empty() {
                (book("pickup", 1 + round % 2), json!({}))
            } else {
                (book("return", has.len()), json!({ "accumulator_ids": has }))
            };
            let Some(booked) = self.post(number, "bookings", &body).await else { return };
            if booked.status != 201 {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
            let path = format!("bookings/{}/execute", booked.json()["id"].as_str().unwrap());
            if let Some(reply) = self.post(number, &path, &order).await
                && reply.status == 200
            {
                self.executed.set(self.executed.get() + 1);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub async fn carried_by(&self, number: usize, id: &str) -> Vec<String> {
        let path = format!("accumulators?contractor_id={id}&limit=3");
        let Ok(reply) = self.caller(number).try_send(Method::GET, &path, None).await else {
            return Vec::new();
        };
        let items = reply.json()["items"].as_array().cloned().unwrap_or_default();
        items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Breaks one thing after another; returns how many.
    async fn break_things(&self, run: &mut Run) -> usize {
        let started = Instant::now();
        let mut faults = 0;
        while started.elapsed() < FOR {
            run.pause(50, 500).await;
            faults += 1;
            let victim = run.random.random_range(0..CABINETS.len());
            let cabinet = &self.cabinets[victim];
            let fault = CabinetFaults::default();
            match run.random.random_range(0..9) {
                0 | 1 => {
                    let processes = self.servers.borrow().len();
                    self.replace(run.random.random_range(0..processes));
                }
                2 => {
                    let away = run.random.random_range(0..=400);
                    self.restart_broker(Duration::from_millis(away)).await;
                }
                3 => {
                    cabinet.cut();
                    run.pause(0, 300).await;
                    cabinet.come_back();
                }
                4 => cabinet.set_faults(CabinetFaults { mute: true, ..fault }),
                5 => cabinet.set_faults(CabinetFaults { ignores: true, ..fault }),
                6 => cabinet.set_faults(CabinetFaults { late_ms: 900, copies: 2, ..fault }),
                7 => cabinet.set_faults(CabinetFaults { slow_ms: 900, ..fault }),
                _ => {
                    cabinet.set_faults(CabinetFaults { holds: true, copies: 1, ..fault });
                    run.pause(0, 1_000).await;
                    cabinet.release(run.random.random_range(0..2) == 0);
                }
            }
            if run.random.random_range(0..2) == 0 {
                run.pause(0, 600).await;
                cabinet.set_faults(fault);
            }
        }
        for cabinet in &self.cabinets {
            cabinet.release(false);
            cabinet.set_faults(CabinetFaults::default());
            cabinet.come_back();
        }
        faults
    }

    /// Cells in which the database has something else than there is.
    pub async fn differences(&self) -> usize {
        let mut truth: BTreeMap<(String, i32), String> = BTreeMap::new();
        for cabinet in &self.cabinets {
            for (n, cell) in (1..).zip(cabinet.cells()) {
                if let Some(held) = cell.holds {
                    truth.insert((cabinet.id().to_owned(), n), held.id);
                }
            }
        }
        let sql = "SELECT cabinet_id, cell, id FROM scooter_accumulator.accumulators \
             WHERE cabinet_id IS NOT NULL";
        let rows = self.database.query(sql, &[]).await;
        let known: BTreeMap<(String, i32), String> =
            rows.iter().map(|row| ((row.get(0), row.get(1)), row.get(2))).collect();
        let wrong = |one: &BTreeMap<_, _>, other: &BTreeMap<(String, i32), String>| {
            one.iter().filter(|(place, id)| other.get(*place) != Some(*id)).count()
        };
        wrong(&truth, &known).max(wrong(&known, &truth))
    }

    /// Doors that opened twice for one command, or after its expiry.
    pub fn wrong_openings(&self) -> u64 {
        let mut wrong = 0;
        for cabinet in &self.cabinets {
            let mut times: BTreeMap<(String, usize), u64> = BTreeMap::new();
            let mut expiries: BTreeMap<String, Timestamp> = BTreeMap::new();
            for command in cabinet.commands() {
                let text = |key: &str| command[key].as_str().unwrap_or_default().to_owned();
                expiries.insert(text("command_id"), text("expires_at").parse().unwrap());
            }
            for opening in cabinet.openings() {
                wrong += u64::from(opening.at > expiries[&opening.command_id] + BLINK);
                *times.entry((opening.command_id, opening.cell)).or_default() += 1;
            }
            wrong += times.values().map(|times| times - 1).sum::<u64>();
        }
        wrong
    }
}

impl Site {
    /// A technician books, opens, and takes out; how many cells.
    pub async fn pickup(&self, caller: &Caller, cabinet: &str, technician: &str) -> u64 {
        let body = json!({"cabinet_id": cabinet, "contractor_id": technician, "kind": "pickup",
            "count": CELLS_OF_A_BOOKING});
        // He does not try again.
        let caller = &caller.header("X-Request-Timeout-Ms", "15000");
        let booked = caller.post("bookings", body).await.expect(201);
        let path = format!("bookings/{}", booked["id"].as_str().unwrap());
        caller.post(&format!("{path}/execute"), json!({})).await.expect(200);
        until("the booking is completed", async || {
            caller.get(&path).await.expect(200)["status"] == "completed"
        })
        .await;
        CELLS_OF_A_BOOKING
    }

    /// How many doors opened.
    pub fn opened(&self) -> u64 {
        self.cabinets.iter().map(|cabinet| cabinet.openings().len() as u64).sum()
    }

    /// No command is good for longer than it was meant to be, by a right clock.
    pub fn assert_expiries(&self, ttl_ms: i64) {
        let latest = Timestamp::now() + SignedDuration::from_millis(ttl_ms) + BLINK;
        for command in self.cabinets.iter().flat_map(Cabinet::commands) {
            let expires_at: Timestamp = command["expires_at"].as_str().unwrap().parse().unwrap();
            assert!(expires_at <= latest, "{command} is good after {latest}");
        }
    }
}

/// Each counts what must not be.
const WRONG: [(&str, &str); 4] = [
    (
        "a second command for a booking before the first had ended",
        "SELECT count(*) FROM scooter_accumulator.commands a JOIN scooter_accumulator.commands b \
         ON b.booking_id = a.booking_id AND b.id <> a.id AND b.issued_at >= a.issued_at \
         WHERE a.ended_at IS NULL OR a.ended_at > b.issued_at",
    ),
    (
        "a booking keeps something exactly as long as it is live",
        "SELECT count(*) FROM scooter_accumulator.booking_cells c \
         JOIN scooter_accumulator.bookings b ON b.id = c.booking_id \
         WHERE c.live <> (b.status IN ('active', 'executing', 'unknown'))",
    ),
    (
        "each move begins where the one before ended",
        "SELECT count(*) FROM (SELECT m.\"from\", lag(m.\"to\") OVER w AS before, row_number() OVER w AS number \
           FROM scooter_accumulator.accumulator_moves m WINDOW w AS (PARTITION BY m.accumulator_id ORDER BY m.id)) h \
         WHERE CASE WHEN number = 1 THEN \"from\" IS NOT NULL ELSE \"from\" IS DISTINCT FROM before END",
    ),
    (
        "all accumulators are known, and no other",
        "SELECT abs(count(*) - 10) FROM scooter_accumulator.accumulators",
    ),
];

#[actix_web::test]
async fn killing_processes_and_the_broker_opens_nothing_twice_or_late_and_loses_nothing() {
    for seed in seeds() {
        let mut run = Run::of("11-13 cabinets", seed);
        let site = Site::of(2).await;
        let technicians = join_all((0..TECHNICIANS).map(|number| site.work(number)));
        let breaking = async {
            let faults = site.break_things(&mut run).await;
            site.over.set(true);
            faults
        };
        let (_, faults) = futures_util::join!(technicians, breaking);
        until("every booking has come to an end", async || {
            let open = "SELECT (SELECT count(*) FROM scooter_accumulator.bookings WHERE status IN ('executing', 'unknown')) \
                 + (SELECT count(*) FROM scooter_accumulator.commands WHERE status IN ('created', 'sent'))";
            site.database.count(open).await == 0
        })
        .await;
        for cabinet in &site.cabinets {
            cabinet.report();
        }
        until("the database has what the cabinets have", async || site.differences().await == 0)
            .await;
        site.assert_sound().await;
        let counts = Counts {
            selected: site.executed.get(),
            delivered: site.opened(),
            lost: 0,
            doubled: site.wrong_openings(),
        };
        assert!(counts.selected > 0, "nobody got anything");
        run.assert(faults, counts);
    }
}
