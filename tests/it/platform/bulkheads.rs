//! One domain in trouble: its own callers wait or are refused, its neighbours answer.

use std::pin::pin;

use futures_util::future::{Either, join, join_all, select};
use serde_json::json;

use super::{DOMAIN, PARK, passenger};
use crate::support::app::TestApp;
use crate::support::client::{Caller, Reply};
use crate::support::eventually;

const COMMUNICATIONS: &str = "fleet-communications";
const DEPTRANS: &str = "deptrans-driver-status-integration";
const SCOOTERS: &str = "scooter-accumulator";
/// A table without which the domain's call cannot be answered.
const TABLES: [(&str, &str); 4] = [
    (DOMAIN, "fleet_customers.customers"),
    (COMMUNICATIONS, "fleet_communications.mailing_templates"),
    (DEPTRANS, "deptrans.profiles"),
    (SCOOTERS, "scooter_accumulator.cabinets"),
];
/// Nothing times out that waits for a lock or a connection: who answers was let through.
const PATIENT: &str = "[http]\ndefault_timeout_ms = 60000\nmax_timeout_ms = 60000\n\
     [database]\npool_size = 16\nacquire_timeout_ms = 60000\nstatement_timeout_ms = 60000\n\
     lock_timeout_ms = 60000\nlane_statement_timeout_ms = 60000\nlane_lock_timeout_ms = 60000\n";
const CALLERS: usize = 100;
/// Half of the pool.
const SHARE: u64 = 8;

/// A call that takes a pooled connection.
async fn pooled(app: &TestApp, domain: &str) -> Reply {
    match domain {
        DOMAIN => app.dispatcher(DOMAIN, PARK).get("customers").await,
        COMMUNICATIONS => app.dispatcher(domain, PARK).get("mailing-templates").await,
        DEPTRANS => {
            let driver = app.sandbox.driver(0);
            let caller = app.driver(domain, &driver.park_id, &driver.driver_id);
            caller.get("deptrans-status/v1/id").await
        }
        _ => app.internal(domain).get("cabinets").await,
    }
}

/// A call that goes down a lane, where the domain has one.
async fn on_a_lane(app: &TestApp, domain: &str) -> Option<Reply> {
    match domain {
        DOMAIN => {
            let key = json!({"park_id": PARK, "personal_phone_id": passenger(1)});
            let body = json!({"customers": [key]});
            Some(app.internal(DOMAIN).post("customers/retrieve", body).await)
        }
        DEPTRANS => {
            let driver = app.sandbox.driver(0);
            let key = json!({"park_id": driver.park_id, "driver_id": driver.driver_id});
            let body = json!({"drivers": [key]});
            Some(app.internal(DEPTRANS).post("drivers/check", body).await)
        }
        _ => None,
    }
}

#[actix_web::test]
async fn locked_tables_of_one_domain_leave_connections_to_the_others() {
    let app = TestApp::builder().config(PATIENT).start().await;
    for (victim, table) in TABLES {
        let mut other = app.database().connect().await;
        let lock = other.transaction().await.unwrap();
        lock.batch_execute(&format!("LOCK TABLE {table}")).await.unwrap();
        let blocked = join_all((0..CALLERS).map(async |number| {
            // Enough on lanes that every worker's waits.
            let on_a_lane = if number % 4 == 0 { on_a_lane(&app, victim).await } else { None };
            match on_a_lane {
                Some(reply) => reply,
                None => pooled(&app, victim).await,
            }
        }));
        let meanwhile = async {
            let series = |what: &str| format!("database_share_{what}{{user=\"{victim}\"}}");
            eventually("its share is full and many wait for more", async || {
                app.count(&series("in_use")).await == SHARE
                    && app.count(&series("waiting")).await >= SHARE
                    && app.count(&in_flight(victim)).await == CALLERS as u64
            })
            .await;
            for (neighbour, _) in TABLES.iter().filter(|(domain, _)| *domain != victim) {
                // More than one at a time, on every worker.
                for reply in join_all((0..16).map(|_| pooled(&app, neighbour))).await {
                    reply.expect(200);
                }
                for reply in join_all((0..16).map(|_| on_a_lane(&app, neighbour))).await {
                    reply.map(|reply| reply.expect(200));
                }
            }
            app.ready().await;
            assert_eq!(app.count(&in_flight(victim)).await, CALLERS as u64, "they all still wait");
            lock.rollback().await.unwrap();
        };
        let (blocked, ()) = join(blocked, meanwhile).await;
        for reply in blocked {
            reply.expect(200);
        }
        eventually("its share is free", async || {
            app.count(&format!("database_share_waiting{{user=\"{victim}\"}}")).await == 0
        })
        .await;
    }
}

fn in_flight(domain: &str) -> String {
    format!("http_domain_requests_in_flight{{domain=\"{domain}\"}}")
}

#[actix_web::test]
async fn requests_that_wait_for_one_domains_upstream_leave_places_to_the_others() {
    let config = "[http]\nmax_in_flight = 6\nmax_in_flight_per_domain = 3\n\
         [upstreams.personal]\ntimeout_ms = 60000\n";
    let app = TestApp::builder().config(config).start().await;
    app.fault("personal", json!({"kind": "hang"}));
    let patient = app.dispatcher(DOMAIN, PARK).header("X-Request-Timeout-Ms", "30000");
    let find = async |caller: &Caller| {
        caller.post("customers/find-by-phone", json!({"phone": "+79990000001"})).await
    };
    let waiting = join_all((0..3).map(|_| find(&patient)));
    let meanwhile = async {
        eventually("all three wait", async || app.count(&in_flight(DOMAIN)).await == 3).await;
        find(&patient).await.problem(503, "overloaded");
        pooled(&app, DOMAIN).await.problem(503, "overloaded");
        for neighbour in [COMMUNICATIONS, DEPTRANS, SCOOTERS] {
            for reply in join_all((0..2).map(|_| pooled(&app, neighbour))).await {
                reply.expect(200);
            }
        }
    };
    let Either::Right(_) = select(pin!(waiting), pin!(meanwhile)).await else {
        panic!("personal hangs, and somebody was answered");
    };
    assert_eq!(app.count("http_requests_shed_total").await, 2);
}

#[actix_web::test]
async fn a_domain_that_is_alone_may_have_everything() {
    let config = "[http]\nmax_in_flight = 6\nmax_in_flight_per_domain = 3\n\
         [upstreams.personal]\ntimeout_ms = 60000\n";
    let app = TestApp::builder().config(config).domains(&[DOMAIN]).start().await;
    app.fault("personal", json!({"kind": "hang"}));
    let dispatcher = app.dispatcher(DOMAIN, PARK).header("X-Request-Timeout-Ms", "30000");
    let find = || dispatcher.post("customers/find-by-phone", json!({"phone": "+79990000001"}));
    let waiting = join_all((0..6).map(|_| find()));
    let meanwhile = async {
        eventually("all six wait", async || app.count(&in_flight(DOMAIN)).await == 6).await;
    };
    let Either::Right(_) = select(pin!(waiting), pin!(meanwhile)).await else {
        panic!("personal hangs, and somebody was answered");
    };
}
