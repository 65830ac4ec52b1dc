//! Who ordered is recorded in fleet-customers: beside the commit, once, sooner or later.

use std::net::TcpListener;

use super::*;
use crate::support::proxy::{Mode, Proxy, host_and_port};

/// Orders of all customers that are recorded.
const COUNTED: &str =
    "SELECT coalesce(sum(orders_count), 0)::bigint FROM fleet_customers.customers";

#[actix_web::test]
async fn a_customer_is_told_with_what_fills_in_the_next_order() {
    let desk = Desk::with_customers("").await;
    desk.committed(trip()).await;
    let customers = desk.app.dispatcher(CUSTOMERS, PARK);
    let recorded = customer(&customers).await;
    assert_eq!(recorded["orders_count"], 1);
    let options = json!({
        "classes": ["econom", "business"], "requirements": {"child_seat": 2},
        "comment": "У второго подъезда", "payment_type": "cash",
    });
    assert_eq!(recorded["order_options"], options);

    let mut second = trip();
    second["payment"] = json!("card");
    second["classes"] = json!(["comfort"]);
    second.as_object_mut().unwrap().remove("comment");
    desk.committed(second).await;
    eventually("the second is recorded", async || customer(&customers).await["orders_count"] == 2)
        .await;
    let recorded = customer(&customers).await;
    let options = &recorded["order_options"];
    assert_eq!(options["classes"], json!(["comfort"]));
    assert_eq!((&options["payment_type"], options.get("comment")), (&json!("card"), None));
}

#[actix_web::test]
async fn a_draft_makes_no_customer() {
    let mut desk = Desk::with_customers("").await;
    desk.drafted(trip()).await;
    desk.commit(NOBODYS).await.problem(404, "order_not_found");
    desk.app.stop();
    assert_eq!(desk.app.database().count(COUNTED).await, 0);
}

#[actix_web::test]
async fn nothing_is_recorded_where_it_is_switched_off() {
    let mut desk = Desk::with_customers("[fleet_orders_manager]\ncustomers = 'off'\n").await;
    let infos = desk.calls("info");
    desk.committed(trip()).await;
    desk.app.stop();
    assert_eq!(desk.app.database().count(COUNTED).await, 0);
    assert_eq!(desk.calls("info"), infos, "nothing is looked up for it");
}

#[actix_web::test]
async fn an_order_without_a_phone_has_no_customer() {
    let mut desk = Desk::with_customers("").await;
    let mut trip = trip();
    trip.as_object_mut().unwrap().remove("phone");
    desk.committed(trip).await;
    eventually("it is counted", async || desk.customers_total("without_phone").await == 1).await;
    desk.app.stop();
    assert_eq!(desk.app.database().count(COUNTED).await, 0);
}

/// Options that fleet-customers does not take.
fn refused() -> Value {
    let mut trip = trip();
    trip["comment"] = json!("x".repeat(1_001));
    trip
}

#[actix_web::test]
async fn options_that_are_refused_do_not_lose_the_customer() {
    let desk = Desk::with_customers("").await;
    desk.committed(refused()).await;
    let recorded = customer(&desk.app.dispatcher(CUSTOMERS, PARK)).await;
    assert_eq!((&recorded["orders_count"], &recorded["order_options"]), (&json!(1), &Value::Null));
    desk.customers_ended("recorded", 1).await;
}

/// A desk whose fleet-customers is another process.
async fn desk_beside(customers: &CustomersProcess) -> Desk {
    let config = customers.as_upstream()
        + "connect_timeout_ms = 5000\ntimeout_ms = 5000\n\
         attempts = 1\nbreaker_failures = 1000000\n";
    Desk::alone(&config).await
}

#[actix_web::test]
async fn a_fleet_customers_that_is_down_is_told_when_it_is_back() {
    let mut customers = CustomersProcess::make();
    let desk = desk_beside(&customers).await;
    desk.committed(trip()).await;
    let failed = "upstream_requests_total{method=\"customers_upsert\",outcome=\"connect\",\
         upstream=\"fleet_customers\"}";
    eventually("it was tried", async || desk.app.count(failed).await >= 2).await;
    desk.committed(refused()).await;
    assert_eq!(desk.customers_waiting().await, 2);

    customers.start(&desk.app.sandbox).await;
    let dispatcher = customers.dispatcher();
    eventually("both orders are recorded", async || {
        customer(&dispatcher).await["orders_count"] == 2
    })
    .await;
    desk.customers_ended("recorded", 2).await;
}

#[actix_web::test]
async fn an_order_committed_again_by_another_process_is_counted_once() {
    let desk = Desk::with_customers("").await;
    let id = desk.committed(trip()).await;
    let known = customer(&desk.app.dispatcher(CUSTOMERS, PARK)).await;
    let desk = Desk::of(desk.app.restarted().await);
    let edit = json!({"order_id": id, "revision": 2, "classes": ["comfort"]});
    desk.dispatcher.post("orders/edit", edit).await.expect(200);
    desk.commit(&id).await.expect(200);
    eventually("it was told again", async || desk.customers_total("recorded").await == 1).await;
    assert_eq!(customer(&desk.app.dispatcher(CUSTOMERS, PARK)).await, known);
}

/// The answer is lost after the work: the second call counts nothing.
#[actix_web::test]
async fn an_order_is_counted_once_however_often_it_is_told() {
    let mut customers = CustomersProcess::make();
    let proxy = Proxy::start(customers.addr);
    let listens = format!("http://{}", customers.addr);
    let config = customers.as_upstream().replace(&listens, &proxy.in_front_of(&listens));
    let config = config + "timeout_ms = 5000\nattempts = 1\nbreaker_failures = 1000000\n";
    let desk = Desk::alone(&config).await;
    customers.start(&desk.app.sandbox).await;
    proxy.set(Mode::CutAfter(20));
    desk.committed(trip()).await;
    let counted = async || customers.database.count(COUNTED).await;
    eventually("the work is done", async || counted().await == 1).await;
    let tried = async || proxy.accepted() >= 3;
    eventually("it is told again and again", tried).await;
    assert_eq!(desk.customers_waiting().await, 1, "whether it was done is not known");
    proxy.set(Mode::Pass);
    eventually("it is known", async || desk.customers_total("recorded").await == 1).await;
    assert_eq!(counted().await, 1);
}

#[actix_web::test]
async fn a_neighbour_without_its_database_is_told_when_it_is_back() {
    let database = TestDatabase::create();
    let proxy = Proxy::start(host_and_port(&database.url()).1);
    let config = format!(
        "[database]\nurl = '{}'\nacquire_timeout_ms = 3000\nconnect_timeout_ms = 3000\n",
        proxy.in_front_of(&database.url())
    );
    let builder = TestApp::builder().domains(&[CUSTOMERS, DOMAIN]);
    let desk = Desk::of(builder.database(database).config(config).start().await);
    proxy.set(Mode::Close);
    let id = desk.drafted(trip()).await;
    desk.commit(&id).await.expect(200);
    eventually("it was looked up twice", async || desk.calls("info") >= 2).await;
    assert_eq!((desk.customers_waiting().await, desk.customers_total("recorded").await), (1, 0));
    proxy.set(Mode::Pass);
    let recorded = customer(&desk.app.dispatcher(CUSTOMERS, PARK)).await;
    assert_eq!(recorded["orders_count"], 1);
}

/// A fleet-customers that takes connections and never answers.
#[actix_web::test]
async fn a_commit_does_not_wait_for_fleet_customers() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = format!(
        "[http]\nfinish_ms = 1000\n\
         [upstreams.fleet_customers]\nbase_url = 'http://{}'\ntoken = 'x'\ntimeout_ms = 60000\n",
        silent.local_addr().unwrap()
    );
    let desk = Desk::alone(&config).await;
    for number in 1..=10 {
        desk.committed(trip()).await;
        assert_eq!(desk.customers_waiting().await, number, "placed before it is told");
    }
}

/// An order whose passenger is erased before it is committed: there is nothing to record, and nobody
/// tries again.
async fn assert_erased_before_the_commit(desk: &Desk, customers: &Caller) {
    let id = desk.drafted(trip()).await;
    let person = desk.sent_json("draft")["personal_phone_id"].clone();
    let takeout = customers.takeout(CUSTOMERS);
    let request = json!({"request_id": "r", "personal_phone_ids": [person]});
    takeout.post("delete", request).await.expect(202);
    eventually("the person is erased", async || {
        takeout.get("receipts/r").await.expect(200)["status"] == "completed"
    })
    .await;
    desk.commit(&id).await.expect(200);
    desk.customers_ended("erased", 1).await;
    assert_eq!(desk.customers_total("recorded").await, 0);
    let status = takeout.post("status", json!({"personal_phone_ids": [person]})).await;
    assert_eq!(status.expect(200)["status"], "empty");
}

#[actix_web::test]
async fn the_order_of_who_was_erased_since_is_let_rest() {
    let desk = Desk::with_customers("").await;
    assert_erased_before_the_commit(&desk, &desk.app.anonymous()).await;
    let mut customers = CustomersProcess::make();
    let desk = desk_beside(&customers).await;
    customers.start(&desk.app.sandbox).await;
    let root = Caller::anonymous(format!("http://{}", customers.addr));
    assert_erased_before_the_commit(&desk, &root).await;
}
