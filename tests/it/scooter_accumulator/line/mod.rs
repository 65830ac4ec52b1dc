//! What is said to cabinets and by them: over a real broker, with simulated cabinets.

mod commands;
mod events;
mod execute;
mod flood;
mod flow;
mod polling;
mod recovery;
mod settling;

use std::collections::BTreeMap;

use fleet::sandbox::cabinets::{Broker, Cabinet, Cell, Habit};
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::DOMAIN;
use crate::support::app::TestApp;
use crate::support::client::{Caller, Reply};
use crate::support::database::TestDatabase;
use crate::support::eventually;
use crate::support::mosquitto::Mosquitto;

/// The cabinets that the broker knows.
const CABINETS: [&str; 3] = ["cab-1", "cab-2", "cab-3"];

/// Everything is quick; cabinets are asked only where a test wants it.
const QUICK: &str = "[scooter_accumulator.commands]\nanswer_ms = 5000\nttl_ms = 5000\nsettle_ms = 60000\n\
     pace_ms = 0\npoll_ms = 3600000\nask_again_ms = 200\noffline_after_ms = 3600000\n";

/// A broker, a server, and cabinet `cab-1` with five cells: three full, two empty.
struct Rig {
    broker: Mosquitto,
    app: TestApp,
    /// The scooter back end.
    backend: Caller,
    cabinet: Cabinet,
}

fn cells() -> Vec<Cell> {
    vec![
        Cell::holding("acc-1", 100.0),
        Cell::holding("acc-2", 99.0),
        Cell::holding("acc-3", 98.0),
        Cell::empty(),
        Cell::empty(),
    ]
}

impl Rig {
    async fn start() -> Self {
        Self::with("").await
    }

    /// One whose server differs in this TOML.
    async fn with(config: &str) -> Self {
        Self::on(None, config).await
    }

    /// One on a database that was made before.
    async fn on(database: Option<TestDatabase>, config: &str) -> Self {
        let broker = Mosquitto::start(&CABINETS).await;
        let mut builder = TestApp::builder().domains(&[DOMAIN]).config(broker.section());
        if let Some(database) = database {
            builder = builder.database(database);
        }
        let app = builder.config(QUICK).config(config).start().await;
        app.connected("mqtt").await;
        let backend = app.internal(DOMAIN);
        let url = broker.url();
        app.sandbox.cabinets().use_broker(Broker { url, password: "{cabinet_id}-secret".into() });
        let body = json!({"id": "cab-1", "lat": 55.75, "lon": 37.61, "cell_count": 5});
        backend.post("cabinets", body).await.expect(201);
        // A new cabinet is asked at once. That is over, and its turn given back, before it can hear.
        eventually("it was asked", async || app.count("scooter_accumulator_polls_total").await > 0)
            .await;
        let free = "UPDATE scooter_accumulator.cabinets SET free_at = clock_timestamp()";
        app.database().execute(free).await;
        for id in ["acc-1", "acc-2", "acc-3"] {
            let body = json!({"id": id, "charge": 1, "place": null});
            backend.post("accumulators", body).await.expect(201);
        }
        let cabinet = app.sandbox.cabinets().add("cab-1", cells()).unwrap();
        let rig = Self { broker, app, backend, cabinet };
        rig.charged("cab-1", 3).await;
        rig
    }

    /// Waits until a cabinet has told that it has so many to take.
    async fn charged(&self, cabinet: &str, count: i64) {
        eventually("the cabinet has told its state", async || {
            let shown = self.backend.get(&format!("cabinets/{cabinet}")).await.json();
            shown["online"] == true && shown["counts"]["available"] == count
        })
        .await;
    }

    /// A second instance.
    async fn another(&self, config: &str) -> TestApp {
        let url = format!("[database]\nurl = '{}'\n", self.app.database().url());
        let builder = TestApp::builder().domains(&[DOMAIN]).without_database();
        let builder = builder.config(self.broker.section()).config(QUICK).config(config);
        let app = builder.config(url).start().await;
        app.connected("mqtt").await;
        app
    }

    /// What technicians do when doors open.
    fn habit(&self, habit: Habit) {
        self.app.sandbox.cabinets().set_habit(habit);
    }

    /// Books for the technician `t`; the booking's id.
    async fn book(&self, kind: &str, count: i32) -> String {
        let body =
            json!({"cabinet_id": "cab-1", "contractor_id": "t", "kind": kind, "count": count});
        let booking = self.backend.post("bookings", body).await.expect(201);
        booking["id"].as_str().unwrap().to_owned()
    }

    async fn execute(&self, booking: &str, body: Value) -> Reply {
        execute(&self.backend, booking, body).await
    }

    async fn booking(&self, id: &str) -> Value {
        self.backend.get(&format!("bookings/{id}")).await.expect(200)
    }

    /// Waits until a booking has this status.
    async fn becomes(&self, booking: &str, status: &str) -> Value {
        eventually(status, async || self.booking(booking).await["status"] == status).await;
        self.booking(booking).await
    }

    async fn place_of(&self, accumulator: &str) -> Value {
        self.backend.get(&format!("accumulators/{accumulator}")).await.expect(200)["place"].clone()
    }

    /// Waits until an accumulator is there.
    async fn comes_to(&self, accumulator: &str, place: &Value) {
        let what = format!("{accumulator} is at {place}");
        let path = format!("accumulators/{accumulator}");
        let there = async || {
            let shown = self.backend.get(&path).await;
            shown.status == 200 && shown.json()["place"] == *place
        };
        eventually(&what, there).await;
    }

    /// Gives `t` accumulators that nobody had before.
    async fn give(&self, ids: &[&str]) {
        for id in ids {
            let place = json!({"contractor_id": "t"});
            let body = json!({"id": id, "charge": 10, "place": place});
            self.backend.post("accumulators", body).await.expect(201);
        }
    }

    /// Publishes an event as the cabinet does.
    fn tell(&self, event: &Value) {
        self.cabinet.publish(None, event.to_string());
    }

    /// The cabinet is asked for its state, by the next polling.
    async fn poll(&self, cabinet: &str) {
        let sql = format!(
            "UPDATE scooter_accumulator.cabinets SET poll_at = now() WHERE id = '{cabinet}'"
        );
        self.app.database().execute(&sql).await;
    }

    /// The status of a booking's last command, by the database.
    async fn command_of(&self, booking: &str) -> String {
        let sql = format!(
            "SELECT status::text FROM scooter_accumulator.commands WHERE booking_id = '{booking}' \
             ORDER BY issued_at DESC LIMIT 1"
        );
        self.app.database().query(&sql, &[]).await[0].get(0)
    }

    /// How often doors were opened, by command and cell.
    fn openings(&self) -> BTreeMap<(String, usize), u32> {
        let mut counts = BTreeMap::new();
        for opening in self.cabinet.openings() {
            *counts.entry((opening.command_id, opening.cell)).or_default() += 1;
        }
        counts
    }

    /// The count of events of a type with this outcome.
    async fn events(&self, kind: &str, outcome: &str) -> u64 {
        let series =
            format!("scooter_accumulator_events_total{{outcome=\"{outcome}\",type=\"{kind}\"}}");
        self.app.count(&series).await
    }

    /// Waits until so many events of a type had this outcome.
    async fn heard(&self, kind: &str, outcome: &str, count: u64) {
        let what = format!("{count} {kind} {outcome}");
        eventually(&what, async || self.events(kind, outcome).await >= count).await;
    }

    /// What must hold at every moment.
    async fn assert_sound(&self) {
        for (what, wrong) in super::INVARIANTS {
            assert_eq!(self.app.database().count(wrong).await, 0, "{what}");
        }
    }
}

async fn execute(backend: &Caller, booking: &str, body: Value) -> Reply {
    backend.post(&format!("bookings/{booking}/execute"), body).await
}

/// An event of now.
fn event(kind: &str, more: Value) -> Value {
    event_at(Timestamp::now(), kind, more)
}

fn event_at(at: Timestamp, kind: &str, more: Value) -> Value {
    let mut event = json!({"v": 1, "event_id": Uuid::now_v7(), "at": at, "type": kind});
    event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    event
}

fn cell(n: i32) -> Value {
    json!({"cabinet_id": "cab-1", "cell": n})
}

fn technician() -> Value {
    json!({"contractor_id": "t"})
}

/// Technicians who do what they came for, at once.
fn good() -> Habit {
    Habit { acts: true, ..Habit::default() }
}

/// The numbers of a booking's cells.
fn numbers(booking: &Value) -> Vec<i64> {
    booking["cells"].as_array().unwrap().iter().map(|cell| cell["n"].as_i64().unwrap()).collect()
}

/// What became of a booking's cells.
fn outcomes(booking: &Value) -> Vec<&str> {
    let cells = booking["cells"].as_array().unwrap();
    cells.iter().map(|cell| cell["outcome"].as_str().unwrap_or("none")).collect()
}
