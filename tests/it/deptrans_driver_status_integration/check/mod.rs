//! Checks of drivers.

mod batching;
mod cases;
mod failures;
mod positions;

use serde_json::{Value, json};

use super::DOMAIN;
use crate::support::app::TestApp;
use crate::support::client::{Caller, Reply};

const CHECK: &str = "drivers/check";
/// Where positions are asked.
const POSITIONS: &str = "POST /v1/positions";
/// In Moscow, and far from it.
const MOSCOW: (f64, f64) = (55.75, 37.62);
const TVER: (f64, f64) = (56.86, 35.90);
/// Positions decide, however long they take on a busy machine.
const PATIENT: &str = "[deptrans_driver_status_integration.check]\nposition_wait_ms = 10000\n";
/// A region in its second stage, in which reasons block.
const BLOCKS: &str = "[[deptrans_driver_status_integration.regions]]\nid = 1\nname = 'moscow'\n\
     stage = 2\npolygon = [[55.5, 37.3], [55.5, 37.9], [56.0, 37.9], [56.0, 37.3]]\n";
/// The same in its first, in which they warn.
const WARNS: &str = "[[deptrans_driver_status_integration.regions]]\nid = 1\nname = 'moscow'\n\
     stage = 1\npolygon = [[55.5, 37.3], [55.5, 37.9], [56.0, 37.9], [56.0, 37.3]]\n";

/// The server, and a back-end service that dispatches.
struct World {
    app: TestApp,
    caller: Caller,
}

impl World {
    async fn with(config: &str) -> Self {
        let builder = TestApp::builder().domains(&[DOMAIN]).config(PATIENT).config(config);
        Self::of(builder.start().await)
    }

    fn of(app: TestApp) -> Self {
        let caller = app.internal(DOMAIN);
        Self { app, caller }
    }

    /// A driver's profile, as it is asked for.
    fn key(&self, index: u64) -> Value {
        let driver = self.app.sandbox.driver(index);
        json!({"park_id": driver.park_id, "driver_id": driver.driver_id})
    }

    /// Puts a driver somewhere, or nowhere.
    fn place(&self, index: u64, position: Option<(f64, f64)>) {
        let driver = self.app.sandbox.driver(index);
        self.app.sandbox.set_position(&driver.park_id, &driver.driver_id, position).unwrap();
    }

    /// Binds an id to a driver's licence; SQL's `NULL` removes it.
    async fn bind(&self, index: u64, id: &str) {
        let license = self.app.sandbox.driver(index).license.expect("a licence").pd_id;
        let sql = format!(
            "INSERT INTO deptrans.profiles (seq, updated_at, driver_license_pd_id, deptrans_id) \
             VALUES ({index} + 1, now(), {}, {id})",
            packed(&license)
        );
        self.app.database().execute(&sql).await;
    }

    /// Sets the state of a driver's shift, and when it ends, as SQL.
    async fn shift(&self, index: u64, status: &str, ended_at: &str) {
        let license = self.app.sandbox.driver(index).license.expect("a licence").pd_id;
        let sql = format!(
            "INSERT INTO deptrans.session_statuses \
               (seq, updated_at, ended_at, occurred_at, driver_license_pd_id, session_status) \
             VALUES ({index} + 1, now(), {ended_at}, now(), {}, {status})",
            packed(&license)
        );
        self.app.database().execute(&sql).await;
    }

    /// A driver's last status, which was looked at in a region (SQL).
    async fn last_status(&self, index: u64, region: &str) {
        let driver = self.app.sandbox.driver(index);
        let sql = format!(
            "INSERT INTO deptrans.status_queue \
               (occurred_at, status, region, park_id, driver_id, tiebreak) \
             VALUES (now(), 'online', {region}, {}, {}, '')",
            packed(&driver.park_id),
            packed(&driver.driver_id)
        );
        self.app.database().execute(&sql).await;
    }

    async fn ask(&self, drivers: &[Value]) -> Reply {
        self.caller.post(CHECK, json!({ "drivers": drivers })).await
    }

    /// What is found of one driver.
    async fn check(&self, index: u64) -> Value {
        let mut answer = self.ask(&[self.key(index)]).await.expect(200);
        let mut item = answer["items"][0].take();
        let members = item.as_object_mut().expect("an item");
        let key =
            json!({"park_id": members.remove("park_id"), "driver_id": members.remove("driver_id")});
        assert_eq!(key, self.key(index));
        item
    }

    /// How often driver-trackstory was asked.
    fn asked(&self) -> u64 {
        self.app.sandbox.calls("driver-trackstory", POSITIONS)
    }
}

/// An id as SQL has it packed.
fn packed(id: &str) -> String {
    if id.len() == 32 && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        return format!("'\\x01{id}'::bytea");
    }
    format!("'{id}'::bytea")
}

/// An item's verdict.
fn verdict(allowed: bool, codes: &[&str]) -> Value {
    let reasons: Vec<Value> = codes.iter().map(|code| json!({ "code": code })).collect();
    json!({"allowed": allowed, "blocking": !allowed, "reasons": reasons})
}
