//! Mailings and their templates: a file for each rule.

mod bad_input;
mod cancelling;
mod filters;
mod history;
mod instances;
mod isolation;
mod metrics;
mod ordering;
mod outages;
mod placeholders;
mod privacy;
mod races;
mod retention;
mod sending;
mod templates;
mod watch;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::client::Caller;
use crate::support::eventually;

const DOMAIN: &str = "fleet-communications";
const PARK: &str = "park-1";
const OTHER_PARK: &str = "park-2";
/// An id that nothing has.
const NOBODYS: &str = "00000000-0000-7000-8000-000000000000";
/// Short pauses; upstreams whose faults are met one by one, and whose breakers never open.
const USUAL: &str = "[tasks]\npoll_ms = 50\nbackoff_base_ms = 20\nbackoff_max_ms = 200\n\
     [upstreams.parks]\nattempts = 1\nbreaker_failures = 1000000\n\
     [upstreams.feeds]\nattempts = 1\nbreaker_failures = 1000000\n";

/// A server with this domain, and dispatchers of two parks.
struct Office {
    app: TestApp,
    /// One of [`PARK`].
    dispatcher: Caller,
    /// One of [`OTHER_PARK`].
    stranger: Caller,
}

impl Office {
    /// [`PARK`] has so many drivers.
    async fn of_drivers(count: usize) -> Self {
        Self::with(count, "").await
    }

    /// The same, different in this TOML.
    async fn with(count: usize, config: &str) -> Self {
        let builder = TestApp::builder().domains(&[DOMAIN]).config(USUAL).config(config);
        let office = Self::of(builder.start().await);
        office.app.sandbox.set_park(PARK, json!({"drivers": count})).unwrap();
        office
    }

    fn of(app: TestApp) -> Self {
        let dispatcher = app.dispatcher(DOMAIN, PARK);
        let stranger = app.dispatcher(DOMAIN, OTHER_PARK);
        Self { app, dispatcher, stranger }
    }

    /// Orders a mailing of [`PARK`] to everybody; its id.
    async fn order(&self, message: &str) -> String {
        self.order_to(message, json!({})).await
    }

    async fn order_to(&self, message: &str, filter: Value) -> String {
        let ordered =
            self.dispatcher.post("mailings", json!({"message": message, "filter": filter})).await;
        id_of(&ordered.expect(202), "mailing_id")
    }

    async fn mailing(&self, id: &str) -> Value {
        mailing(&self.dispatcher, id).await
    }

    /// The mailing, once it has this status.
    async fn becomes(&self, id: &str, status: &str) -> Value {
        becomes(&self.dispatcher, id, status).await
    }

    /// The mailing, once this holds.
    async fn until(&self, id: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        eventually(what, async || holds(&self.mailing(id).await)).await;
        self.mailing(id).await
    }

    async fn cancel(&self, id: &str) -> Value {
        self.dispatcher.post(&format!("mailings/{id}/cancel"), json!({})).await.expect(200)
    }

    /// What a cancellation came to in the end.
    async fn cancelled(&self, id: &str) -> Value {
        eventually("nothing is pending", async || self.cancel(id).await["outcome"]["pending"] == 0)
            .await;
        self.cancel(id).await["outcome"].clone()
    }

    /// Who of [`PARK`] got how many messages so far.
    fn delivered(&self) -> BTreeMap<String, u64> {
        self.app.sandbox.delivered(PARK)
    }

    /// Exactly these drivers of [`PARK`] got one message each, and nobody got anything twice.
    #[track_caller]
    fn assert_reached(&self, ids: impl IntoIterator<Item = String>) {
        let expected: BTreeMap<String, u64> = ids.into_iter().map(|id| (channel(&id), 1)).collect();
        let delivered = self.delivered();
        let missing = expected.keys().filter(|channel| !delivered.contains_key(*channel)).count();
        let (reached, meant) = (delivered.len(), expected.len());
        assert!(delivered == expected, "{reached} reached, {meant} meant, {missing} missing");
        let counts = self.app.sandbox.delivered_counts(None);
        assert_eq!((counts.doubled, counts.mismatches), (0, 0));
    }

    /// Feeds answers the first chunk; the next is under way until its faults are cleared.
    fn hold_from_the_second_chunk(&self) {
        let pass = json!({"kind": "delay", "ms": 1, "times": 1, "route": "/create"});
        self.app.fault("feeds", json!([pass, {"kind": "hold", "route": "/create"}]));
    }

    /// Waits until one has it and the second is under way; the mailing by then.
    async fn until_the_second_chunk(&self, id: &str) -> Value {
        self.until(id, "the second chunk is under way", |mailing| {
            number(&mailing["recipients"]["sent"]) > 0 && self.feeds_calls("create") > 1
        })
        .await
    }

    fn feeds_calls(&self, route: &str) -> u64 {
        self.app.sandbox.calls("feeds", &format!("POST /v1/feeds/{route}"))
    }

    async fn tasks(&self) -> i64 {
        let sql = "SELECT count(*) FROM task_queue.tasks WHERE queue = 'mailings'";
        self.app.database().count(sql).await
    }

    /// Lets what waits for its next attempt have only so many.
    async fn limit_attempts(&self, attempts: i16) {
        let sql = format!(
            "UPDATE task_queue.tasks SET max_attempts = {attempts} WHERE queue = 'mailings'"
        );
        self.app.database().execute(&sql).await;
    }
}

async fn mailing(dispatcher: &Caller, id: &str) -> Value {
    dispatcher.get(&format!("mailings/{id}")).await.expect(200)
}

async fn becomes(dispatcher: &Caller, id: &str, status: &str) -> Value {
    eventually(&format!("the mailing is {status}"), async || {
        mailing(dispatcher, id).await["status"] == status
    })
    .await;
    mailing(dispatcher, id).await
}

fn channel(contractor: &str) -> String {
    format!("contractor:{PARK}:{contractor}")
}

#[track_caller]
fn id_of(answer: &Value, name: &str) -> String {
    answer[name].as_str().unwrap_or_else(|| panic!("no {name}: {answer}")).to_owned()
}

/// The counts of a mailing.
fn recipients(selected: usize, sent: usize, failed: usize) -> Value {
    json!({"selected": selected, "sent": sent, "failed": failed, "skipped": 0, "recalled": 0})
}

#[track_caller]
fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("no number: {value}"))
}

/// The sum of all counts of an object.
#[track_caller]
fn sum(counts: &Value) -> u64 {
    counts.as_object().expect("counts").values().map(number).sum()
}

/// All drivers of [`PARK`], in the order that parks lists them in.
fn ids(office: &Office) -> Vec<String> {
    office.app.sandbox.driver_ids(PARK)
}
