//! A dispatcher's orders: a file for each rule. Most tests serve the domain alone and without a
//! database, as it is meant to be able to.

mod alone;
mod bad_input;
mod changes;
mod commit_faults;
mod commit_storms;
mod customers;
mod customers_lost;
mod deadlines;
mod dispatchers_way;
mod enrichment;
mod isolation;
mod logs;
mod metrics;
mod parks;
mod passing;

use std::cell::RefCell;
use std::net::SocketAddr;

use actix_web::http::Method;
use awc::http::header::HeaderMap;
use fleet::sandbox::{KeptOrder, Sandbox};
use serde_json::{Value, json};

use crate::support::app::{TestApp, configuration};
use crate::support::client::{Caller, DISPATCHER_ID, Reply};
use crate::support::database::TestDatabase;
use crate::support::ports::free_port;
use crate::support::process::Server;
use crate::support::{PATIENCE, eventually};

const DOMAIN: &str = "fleet-orders-manager";
const CUSTOMERS: &str = "fleet-customers";
const PARK: &str = "park-1";
const OTHER_PARK: &str = "park-2";
const PHONE: &str = "+79990000001";
/// How dispatchers type it, and the digits that every spelling has.
const TYPED: &str = "8 (999) 000-00-01";
const DIGITS: &str = "9990000001";
/// An id that no order has.
const NOBODYS: &str = "00000000-0000-7000-8000-000000000000";
/// A breaker that never opens and a budget that lasts: each fault is met as it is asked for.
const FAULTS: &str = "[upstreams.int_api]\nbreaker_failures = 1000000\n";

/// A server with this domain, and dispatchers of two parks.
struct Desk {
    app: TestApp,
    /// One of [`PARK`].
    dispatcher: Caller,
    /// One of [`OTHER_PARK`].
    stranger: Caller,
}

impl Desk {
    /// This domain alone, without a database.
    async fn start() -> Self {
        Self::alone("").await
    }

    /// The same, different in this TOML.
    async fn alone(config: &str) -> Self {
        let builder = TestApp::builder().domains(&[DOMAIN]).without_database();
        Self::of(builder.config(config).start().await)
    }

    /// Beside fleet-customers in one process.
    async fn with_customers(config: &str) -> Self {
        let builder = TestApp::builder().domains(&[CUSTOMERS, DOMAIN]);
        Self::of(builder.config(config).start().await)
    }

    fn of(app: TestApp) -> Self {
        let dispatcher = app.dispatcher(DOMAIN, PARK);
        let stranger = app.dispatcher(DOMAIN, OTHER_PARK);
        Self { app, dispatcher, stranger }
    }

    /// A draft of [`PARK`]; its id.
    async fn drafted(&self, draft: Value) -> String {
        order_id(&self.dispatcher.post("orders/draft", draft).await.expect(200))
    }

    /// A committed order of [`PARK`]; its id.
    async fn committed(&self, draft: Value) -> String {
        let id = self.drafted(draft).await;
        self.commit(&id).await.expect(200);
        id
    }

    async fn commit(&self, id: &str) -> Reply {
        commit(&self.dispatcher, id).await
    }

    /// How often an operation of int-api was called.
    fn calls(&self, operation: &str) -> u64 {
        self.app.sandbox.calls("int-api", &format!("POST /v1/orders/{operation}"))
    }

    /// How often int-api was called at all.
    fn all_calls(&self) -> u64 {
        ["estimate", "draft", "commit", "search", "info", "edit", "cancel"]
            .map(|operation| self.calls(operation))
            .iter()
            .sum()
    }

    /// The last request that an operation of int-api got.
    #[track_caller]
    fn sent(&self, operation: &str) -> (HeaderMap, String) {
        let (headers, body) =
            self.app.sandbox.last_request("int-api", operation).expect("it was called");
        (headers, String::from_utf8(body.to_vec()).expect("text"))
    }

    /// The body of it.
    #[track_caller]
    fn sent_json(&self, operation: &str) -> Value {
        serde_json::from_str(&self.sent(operation).1).expect("JSON")
    }

    /// The only order that int-api has for [`PARK`].
    #[track_caller]
    fn the_order(&self) -> KeptOrder {
        the_order(&self.app.sandbox)
    }

    async fn orders_total(&self, step: &str, outcome: &str) -> u64 {
        let labels = format!("outcome=\"{outcome}\",step=\"{step}\"");
        self.app.count(&format!("fleet_orders_manager_orders_total{{{labels}}}")).await
    }

    async fn customers_total(&self, outcome: &str) -> u64 {
        self.app.count(&customers_total(outcome)).await
    }

    /// Waits until so many ended like this, and none is left.
    async fn customers_ended(&self, outcome: &str, count: u64) {
        self.app.counted(&customers_total(outcome), count).await;
        self.nobody_waits().await;
    }

    async fn customers_waiting(&self) -> u64 {
        self.app.count("fleet_orders_manager_customers_waiting").await
    }

    async fn nobody_waits(&self) {
        eventually("nobody waits", async || self.customers_waiting().await == 0).await;
    }
}

fn customers_total(outcome: &str) -> String {
    format!("fleet_orders_manager_customers_total{{outcome=\"{outcome}\"}}")
}

/// fleet-customers alone, as a process of its own that can go and come back.
struct CustomersProcess {
    database: TestDatabase,
    addr: SocketAddr,
    server: Option<Server>,
}

impl CustomersProcess {
    /// Has its place; does not run yet.
    fn make() -> Self {
        let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
        Self { database: TestDatabase::create(), addr, server: None }
    }

    /// What its neighbour must know of it.
    fn as_upstream(&self) -> String {
        let addr = self.addr;
        format!(
            "[upstreams.fleet_customers]\nbase_url = 'http://{addr}'\ntoken = 'test-internal'\n"
        )
    }

    async fn start(&mut self, sandbox: &Sandbox) {
        let config = configuration(&self.database.url(), sandbox);
        let server = Server::spawn_at(self.addr, &config, &[("FLEET__DOMAINS", CUSTOMERS)]);
        self.server.insert(server).wait_for("readyz", 200).await;
    }

    fn dispatcher(&self) -> Caller {
        dispatcher(&Caller::anonymous(format!("http://{}", self.addr)), CUSTOMERS)
    }
}

/// A dispatcher of [`PARK`], below the routes of a domain.
fn dispatcher(root: &Caller, domain: &str) -> Caller {
    root.dispatcher(domain, PARK)
}

async fn commit(dispatcher: &Caller, id: &str) -> Reply {
    dispatcher.post("orders/commit", json!({"order_id": id})).await
}

async fn post_text(caller: &Caller, path: &str, body: impl Into<String>) -> Reply {
    caller.send(Method::POST, path, Some(body.into())).await
}

/// What a form holds when it is filled in.
fn trip() -> Value {
    json!({
        "phone": TYPED,
        "route": [
            {"lat": 55.75, "lon": 37.61, "address": "Тверская, 7"},
            {"lat": 55.97, "lon": 37.41, "address": "Шереметьево"},
        ],
        "classes": ["econom", "business"],
        "requirements": {"child_seat": 2},
        "comment": "У второго подъезда",
        "payment": {"type": "cash"},
    })
}

#[track_caller]
fn order_id(answer: &Value) -> String {
    answer["order_id"].as_str().expect("an id").to_owned()
}

#[track_caller]
fn the_order(sandbox: &Sandbox) -> KeptOrder {
    let mut orders = sandbox.orders(PARK);
    assert_eq!(orders.len(), 1, "one order");
    orders.remove(0)
}

/// The customer with [`PHONE`], once fleet-customers knows one with an order.
async fn customer(dispatcher: &Caller) -> Value {
    let found = RefCell::new(Value::Null);
    eventually("the customer is recorded", async || {
        let reply = dispatcher.post("customers/find-by-phone", json!({"phone": PHONE})).await;
        if reply.status == 200 {
            found.replace(reply.json());
        }
        reply.status == 200
    })
    .await;
    found.into_inner()
}

/// An answer that tells the caller to come back: 503 or 504 with `Retry-After`, in whole seconds.
#[track_caller]
fn come_back(reply: &Reply) -> u64 {
    assert!(matches!(reply.status, 503 | 504), "{}: {}", reply.status, reply.text());
    reply.header("retry-after").parse().expect("Retry-After in seconds")
}

/// The same problem but for the trace it happened in.
fn without_trace(mut problem: Value) -> Value {
    problem.as_object_mut().expect("a problem").remove("trace_id");
    problem
}
