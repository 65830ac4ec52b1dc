//! How events of drivers' statuses come in.

mod cleaning;
mod consuming;
mod kills;
mod order;
mod outages;
mod queue;
mod status_events;
mod world;

use std::sync::LazyLock;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::support::app::TestApp;

const DOMAIN: &str = "deptrans-driver-status-integration";
/// The group waits for a member that says nothing more, and then divides the partitions anew.
const REBALANCE: Duration = Duration::from_secs(40);

/// A server with nothing but this domain.
async fn start() -> TestApp {
    TestApp::builder().domains(&[DOMAIN]).start().await
}

/// The day of all events: over, so that no time of it is to come, and not so long ago that what rests is
/// cleaned away.
static DAY: LazyLock<String> = LazyLock::new(|| {
    let yesterday = Timestamp::now() - SignedDuration::from_hours(24);
    yesterday.strftime("%Y-%m-%d").to_string()
});

/// An event of that day.
fn event(driver: &str, status: &str, time: &str, id: &str) -> Value {
    json!({
        "park_id": "park-1", "driver_id": driver, "status": status,
        "occurred_at": format!("{}T{time}Z", *DAY), "event_id": id,
    })
}

/// The status that is kept of a driver of park-1, and its time of day.
async fn newest(app: &TestApp, driver: &str) -> (String, String) {
    let sql = "SELECT status::text, to_char(occurred_at AT TIME ZONE 'UTC', 'HH24:MI:SS') \
         FROM deptrans.status_queue WHERE fleet_platform.readable_id(driver_id) = $1 \
         AND fleet_platform.readable_id(park_id) = 'park-1'";
    let rows = app.database().query(sql, &[&driver]).await;
    assert_eq!(rows.len(), 1, "one row for {driver}");
    (rows[0].get(0), rows[0].get(1))
}
