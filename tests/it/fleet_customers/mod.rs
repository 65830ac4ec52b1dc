//! Passengers of parks. A file for each route or rule; `upsert` makes what the others read.

mod find_by_phone;

use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::client::Caller;

const DOMAIN: &str = "fleet-customers";
const PARK: &str = "park-1";
const OTHER_PARK: &str = "park-2";

/// The server with callers of this domain.
struct Customers {
    app: TestApp,
    /// A dispatcher of [`PARK`].
    dispatcher: Caller,
    /// One of [`OTHER_PARK`].
    stranger: Caller,
    internal: Caller,
}

impl Customers {
    async fn start() -> Self {
        Self::of(TestApp::start().await)
    }

    fn of(app: TestApp) -> Self {
        let dispatcher = app.dispatcher(DOMAIN, PARK);
        let stranger = app.dispatcher(DOMAIN, OTHER_PARK);
        let internal = app.internal(DOMAIN);
        Self { app, dispatcher, stranger, internal }
    }

    /// An order of the park's customer with this phone, now; returns the personal phone id.
    async fn order(&self, park: &str, phone: &str) -> String {
        let at = jiff::Timestamp::now().to_string();
        let body = json!({"park_id": park, "phone": phone, "ordered_at": at});
        id_of(&self.upsert(body).await)
    }

    /// An upsert that must succeed.
    #[track_caller]
    fn upsert(&self, body: Value) -> impl Future<Output = Value> {
        let reply = self.internal.clone();
        async move { reply.post("customers/upsert", body).await.expect(200) }
    }
}

/// A customer's id within the park.
fn id_of(customer: &Value) -> String {
    customer["personal_phone_id"].as_str().expect("an id").to_owned()
}
