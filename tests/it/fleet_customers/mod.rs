//! Passengers of parks: a file for each route, and for each rule that spans routes.

mod concurrency;
mod delete;
mod edit;
mod failures;
mod favourite_locations;
mod find_by_phone;
mod idempotency;
mod isolation;
mod items;
mod list;
mod metrics;
mod model;
mod profile;
mod recurring_routes;
mod retrieve;
mod storage;
mod takeout;
mod upsert;

use futures_util::future::join_all;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::client::Caller;

const DOMAIN: &str = "fleet-customers";
const PARK: &str = "park-1";
const OTHER_PARK: &str = "park-2";
const PHONE: &str = "+79990000001";

/// The server, and callers of this domain.
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

    /// A server that differs from the usual one in this TOML.
    async fn with(config: &str) -> Self {
        Self::of(TestApp::builder().config(config).start().await)
    }

    fn of(app: TestApp) -> Self {
        let dispatcher = app.dispatcher(DOMAIN, PARK);
        let stranger = app.dispatcher(DOMAIN, OTHER_PARK);
        let internal = app.internal(DOMAIN);
        Self { app, dispatcher, stranger, internal }
    }

    /// An upsert that must succeed; the customer.
    async fn upsert(&self, body: Value) -> Value {
        self.internal.post("customers/upsert", body).await.expect(200)
    }

    /// An order, placed now, of the park's customer with this phone; the personal phone id.
    async fn order(&self, park: &str, phone: &str) -> String {
        let at = Timestamp::now().to_string();
        let body = json!({"park_id": park, "phone": phone, "ordered_at": at});
        id_of(&self.upsert(body).await)
    }

    /// Customers of [`PARK`] by personal phone id and time of their only order.
    async fn known(&self, orders: impl IntoIterator<Item = (String, String)>) {
        let upserts = orders.into_iter().map(|(id, at)| {
            self.upsert(json!({"park_id": PARK, "personal_phone_id": id, "ordered_at": at}))
        });
        join_all(upserts).await;
    }

    /// A profile that must be there.
    async fn profile(&self, id: &str) -> Value {
        self.dispatcher.get(&format!("customers/{id}")).await.expect(200)
    }

    /// How often a route of `personal` was called.
    fn calls(&self, route: &str) -> u64 {
        self.app.sandbox.calls("personal", &format!("POST /v1/{route}"))
    }
}

/// A customer's id within the park.
fn id_of(customer: &Value) -> String {
    customer["personal_phone_id"].as_str().expect("an id").to_owned()
}

/// The ids in a list, in its order.
fn ids_of(list: &Value) -> Vec<String> {
    list["items"].as_array().expect("items").iter().map(id_of).collect()
}

/// An id in the form that `personal` gives.
fn phone_id(number: usize) -> String {
    format!("{number:032x}")
}

/// Every member of order options.
fn options() -> Value {
    json!({
        "classes": ["econom", "comfort"],
        "requirements": {"child_seat": 2, "big": 18_446_744_073_709_551_615_u64, "nested": {"a": [1.5, null]}},
        "comment": "У второго подъезда",
        "payment_type": "cash",
    })
}

/// The same problem but for the trace it happened in.
fn without_trace(mut problem: Value) -> Value {
    problem.as_object_mut().expect("a problem").remove("trace_id");
    problem
}
