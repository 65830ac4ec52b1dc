//! Many at once on one draft, and a process that dies: one order, one customer's order.

use futures_util::future::{join, join_all};

use super::*;
use crate::support::app::start_sandbox;

const CALLERS: usize = 50;

#[actix_web::test]
async fn fifty_callers_place_one_order_though_int_api_stumbles() {
    let desk = Desk::with_customers(&format!("{FAULTS}[http]\ndefault_timeout_ms = 15000\n")).await;
    let id = desk.drafted(trip()).await;
    desk.app.fault(
        "int-api",
        json!([
            {"kind": "close", "route": "/commit", "times": 4},
            {"kind": "answer", "status": 409, "body": {"code": "commit_in_progress"},
             "route": "/commit", "times": 4},
            {"kind": "close_after_work", "route": "/commit", "times": 4},
            {"kind": "status", "status": 500, "route": "/commit", "times": 4},
            {"kind": "status", "status": 503, "route": "/info", "times": 4},
        ]),
    );
    let replies = join_all((0..CALLERS).map(|_| desk.commit(&id))).await;
    for reply in &replies {
        assert!(matches!(reply.status, 200 | 503 | 504), "{}: {}", reply.status, reply.text());
    }
    let placed = json!({"order_id": id, "status": "committed"});
    let again = join_all((0..CALLERS).map(async |_| {
        eventually("it is placed", async || desk.commit(&id).await.status == 200).await;
        desk.commit(&id).await.expect(200)
    }))
    .await;
    assert_eq!(again, vec![placed; CALLERS]);
    let order = desk.the_order();
    assert_eq!((&*order.status, order.revision), ("committed", 2));

    let customer = customer(&desk.app.dispatcher(CUSTOMERS, PARK)).await;
    assert_eq!(customer["orders_count"], 1);
    desk.nobody_waits().await;
    assert_eq!(desk.customers_total("recorded").await, 1, "handed over once");
}

#[actix_web::test]
async fn drafts_committed_side_by_side_are_placed_each() {
    let desk = Desk::with_customers(FAULTS).await;
    let draft = || desk.drafted(trip());
    let ids = join_all((0..20).map(|_| draft())).await;
    let commits = ids.iter().chain(&ids).chain(&ids).map(|id| desk.commit(id));
    for reply in join_all(commits).await {
        reply.expect(200);
    }
    let orders = desk.app.sandbox.orders(PARK);
    assert_eq!(orders.len(), ids.len());
    assert!(orders.iter().all(|order| (&*order.status, order.revision) == ("committed", 2)));
    let customers = desk.app.dispatcher(CUSTOMERS, PARK);
    eventually("all are counted", async || customer(&customers).await["orders_count"] == ids.len())
        .await;
    desk.nobody_waits().await;
    assert_eq!(desk.customers_total("recorded").await, ids.len() as u64, "handed over once each");
}

/// Before int-api did the work, and after.
#[actix_web::test]
async fn a_commit_cut_by_a_kill_is_made_good_by_the_next() {
    for (fault, status) in [
        (json!({"kind": "hang", "route": "/commit"}), "draft"),
        (json!({"kind": "hold_after_work", "route": "/commit"}), "committed"),
    ] {
        let (database, sandbox) = (TestDatabase::create(), start_sandbox());
        let config = configuration(&database.url(), &sandbox);
        let mut server = Server::start(&config, &[]).await;
        let orders = dispatcher(&server.anonymous(), DOMAIN);
        let id = order_id(&orders.post("orders/draft", trip()).await.expect(200));
        sandbox.set_fault("int-api", fault.clone()).unwrap();
        let body = json!({"order_id": id}).to_string();
        let cut = orders.try_send(Method::POST, "orders/commit", Some(body));
        let kill = async {
            eventually("int-api is at work", async || {
                sandbox.calls("int-api", "POST /v1/orders/commit") > 0
                    && the_order(&sandbox).status == status
            })
            .await;
            server.signal("KILL");
        };
        let (cut, ()) = join(cut, kill).await;
        assert!(cut.is_err(), "{fault}: {cut:?}");
        assert!(server.wait(PATIENCE).await.is_some());

        sandbox.clear_fault("int-api");
        let server = Server::start(&config, &[]).await;
        let orders = dispatcher(&server.anonymous(), DOMAIN);
        let placed = json!({"order_id": id, "status": "committed"});
        assert_eq!(commit(&orders, &id).await.expect(200), placed, "{fault}");
        let order = the_order(&sandbox);
        assert_eq!((&*order.status, order.revision), ("committed", 2), "{fault}");
        let customer = customer(&dispatcher(&server.anonymous(), CUSTOMERS)).await;
        assert_eq!(customer["orders_count"], 1, "{fault}");
    }
}

/// A caller that goes away in the middle of its commit leaves nothing behind that hinders the next.
#[actix_web::test]
async fn a_caller_that_goes_away_does_not_spoil_the_order() {
    let desk = Desk::with_customers(FAULTS).await;
    let id = desk.drafted(trip()).await;
    let fault = json!({"kind": "hold_after_work", "route": "/commit", "times": 1});
    desk.app.fault("int-api", fault);
    let at_work = eventually("int-api is at work", async || desk.calls("commit") == 1);
    tokio::select! {
        reply = desk.commit(&id) => panic!("answered: {}", reply.text()),
        () = at_work => {}
    }
    desk.commit(&id).await.expect(200);
    assert_eq!(desk.the_order().revision, 2);
    assert_eq!(customer(&desk.app.dispatcher(CUSTOMERS, PARK)).await["orders_count"], 1);
}
