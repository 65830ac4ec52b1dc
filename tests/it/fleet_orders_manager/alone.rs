//! The domain alone in a process needs no PostgreSQL anywhere.

use std::collections::BTreeSet;

use super::*;
use crate::support::app::{NO_DATABASE, start_sandbox};
use crate::support::proxy::{Proxy, host_and_port};

#[actix_web::test]
async fn it_serves_and_names_no_database() {
    let desk = Desk::start().await;
    desk.committed(trip()).await;
    let ready = desk.app.anonymous().get("readyz").await.expect(200);
    assert_eq!(ready["status"], "ready");
    let names = |rows: &Value| -> BTreeSet<String> {
        let rows = rows.as_array().expect("rows").iter();
        rows.map(|row| row["name"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(names(&ready["domains"]), [DOMAIN.to_owned()].into());
    let dependencies = ["fleet_parks", "int_api", "personal"].map(str::to_owned);
    assert_eq!(names(&ready["dependencies"]), dependencies.into());

    let metrics = desk.app.anonymous().get("metrics").await.text();
    assert!(metrics.contains("fleet_orders_manager_orders_total"), "{metrics}");
    assert!(!metrics.contains("database_"), "no pool was opened: {metrics}");
    let document = desk.app.anonymous().get("openapi.json").await.expect(200);
    for path in document["paths"].as_object().expect("paths").keys() {
        assert!(!path.contains(CUSTOMERS), "{path}");
    }
}

/// Also to a database that is there and configured.
#[actix_web::test]
async fn it_never_connects_to_the_database_of_its_configuration() {
    let sandbox = start_sandbox();
    let proxy = Proxy::start(host_and_port(NO_DATABASE).1);
    let config = configuration(&proxy.in_front_of(NO_DATABASE), &sandbox);
    let mut server = Server::start(&config, &[("FLEET__DOMAINS", DOMAIN)]).await;
    let dispatcher = dispatcher(&server.anonymous(), DOMAIN);
    let id = order_id(&dispatcher.post("orders/draft", trip()).await.expect(200));
    commit(&dispatcher, &id).await.expect(200);
    server.anonymous().get("readyz").await.expect(200);
    server.signal("TERM");
    let ended = server.wait(PATIENCE).await.expect("it ends");
    assert_eq!(ended.code(), Some(0), "{}", server.output());
    assert_eq!(proxy.accepted(), 0);
}
