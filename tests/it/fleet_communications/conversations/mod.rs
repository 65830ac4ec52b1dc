//! Conversations of parks and drivers, and their event streams.

mod concurrency;
mod failures;
mod idempotency;
mod isolation;
mod lists;
mod messages;
mod push;
mod read_marks;
mod resuming;
mod retention;
mod streams;
mod streams_failures;

use serde_json::{Value, json};

use super::{DOMAIN, OTHER_PARK, PARK};
use crate::support::app::TestApp;
use crate::support::client::Caller;
use crate::support::sse::Events;

const EVENTS: &str = "conversations/events";

/// The server, and callers of this domain.
struct World {
    app: TestApp,
    /// A dispatcher of [`PARK`].
    dispatcher: Caller,
    /// One of [`OTHER_PARK`].
    stranger: Caller,
}

impl World {
    async fn start() -> Self {
        Self::of(TestApp::builder().domains(&[DOMAIN]).start().await)
    }

    /// A server that differs from the usual one in this TOML.
    async fn with(config: &str) -> Self {
        Self::of(TestApp::builder().domains(&[DOMAIN]).config(config).start().await)
    }

    fn of(app: TestApp) -> Self {
        let dispatcher = app.dispatcher(DOMAIN, PARK);
        let stranger = app.dispatcher(DOMAIN, OTHER_PARK);
        Self { app, dispatcher, stranger }
    }

    fn driver(&self, id: &str) -> Caller {
        self.app.driver(DOMAIN, PARK, id)
    }

    /// A driver of the park, as parks has him.
    fn known_driver(&self, number: usize) -> String {
        self.app.sandbox.driver_ids(PARK)[number].clone()
    }

    /// A message of a driver of the park.
    async fn to_park(&self, driver: &str, text: &str) -> Value {
        write(&self.driver(driver), text).await
    }

    /// A message of the dispatcher.
    async fn to_driver(&self, driver: &str, text: &str) -> Value {
        let path = messages_of(driver);
        self.dispatcher.post(&path, json!({ "text": text })).await.expect(201)
    }

    /// An open stream of the park's events.
    async fn events(&self) -> Events {
        Events::open(&self.dispatcher, EVENTS).await
    }

    /// The park's conversation with a driver, as the list has it.
    async fn conversation(&self, driver: &str) -> Value {
        let list = self.dispatcher.get("conversations?limit=1000").await.expect(200);
        let items = list["items"].as_array().expect("items");
        let found = items.iter().find(|item| item["contractor_id"] == driver);
        found.unwrap_or_else(|| panic!("no {driver} in {list}")).clone()
    }
}

/// A message of the driver that `driver` is.
async fn write(driver: &Caller, text: &str) -> Value {
    driver.post("conversation/messages", json!({ "text": text })).await.expect(201)
}

fn messages_of(driver: &str) -> String {
    format!("conversations/{driver}/messages")
}

fn up_to(message: &Value) -> Value {
    json!({ "up_to_message_id": message["id"] })
}

/// The texts in a list of messages, in its order.
fn texts(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().expect("items");
    items.iter().map(|item| item["text"].as_str().expect("a text").to_owned()).collect()
}

/// The drivers in a list of conversations, in its order.
fn drivers(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().expect("items");
    items.iter().map(|item| item["contractor_id"].as_str().expect("an id").to_owned()).collect()
}

fn message_event(driver: &str, message: &Value) -> Value {
    json!({ "contractor_id": driver, "message": message })
}
