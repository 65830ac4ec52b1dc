//! Without a cache and without the services, the domain does not become ready.

use fleet::domains::deptrans_driver_status_integration::NAME;
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::eventually;

/// The domain's row of `/readyz`.
async fn row(app: &TestApp) -> Value {
    let readiness = app.anonymous().get("readyz").await.json();
    let rows = readiness["domains"].as_array().unwrap();
    rows.iter().find(|row| row["name"] == NAME).cloned().unwrap()
}

#[actix_web::test]
async fn the_domain_waits_for_the_services_that_fill_its_caches() {
    for (stand_in, code) in [
        ("driver-profiles", "driver_profiles_unavailable"),
        ("driver-categories-api", "driver_categories_unavailable"),
    ] {
        let slow = "[upstreams.driver_profiles]\nbreaker_open_ms = 100\n\
                    [upstreams.driver_categories]\nbreaker_open_ms = 100\n";
        let sandbox = crate::support::app::start_sandbox();
        sandbox.set_fault(stand_in, json!({"kind": "close"})).unwrap();
        let app = TestApp::builder()
            .sandbox(sandbox)
            .domains(&[NAME])
            .config(slow)
            .without_waiting()
            .start()
            .await;
        eventually("it says what it waits for", async || row(&app).await["reason"] == code).await;
        assert_eq!(app.anonymous().get("readyz").await.status, 503);
        app.sandbox.clear_fault(stand_in);
        app.ready().await;
    }
}

#[actix_web::test]
async fn the_domain_waits_for_services_that_name_somebody() {
    let sandbox = crate::support::app::start_sandbox();
    sandbox.set_drivers(0).unwrap();
    let builder = TestApp::builder().sandbox(sandbox).domains(&[NAME]).without_waiting();
    let app = builder.start().await;
    eventually("it says what it waits for", async || {
        row(&app).await["reason"] == "driver_profiles_empty"
    })
    .await;
    assert_eq!(app.anonymous().get("readyz").await.status, 503);
    app.sandbox.set_drivers(1).unwrap();
    app.ready().await;
}

#[actix_web::test]
async fn where_there_is_no_driver_yet_that_may_be_said() {
    let sandbox = crate::support::app::start_sandbox();
    sandbox.set_drivers(0).unwrap();
    let believed = "[deptrans_driver_status_integration.directory]\nleast_share = 0.0\n";
    TestApp::builder().sandbox(sandbox).domains(&[NAME]).config(believed).start().await;
}

#[actix_web::test]
async fn trouble_of_the_services_shows_in_readiness_and_leaves_the_domain_ready() {
    let app = TestApp::builder()
        .domains(&[NAME])
        .config("[upstreams.driver_profiles]\nbreaker_failures = 2\nattempts = 1\n")
        .start()
        .await;
    app.fault("driver-profiles", json!({"kind": "close"}));
    eventually("its row tells", async || {
        let readiness = app.anonymous().get("readyz").await;
        let body = readiness.json();
        let rows = body["dependencies"].as_array().unwrap();
        let row = rows.iter().find(|row| row["name"] == "driver-profiles").unwrap();
        readiness.status == 200 && row["reason"] == "breaker_open"
    })
    .await;
    assert_eq!(row(&app).await["status"], "ok");
    app.sandbox.clear_fault("driver-profiles");
    app.ready().await;
}

#[actix_web::test]
async fn a_service_that_names_too_little_shows_in_readiness_and_leaves_the_domain_ready() {
    let app = TestApp::builder()
        .domains(&[NAME])
        .config("[deptrans_driver_status_integration.directory]\nrefresh_ms = 20\n")
        .start()
        .await;
    app.sandbox.set_drivers(1).unwrap();
    for name in ["driver-profiles", "driver-categories-api"] {
        eventually("its row tells", async || {
            let readiness = app.anonymous().get("readyz").await;
            let body = readiness.json();
            let rows = body["dependencies"].as_array().unwrap();
            let row = rows.iter().find(|row| row["name"] == name).unwrap();
            readiness.status == 200 && row["reason"] == "shrunken"
        })
        .await;
    }
    assert_eq!(row(&app).await["status"], "ok");
}
