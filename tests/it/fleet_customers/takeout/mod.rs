//! Erasure of persons: status, delete, receipts, tombstones, and what happens when things break.

mod concurrency;
mod delete;
mod failures;
mod schema;
mod status;
mod tombstones;

use super::*;
use crate::support::eventually;

/// Failed attempts are repeated soon, and a killed worker's task is soon another's.
const HASTY: &str =
    "[tasks]\nlease_ms = 1000\npoll_ms = 100\nbackoff_base_ms = 20\nbackoff_max_ms = 100\n";
const NAME: &str = "Аполлинария Ржевская";

/// The data-subject service.
fn takeout(app: &TestApp) -> Caller {
    app.anonymous().takeout(DOMAIN)
}

fn persons(ids: &[&str]) -> Value {
    json!({"personal_phone_ids": ids})
}

fn request(id: &str, ids: &[&str]) -> Value {
    json!({"request_id": id, "personal_phone_ids": ids})
}

/// An order of long ago.
fn old_order(park: &str, id: &str) -> Value {
    json!({"park_id": park, "personal_phone_id": id, "ordered_at": "2026-05-01T12:00:00Z"})
}

/// An order placed now.
fn new_order(park: &str, id: &str) -> Value {
    json!({"park_id": park, "personal_phone_id": id, "ordered_at": Timestamp::now().to_string()})
}

fn location() -> Value {
    json!({"label": "Дом", "address": "Лесная, 5", "lat": 55.75, "lon": 37.5})
}

fn route() -> Value {
    let point = json!({"lat": 55.75, "lon": 37.5, "address": "Лесная, 5"});
    json!({"label": "На работу", "points": [point.clone(), point]})
}

/// The count of a category, table or system.
fn count_of(list: &Value, name: &str) -> i64 {
    let found = list.as_array().unwrap().iter().find(|entry| entry["name"] == name);
    let found = found.unwrap_or_else(|| panic!("no {name} in {list}"));
    found.get("count").or(found.get("rows")).and_then(Value::as_i64).unwrap()
}

impl Customers {
    /// A person with everything there can be: in each park a profile with a name and options, two
    /// locations, a route, and answers under three keys.
    async fn person(&self, id: &str, name: &str, parks: &[&str]) {
        for park in parks {
            let mut order = old_order(park, id);
            order["name"] = json!(name);
            order["order_options"] = options();
            let key = |what: &str| format!("{what}-{park}-{id}");
            let keyed = self.internal.header("Idempotency-Key", &key("order"));
            keyed.post("customers/upsert", order).await.expect(200);
            let dispatcher = self.app.dispatcher(DOMAIN, park);
            let keyed = |what: &str| dispatcher.header("Idempotency-Key", &key(what));
            let locations = format!("customers/{id}/favourite-locations");
            keyed("location").post(&locations, location()).await.expect(201);
            dispatcher.post(&locations, location()).await.expect(201);
            let routes = format!("customers/{id}/recurring-routes");
            keyed("route").post(&routes, route()).await.expect(201);
        }
    }

    async fn status(&self, id: &str) -> Value {
        takeout(&self.app).post("status", persons(&[id])).await.expect(200)
    }

    /// Asks for an erasure.
    async fn erase(&self, request_id: &str, ids: &[&str]) -> Value {
        takeout(&self.app).post("delete", request(request_id, ids)).await.expect(202)
    }

    async fn receipt(&self, request_id: &str) -> Value {
        takeout(&self.app).get(&format!("receipts/{request_id}")).await.expect(200)
    }

    /// Waits until an erasure is completed; its receipt.
    async fn completed(&self, request_id: &str) -> Value {
        eventually("the erasure is completed", async || {
            self.receipt(request_id).await["status"] == "completed"
        })
        .await;
        self.receipt(request_id).await
    }

    /// Whether a park still has the person.
    async fn is_known(&self, park: &str, id: &str) -> bool {
        let reply = self.app.dispatcher(DOMAIN, park).get(&format!("customers/{id}")).await;
        assert!([200, 404].contains(&reply.status), "{}", reply.text());
        reply.status == 200
    }

    /// Whether `personal` keeps this value.
    async fn personal_keeps(&self, kind: &str, value: &str) -> bool {
        let personal = Caller::anonymous(self.app.sandbox.base_url("personal")).token("test-fleet");
        let reply = personal.post(&format!("v1/{kind}/find"), json!({"value": value})).await;
        assert!([200, 404].contains(&reply.status), "{}", reply.text());
        reply.status == 200
    }
}

/// Asserts what a receipt counts: customers, locations, routes, answers, names.
#[track_caller]
fn assert_counts(receipt: &Value, counts: [i64; 5]) {
    let tables = &receipt["tables"];
    let found = [
        count_of(tables, "fleet_customers.customers"),
        count_of(tables, "fleet_customers.favourite_locations"),
        count_of(tables, "fleet_customers.recurring_routes"),
        count_of(tables, "fleet_platform.idempotency_keys"),
        count_of(&receipt["systems"], "personal"),
    ];
    assert_eq!(found, counts, "{receipt}");
}
