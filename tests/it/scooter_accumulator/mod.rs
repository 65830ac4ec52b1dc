//! Cabinets, accumulators, bookings and swaps.

mod accumulators;
mod bookings;
mod cabinets;
mod concurrency;
mod failures;
mod history;
mod idempotency;
mod isolation;
mod line;
mod metrics;
mod model;
mod near;
mod swap;

use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::client::{Caller, Reply};

const DOMAIN: &str = "scooter-accumulator";

/// The server, and whoever calls it.
struct World {
    app: TestApp,
    /// The scooter back end.
    backend: Caller,
}

impl World {
    async fn start() -> Self {
        Self::with("").await
    }

    /// A server that differs from the usual one in this TOML.
    async fn with(config: &str) -> Self {
        let app = TestApp::builder().domains(&[DOMAIN]).config(config).start().await;
        Self { backend: app.internal(DOMAIN), app }
    }

    /// A second instance on the same database.
    async fn another(&self, config: &str) -> Self {
        let url = format!("[database]\nurl = '{}'\n", self.app.database().url());
        let builder = TestApp::builder().domains(&[DOMAIN]).without_database();
        let app = builder.config(config).config(url).start().await;
        Self { backend: app.internal(DOMAIN), app }
    }

    /// A cabinet in Moscow.
    async fn cabinet(&self, id: &str, cells: i32) -> Value {
        self.cabinet_at(id, cells, 55.75, 37.61).await
    }

    async fn cabinet_at(&self, id: &str, cells: i32, lat: f64, lon: f64) -> Value {
        let body = json!({ "id": id, "lat": lat, "lon": lon, "cell_count": cells });
        self.backend.post("cabinets", body).await.expect(201)
    }

    async fn accumulator(&self, id: &str, charge: i32, place: &Value) -> Value {
        let body = json!({ "id": id, "charge": charge, "place": place });
        self.backend.post("accumulators", body).await.expect(201)
    }

    /// A cabinet with an accumulator of each charge in its first cells, called `ID-1` and so on.
    async fn filled(&self, id: &str, cells: i32, charges: &[i32]) {
        self.cabinet(id, cells).await;
        for (number, charge) in (1..).zip(charges) {
            self.accumulator(&format!("{id}-{number}"), *charge, &cell(id, number)).await;
        }
    }

    async fn place_of(&self, id: &str) -> Value {
        self.backend.get(&format!("accumulators/{id}")).await.expect(200)["place"].clone()
    }

    async fn counts(&self, id: &str) -> Value {
        self.backend.get(&format!("cabinets/{id}")).await.expect(200)["counts"].clone()
    }

    /// Books for the technician `t`.
    async fn book(&self, cabinet: &str, kind: &str, count: i32) -> Reply {
        self.backend.post("bookings", booking(cabinet, kind, count)).await
    }

    async fn booking_status(&self, id: &str) -> Value {
        self.backend.get(&format!("bookings/{id}")).await.expect(200)["status"].clone()
    }

    /// Lets a booking's time pass, by the database's clock.
    async fn let_expire(&self, booking: &str) {
        let sql = format!(
            "UPDATE scooter_accumulator.bookings SET expires_at = now() - interval '1 second' \
             WHERE id = '{booking}'"
        );
        self.app.database().execute(&sql).await;
    }

    /// What must hold at every moment.
    async fn assert_sound(&self) {
        for (what, wrong) in INVARIANTS {
            let rows = self.app.database().count(wrong).await;
            assert_eq!(rows, 0, "{what}");
        }
    }
}

/// Each counts what must not be.
pub const INVARIANTS: [(&str, &str); 5] = [
    (
        "the last move of an accumulator leads to where it is",
        "SELECT count(*) FROM scooter_accumulator.accumulators a LEFT JOIN LATERAL \
           (SELECT m.\"to\" FROM scooter_accumulator.accumulator_moves m WHERE m.accumulator_id = a.id \
            ORDER BY m.id DESC LIMIT 1) l ON true \
         WHERE l.\"to\" IS DISTINCT FROM CASE \
           WHEN a.cabinet_id IS NOT NULL THEN jsonb_build_object('cabinet_id', a.cabinet_id, 'cell', a.cell) \
           WHEN a.contractor_id IS NOT NULL THEN jsonb_build_object('contractor_id', a.contractor_id) \
           WHEN a.scooter_id IS NOT NULL THEN jsonb_build_object('scooter_id', a.scooter_id) END",
    ),
    (
        "each move begins where the one before ended",
        "SELECT count(*) FROM (SELECT m.kind, m.\"from\", lag(m.\"to\") OVER w AS before, \
           row_number() OVER w AS number FROM scooter_accumulator.accumulator_moves m \
           WINDOW w AS (PARTITION BY m.accumulator_id ORDER BY m.id)) h \
         WHERE CASE WHEN number = 1 THEN \"from\" IS NOT NULL ELSE \"from\" IS DISTINCT FROM before END",
    ),
    (
        "a booking keeps something exactly as long as it is live",
        "SELECT count(*) FROM scooter_accumulator.booking_cells c \
         JOIN scooter_accumulator.bookings b ON b.id = c.booking_id \
         WHERE c.live <> (b.status IN ('active', 'executing', 'unknown'))",
    ),
    (
        "a live booking has as many cells as it is of",
        "SELECT count(*) FROM scooter_accumulator.bookings b WHERE b.ended_at IS NULL AND b.count <> \
           (SELECT count(*) FROM scooter_accumulator.booking_cells c WHERE c.booking_id = b.id)",
    ),
    (
        "a cabinet has its cells",
        "SELECT count(*) FROM scooter_accumulator.cabinets k WHERE k.cell_count <> \
           (SELECT count(*) FROM scooter_accumulator.cells c WHERE c.cabinet_id = k.id)",
    ),
];

fn cell(cabinet: &str, n: i32) -> Value {
    json!({ "cabinet_id": cabinet, "cell": n })
}

fn contractor(id: &str) -> Value {
    json!({ "contractor_id": id })
}

fn scooter(id: &str) -> Value {
    json!({ "scooter_id": id })
}

fn booking(cabinet: &str, kind: &str, count: i32) -> Value {
    json!({ "cabinet_id": cabinet, "contractor_id": "t", "kind": kind, "count": count })
}

fn counts(available: i32, charging: i32, empty: i32, booked: i32, broken: i32) -> Value {
    json!({
        "available": available, "charging": charging, "empty": empty, "booked": booked,
        "broken": broken,
    })
}

/// The ids of a list's items, in its order.
fn ids(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().expect("items");
    items.iter().map(|item| item["id"].as_str().expect("an id").to_owned()).collect()
}

/// The id of what was answered.
fn id_of(answer: &Value) -> String {
    answer["id"].as_str().expect("an id").to_owned()
}

/// The accumulators of a booking, by cell.
fn booked(booking: &Value) -> Vec<String> {
    let cells = booking["cells"].as_array().expect("cells");
    let id = |cell: &Value| cell["accumulator_id"].as_str().map(str::to_owned);
    cells.iter().filter_map(id).collect()
}
