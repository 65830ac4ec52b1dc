//! What every domain relies on, tried through the server as a whole.

mod abandoned;
mod auth;
mod batching;
mod bulkheads;
mod cleaning;
mod configuration;
mod database_failures;
mod deadlines;
mod kafka;
mod lifecycle;
mod listen;
mod load;
mod logs;
mod migrations;
mod mqtt;
mod overload;
mod pipelining;
mod problems;
mod rig;
mod stalled_readers;
mod tls;
pub mod traces;

use serde_json::{Value, json};

/// The domain through whose routes the platform is tried.
const DOMAIN: &str = "fleet-customers";
const PARK: &str = "park-1";
/// An id that nobody has.
const NOBODY: &str = "00000000000000000000000000000000";

/// News of a passenger, by personal phone id: it takes the database and nothing else.
fn order_of(id: &str) -> Value {
    json!({"park_id": PARK, "personal_phone_id": id, "ordered_at": "2026-11-20T10:00:00Z"})
}

/// The personal phone id of the test's passenger `number`.
fn passenger(number: usize) -> String {
    format!("{number:032x}")
}
