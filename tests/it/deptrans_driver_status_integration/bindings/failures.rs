//! What an id is checked by is away: nothing is stored.

use super::*;
use crate::support::database::TestDatabase;
use crate::support::proxy::{Mode, Proxy, host_and_port};

const QUICK: &str = "[upstreams.krt]\ntimeout_ms = 1000\n[upstreams.personal]\ntimeout_ms = 1000\n";

#[actix_web::test]
async fn while_the_regulator_is_away_nothing_is_stored() {
    let world = World::with(QUICK).await;
    let driver = world.driver(0);
    for fault in [
        json!({"kind": "status", "status": 500}),
        json!({"kind": "status", "status": 503, "retry_after": 1}),
        json!({"kind": "status", "status": 429, "retry_after": 1}),
        json!({"kind": "answer", "status": 404, "body": {}}),
        json!({"kind": "garbage"}),
        json!({"kind": "truncate"}),
        json!({"kind": "close"}),
        json!({"kind": "hang"}),
        json!({"kind": "answer", "status": 200, "body": {"matches": true}}),
    ] {
        // The token's route is well.
        let mut of_check = fault.clone();
        of_check["route"] = json!("/drivers/check");
        world.app.fault("krt", of_check);
        let refused = driver.give(&driver.license.krt_id).await;
        let problem = refused.problem(503, "krt_unavailable");
        assert!(!refused.header("retry-after").is_empty(), "{fault}: {problem}");
        assert_eq!(world.bindings().await, 0, "{fault}");
        assert_eq!(driver.presence().await, json!({"has_id": false}));
    }
    world.app.sandbox.clear_fault("krt");
    eventually("it is bound", async || driver.give(&driver.license.krt_id).await.status == 200)
        .await;
}

#[actix_web::test]
async fn without_a_token_nothing_is_stored() {
    let world = World::with("[deptrans_driver_status_integration.krt]\npassword = 'wrong'\n").await;
    let driver = world.driver(0);
    driver.give(&driver.license.krt_id).await.problem(503, "krt_unavailable");
    assert_eq!((world.bindings().await, world.outcomes("unavailable").await), (0, 1));
}

#[actix_web::test]
async fn a_token_that_was_revoked_is_replaced() {
    let world = World::start().await;
    world.driver(0).binds().await;
    world.app.sandbox.revoke_krt_tokens();
    let other = world.driver(1);
    // One that was given a moment ago is not replaced at once.
    eventually("there is a new one", async || {
        let reply = other.give(&other.license.krt_id).await;
        if reply.status != 200 {
            reply.problem(503, "krt_unavailable");
        }
        reply.status == 200
    })
    .await;
    assert_eq!(world.bindings().await, 2);
}

#[actix_web::test]
async fn while_personal_is_away_nothing_is_stored() {
    let world = World::with(QUICK).await;
    let driver = world.driver(0);
    for fault in [json!({"kind": "status", "status": 500}), json!({"kind": "hang"})] {
        world.app.fault("personal", fault);
        driver.give(&driver.license.krt_id).await.problem(503, "personal_unavailable");
        assert_eq!((world.bindings().await, world.checks()), (0, 0));
    }
    world.app.sandbox.clear_fault("personal");
    eventually("it is bound", async || driver.give(&driver.license.krt_id).await.status == 200)
        .await;
}

#[actix_web::test]
async fn without_a_database_all_three_routes_say_so() {
    let database = TestDatabase::create();
    let proxy = Proxy::start(host_and_port(&database.url()).1);
    let config = format!("[database]\nurl = '{}'\n", proxy.in_front_of(&database.url()));
    let builder = TestApp::builder().domains(&[DOMAIN]).config(config).database(database);
    let app = builder.start().await;
    let driver = Person::of(&app, app.sandbox.driver(0));
    driver.binds().await;
    proxy.set(Mode::Close);
    driver.caller.get(ID).await.problem(503, "database_unavailable");
    driver.give("another-id").await.problem(503, "database_unavailable");
    let removed = app.internal(DOMAIN).delete(&format!("id/{}", driver.license.pd_id)).await;
    removed.problem(503, "database_unavailable");
    proxy.set(Mode::Pass);
    eventually("it is known again", async || driver.caller.get(ID).await.status == 200).await;
    assert_eq!(driver.presence().await, shown(&driver.license.krt_id));
}
