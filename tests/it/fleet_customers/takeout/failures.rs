//! `personal` is down or slow, workers are killed between the steps: in the end everything is erased and
//! counted once.

use std::time::Duration;

use fleet::sandbox::Sandbox;

use super::*;
use crate::support::app::{configuration, start_sandbox};
use crate::support::database::TestDatabase;
use crate::support::names_of_series;
use crate::support::process::Server;

/// `personal` is given up soon, and its breaker mends itself at once.
const QUICK: &str =
    "[upstreams.personal]\nattempts = 1\nbreaker_failures = 1000\nbreaker_open_ms = 100\n";

#[actix_web::test]
async fn while_personal_is_down_our_rows_are_gone_and_the_rest_follows() {
    let faults = [
        json!({"kind": "status", "status": 503}),
        json!({"kind": "close"}),
        json!({"kind": "close_after_work"}),
    ];
    our_rows_are_gone_and_the_rest_follows(QUICK, faults).await;
}

#[actix_web::test]
async fn while_personal_hangs_our_rows_are_gone_and_the_rest_follows() {
    let faults = [json!({"kind": "hang"}), json!({"kind": "hold_after_work"})];
    // Long enough for a busy machine while it does not hang.
    let config = format!("{QUICK}timeout_ms = 4000\n");
    our_rows_are_gone_and_the_rest_follows(&config, faults).await;
}

async fn our_rows_are_gone_and_the_rest_follows(
    config: &str,
    faults: impl IntoIterator<Item = Value>,
) {
    let customers = Customers::with(&format!("{config}{HASTY}")).await;
    let id = phone_id(1);
    customers.person(&id, NAME, &[PARK, OTHER_PARK]).await;
    for (number, fault) in faults.into_iter().enumerate() {
        let request_id = format!("request-{number}");
        if number > 0 {
            let mut order = new_order(PARK, &id);
            order["name"] = json!(NAME);
            customers.upsert(order).await;
        }
        customers.app.fault("personal", fault.clone());
        let before = customers.calls("names/delete");
        customers.erase(&request_id, &[&id]).await;
        eventually("it is tried again", async || customers.calls("names/delete") > before + 2)
            .await;
        assert!(!customers.is_known(PARK, &id).await, "{fault}");
        let receipt = customers.receipt(&request_id).await;
        assert_eq!(receipt["status"], "in_progress", "{fault}");
        assert_eq!(receipt.get("completed_at"), None);
        assert_eq!(customers.status(&id).await["status"], "delete_in_progress", "{fault}");
        let again = customers.erase(&request_id, &[&id]).await;
        assert_eq!(again["status"], "in_progress", "{fault}");
        customers.app.sandbox.clear_fault("personal");
        let receipt = customers.completed(&request_id).await;
        let counts = if number == 0 { [2, 4, 2, 6, 1] } else { [1, 0, 0, 0, 1] };
        assert_counts(&receipt, counts);
        assert_eq!(customers.status(&id).await["status"], "empty", "{fault}");
        assert!(!customers.personal_keeps("names", NAME).await, "{fault}");
    }
}

#[actix_web::test]
async fn an_order_placed_while_personal_is_down_is_not_erased_by_the_retry() {
    let customers = Customers::with(&format!("{QUICK}{HASTY}")).await;
    let id = phone_id(1);
    customers.person(&id, NAME, &[PARK]).await;
    let fault = json!({"kind": "status", "status": 503, "route": "/names/"});
    customers.app.fault("personal", fault);
    customers.erase("request-1", &[&id]).await;
    eventually("our rows are gone", async || !customers.is_known(PARK, &id).await).await;
    let keyed = customers.internal.header("Idempotency-Key", "fresh");
    let fresh = keyed.post("customers/upsert", new_order(PARK, &id));
    let fresh = fresh.await.expect(200);
    customers.app.sandbox.clear_fault("personal");
    assert_counts(&customers.completed("request-1").await, [1, 2, 1, 3, 1]);
    assert_eq!(customers.profile(&id).await["orders_count"], 1);
    assert_eq!(fresh["orders_count"], 1);
    assert_eq!(customers.status(&id).await["status"], "ready_to_delete");
}

#[actix_web::test]
async fn an_erasure_whose_task_is_lost_goes_on_when_it_is_asked_for_again() {
    let customers = Customers::with(&format!("{QUICK}{HASTY}")).await;
    let id = phone_id(1);
    customers.person(&id, NAME, &[PARK]).await;
    customers.app.fault("personal", json!({"kind": "status", "status": 503}));
    customers.erase("request-1", &[&id]).await;
    eventually("the names are left", async || customers.calls("names/delete") > 0).await;
    let database = customers.app.database();
    // Somebody discarded it: the fence of whoever runs it fails.
    eventually("the task is removed", async || {
        database.execute("DELETE FROM task_queue.tasks WHERE kind = 'fleet_customers.erase'").await;
        let tasks = "SELECT count(*) FROM task_queue.tasks WHERE kind = 'fleet_customers.erase'";
        database.count(tasks).await == 0
    })
    .await;
    customers.app.sandbox.clear_fault("personal");
    assert_eq!(customers.receipt("request-1").await["status"], "in_progress");
    customers.erase("request-1", &[&id]).await;
    assert_counts(&customers.completed("request-1").await, [1, 2, 1, 3, 1]);
}

#[actix_web::test]
async fn nothing_personal_stands_in_a_task() {
    let customers = Customers::with(&format!("{QUICK}{HASTY}")).await;
    let id = customers.order(PARK, PHONE).await;
    customers.person(&id, NAME, &[OTHER_PARK]).await;
    customers.app.fault("personal", json!({"kind": "status", "status": 503}));
    // Also where the caller's own id of the request is what it should not be.
    customers.erase(PHONE, &[&id]).await;
    let database = customers.app.database();
    let failed = "SELECT count(*) FROM task_queue.tasks \
         WHERE kind = 'fleet_customers.erase' AND error_code IS NOT NULL";
    eventually("it has failed", async || database.count(failed).await == 1).await;
    let task = "SELECT t::text FROM task_queue.tasks t WHERE kind = 'fleet_customers.erase'";
    let rows = database.query(task, &[]).await;
    let task: &str = rows[0].get(0);
    assert!(task.contains("erasure_no"), "{task}");
    let metrics = names_of_series(&customers.app.anonymous().get("metrics").await.text());
    for trace in [&id, PHONE, &PHONE[1..], NAME] {
        assert!(!task.contains(trace), "{trace} in {task}");
        assert!(!metrics.contains(trace), "{trace} in the metrics");
    }
    eventually("its age is shown", async || {
        let metrics = customers.app.anonymous().get("metrics").await.text();
        metrics.contains("fleet_customers_oldest_erasure_seconds")
    })
    .await;
}

/// Where a worker is held until it is killed.
#[derive(Debug, Clone, Copy)]
enum Held {
    /// By a lock that this statement takes.
    By(&'static str),
    /// By this fault of `personal`.
    At(&'static str),
}

/// A database, stand-ins, and processes that are killed.
struct World {
    database: TestDatabase,
    sandbox: Sandbox,
}

impl World {
    async fn serve(&self) -> Server {
        let config = configuration(&self.database.url(), &self.sandbox);
        let patience = [
            ("FLEET__DATABASE__LOCK_TIMEOUT_MS", "20000"),
            ("FLEET__DATABASE__STATEMENT_TIMEOUT_MS", "20000"),
        ];
        Server::start(&format!("{config}{HASTY}"), &patience).await
    }

    async fn count(&self, sql: &str) -> i64 {
        self.database.count(sql).await
    }
}

fn callers(server: &Server) -> (Caller, Caller, Caller) {
    let root = server.anonymous();
    (root.internal(DOMAIN), root.dispatcher(DOMAIN, PARK), root.takeout(DOMAIN))
}

#[actix_web::test]
async fn a_worker_may_be_killed_at_any_step() {
    let id = phone_id(1);
    for held in [
        Held::By("LOCK TABLE fleet_customers.tombstones IN ROW SHARE MODE"),
        Held::By("SELECT * FROM fleet_customers.customers FOR UPDATE"),
        Held::By("SELECT * FROM fleet_customers.favourite_locations FOR UPDATE"),
        Held::By("SELECT * FROM fleet_platform.idempotency_keys FOR UPDATE"),
        Held::At("hang"),
        Held::At("close_after_work"),
        Held::By("LOCK TABLE fleet_customers.erasure_subjects IN SHARE MODE"),
    ] {
        let world = World { database: TestDatabase::create(), sandbox: start_sandbox() };
        let first = world.serve().await;
        let (internal, dispatcher, takeout) = callers(&first);
        let mut order = old_order(PARK, &id);
        order["name"] = json!(NAME);
        let keyed = internal.header("Idempotency-Key", "k");
        keyed.post("customers/upsert", order).await.expect(200);
        let locations = format!("customers/{id}/favourite-locations");
        dispatcher.post(&locations, location()).await.expect(201);

        // The request itself writes to the last one's table: it comes first, and waits for personal.
        let fault = |kind: &str| json!({"kind": kind, "route": "/names/delete"});
        let mut holder = world.database.connect().await;
        let hold = holder.transaction().await.unwrap();
        match held {
            Held::By(sql) if sql.contains("erasure_subjects") => {
                let down = json!({"kind": "status", "status": 503, "route": "/names/delete"});
                world.sandbox.set_fault("personal", down).unwrap();
                takeout.post("delete", request("r", &[&id])).await.expect(202);
                hold.batch_execute(sql).await.unwrap();
                world.sandbox.clear_fault("personal");
            }
            Held::By(sql) => {
                hold.batch_execute(sql).await.unwrap();
                takeout.post("delete", request("r", &[&id])).await.expect(202);
            }
            Held::At(kind) => {
                world.sandbox.set_fault("personal", fault(kind)).unwrap();
                takeout.post("delete", request("r", &[&id])).await.expect(202);
            }
        }
        eventually("the worker is held", async || match held {
            Held::By(_) => {
                let waiting = "SELECT count(*) FROM pg_stat_activity \
                     WHERE datname = current_database() AND wait_event_type = 'Lock'";
                world.count(waiting).await > 0
            }
            Held::At(_) => world.sandbox.calls("personal", "POST /v1/names/delete") > 0,
        })
        .await;
        first.signal("KILL");
        drop(first);
        hold.rollback().await.unwrap();
        world.sandbox.clear_fault("personal");

        let second = world.serve().await;
        let (_, _, takeout) = callers(&second);
        let receipt = async || takeout.get("receipts/r").await.expect(200);
        eventually("the other completes it", async || receipt().await["status"] == "completed")
            .await;
        assert_counts(&receipt().await, [1, 1, 0, 1, 1]);
        let status = takeout.post("status", persons(&[&id])).await.expect(200);
        assert_eq!(status["status"], "empty", "{held:?}");
        let left = "SELECT (SELECT count(*) FROM fleet_customers.erasure_subjects) \
             + (SELECT count(*) FROM fleet_customers.erasure_names)";
        assert_eq!(world.count(left).await, 0, "{held:?}");
    }
}

#[actix_web::test]
async fn a_process_that_stops_hands_its_erasure_back() {
    let customers = Customers::with(&format!("{HASTY}stop_ms = 100\n")).await;
    let id = phone_id(1);
    customers.person(&id, NAME, &[PARK]).await;
    let hang = json!({"kind": "hang", "route": "/names/delete"});
    customers.app.fault("personal", hang);
    customers.erase("request-1", &[&id]).await;
    eventually("personal is asked", async || customers.calls("names/delete") > 0).await;
    let started = std::time::Instant::now();
    customers.app.sandbox.clear_fault("personal");
    let customers = Customers::of(customers.app.restarted().await);
    assert_counts(&customers.completed("request-1").await, [1, 2, 1, 3, 1]);
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
}
