//! Drivers' ids at the regulator.

mod binding;
mod failures;
mod races;
mod refusals;
mod removal;
mod secrecy;

use fleet::sandbox::{SandboxDriver, SandboxLicense};
use serde_json::{Value, json};

use super::DOMAIN;
use crate::support::app::TestApp;
use crate::support::client::{Caller, Reply};
use crate::support::eventually;

const ID: &str = "deptrans-status/v1/id";
/// Where KRT is asked.
const CHECK: &str = "POST /api/v1/drivers/check";

/// The server, and back-end services that call it.
struct World {
    app: TestApp,
    internal: Caller,
}

impl World {
    async fn start() -> Self {
        Self::with("").await
    }

    async fn with(config: &str) -> Self {
        let app = TestApp::builder().domains(&[DOMAIN]).config(config).start().await;
        let internal = app.internal(DOMAIN);
        Self { app, internal }
    }

    /// A driver whom all stand-ins know.
    fn driver(&self, index: u64) -> Person {
        Person::of(&self.app, self.app.sandbox.driver(index))
    }

    /// How often KRT was asked about an id.
    fn checks(&self) -> u64 {
        self.app.sandbox.calls("krt", CHECK)
    }

    /// How many bindings there are.
    async fn bindings(&self) -> i64 {
        let sql = "SELECT count(*) FROM deptrans.profiles WHERE deptrans_id IS NOT NULL";
        self.app.database().count(sql).await
    }

    async fn outcomes(&self, outcome: &str) -> u64 {
        self.app.count(&format!("deptrans_bindings_total{{outcome=\"{outcome}\"}}")).await
    }
}

/// A driver, as he calls the server.
struct Person {
    caller: Caller,
    park: String,
    driver: String,
    license: SandboxLicense,
}

impl Person {
    fn of(app: &TestApp, driver: SandboxDriver) -> Self {
        let caller = app.driver(DOMAIN, &driver.park_id, &driver.driver_id);
        let license = driver.license.expect("a driver with a licence");
        Self { caller, park: driver.park_id, driver: driver.driver_id, license }
    }

    async fn give(&self, id: &str) -> Reply {
        give(&self.caller, id).await
    }

    /// Gives his own id, which must be taken.
    async fn binds(&self) -> Value {
        self.give(&self.license.krt_id).await.expect(200)
    }

    async fn presence(&self) -> Value {
        self.caller.get(ID).await.expect(200)
    }
}

async fn give(caller: &Caller, id: &str) -> Reply {
    caller.post(ID, json!({ "id": id })).await
}

/// What is told of an id.
fn shown(id: &str) -> Value {
    json!({ "has_id": true, "id_suffix": &id[id.len() - 2..] })
}
