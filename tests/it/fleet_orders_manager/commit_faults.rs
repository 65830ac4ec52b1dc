//! Whatever happens on the way to int-api and back: a 4xx is final, a 200 true, all else says when
//! to come back, and the order is placed once.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::*;
use crate::support::STALL;

/// A caller's patience: a busy machine, too, answers in what is kept back of it for asking what became
/// of a commit.
const PATIENCE_MS: &str = "12000";
const BOUND: Duration = Duration::from_secs(12).saturating_add(STALL);

async fn desk() -> (Desk, String) {
    let desk = Desk::alone(FAULTS).await;
    let id = desk.drafted(trip()).await;
    (desk, id)
}

impl Desk {
    /// A commit by somebody who does not wait for ever.
    async fn impatient_commit(&self, id: &str) -> Reply {
        let started = Instant::now();
        let reply = commit(&self.dispatcher.header("X-Request-Timeout-Ms", PATIENCE_MS), id).await;
        assert!(started.elapsed() < BOUND, "{:?}: {}", started.elapsed(), reply.text());
        reply
    }

    /// A commit, once nothing is wrong any more, and that it is the only one.
    async fn assert_placed_once(&self, id: &str) {
        self.app.sandbox.clear_fault("int-api");
        let placed = json!({"order_id": id, "status": "committed"});
        assert_eq!(self.commit(id).await.expect(200), placed);
        let order = self.the_order();
        assert_eq!((&*order.order_id, &*order.status, order.revision), (id, "committed", 2));
    }
}

/// A 409 that ends by itself.
fn in_progress() -> Value {
    json!({"kind": "answer", "status": 409, "body": {"code": "commit_in_progress"}, "route": "/commit"})
}

fn times(mut fault: Value, times: u32) -> Value {
    fault["times"] = json!(times);
    fault
}

/// What passes within one request: the fault, and how often int-api is asked to commit.
#[actix_web::test]
async fn what_passes_soon_is_a_200_at_once() {
    let commit = |fault: Value| {
        let mut fault = fault;
        fault["route"] = json!("/commit");
        fault
    };
    for (fault, commits) in [
        (commit(json!({"kind": "delay", "ms": 300})), 1),
        (commit(json!({"kind": "delay_after_work", "ms": 300})), 1),
        (commit(json!({"kind": "close", "times": 1})), 2),
        (commit(json!({"kind": "close", "times": 2})), 3),
        (commit(json!({"kind": "close_after_work", "times": 1})), 1),
        (commit(json!({"kind": "truncate", "times": 1})), 1),
        (commit(json!({"kind": "garbage", "times": 1})), 2),
        (commit(json!({"kind": "status", "status": 500, "times": 1})), 2),
        (commit(json!({"kind": "status", "status": 502, "times": 2})), 3),
        (times(in_progress(), 1), 2),
        (times(in_progress(), 2), 3),
    ] {
        let (desk, id) = desk().await;
        desk.app.fault("int-api", fault.clone());
        let reply = desk.commit(&id).await;
        assert_eq!(reply.status, 200, "{fault}: {}", reply.text());
        assert_eq!(reply.json(), json!({"order_id": id, "status": "committed"}), "{fault}");
        assert_eq!(desk.calls("commit"), commits, "{fault}");
        desk.assert_placed_once(&id).await;
    }
}

#[actix_web::test]
async fn an_order_that_landed_is_a_200_however_the_call_broke() {
    let broken = [
        json!({"kind": "close_after_work", "route": "/commit"}),
        json!({"kind": "truncate", "route": "/commit"}),
        json!({"kind": "hold_after_work", "route": "/commit"}),
        json!({"kind": "slow_body", "ms": 10_000, "route": "/commit"}),
    ];
    let broken = broken.map(async |fault| {
        let (desk, id) = desk().await;
        desk.app.fault("int-api", fault.clone());
        let reply = desk.impatient_commit(&id).await;
        assert_eq!(reply.status, 200, "{fault}: {}", reply.text());
        assert_eq!(reply.json(), json!({"order_id": id, "status": "committed"}), "{fault}");
        assert_eq!((desk.calls("commit"), desk.calls("info")), (1, 1), "{fault}");
    });
    join_all(broken).await;
}

/// As after a commit whose work was done before it answered 500.
#[actix_web::test]
async fn a_500_after_the_work_is_a_200_wherever_the_order_is_by_then() {
    let (desk, id) = desk().await;
    let int_api = Caller::anonymous(desk.app.sandbox.base_url("int-api")).token("another");
    let order = json!({"park_id": PARK, "order_id": id});
    int_api.post("v1/orders/commit", order).await.expect(200);
    desk.app.fault("int-api", json!({"kind": "status", "status": 500, "route": "/commit"}));
    for status in ["committed", "driving", "waiting", "transporting", "completed"] {
        desk.app.sandbox.set_order_status(&id, status).unwrap();
        let answer = desk.commit(&id).await.expect(200);
        assert_eq!(answer["order_id"], id.as_str());
    }
    desk.app.sandbox.set_order_status(&id, "cancelled").unwrap();
    desk.commit(&id).await.problem(409, "order_cancelled");
}

#[actix_web::test]
async fn int_api_says_when_it_is_asked_again() {
    for status in [429, 503] {
        let (desk, id) = desk().await;
        let fault =
            json!({"kind": "status", "status": status, "retry_after": 1, "route": "/commit"});
        desk.app.fault("int-api", times(fault.clone(), 1));
        let started = Instant::now();
        desk.commit(&id).await.expect(200);
        assert!(started.elapsed() >= Duration::from_secs(1), "{fault}: {:?}", started.elapsed());
        assert_eq!(desk.calls("commit"), 2, "{fault}");
    }
}

#[actix_web::test]
async fn who_would_have_to_wait_too_long_is_told_how_long() {
    let transient = json!({"code": "pricing_busy"});
    for (fault, code) in [
        (json!({"kind": "status", "status": 429, "retry_after": 60}), "int_api_unavailable"),
        (json!({"kind": "status", "status": 503, "retry_after": 60}), "int_api_unavailable"),
        (
            json!({"kind": "answer", "status": 409, "body": transient, "retry_after": 60}),
            "pricing_busy",
        ),
        (
            json!({"kind": "answer", "status": 400, "body": transient, "retry_after": 60}),
            "pricing_busy",
        ),
    ] {
        let (desk, id) = desk().await;
        desk.app.fault("int-api", fault.clone());
        let reply = desk.impatient_commit(&id).await;
        assert_eq!(come_back(&reply), 60, "{fault}");
        assert_eq!(reply.json()["code"], code, "{fault}");
        assert_eq!(desk.calls("commit"), 1, "{fault}: it is left alone");
        desk.assert_placed_once(&id).await;
    }
}

#[actix_web::test]
async fn a_transient_state_never_becomes_a_4xx() {
    let (desk, id) = desk().await;
    desk.app.fault("int-api", in_progress());
    let reply = desk.impatient_commit(&id).await;
    reply.problem(503, "commit_in_progress");
    assert!(come_back(&reply) >= 1);
    for status in [423, 425] {
        let fault = json!({"kind": "answer", "status": status, "body": {"code": "locked"}, "route": "/commit"});
        desk.app.fault("int-api", fault);
        let reply = desk.impatient_commit(&id).await;
        reply.problem(503, "locked");
        assert!(come_back(&reply) >= 1);
    }
    // Our own token is refused: nothing that the dispatcher could mend.
    for status in [401, 403] {
        desk.app.fault("int-api", json!({"kind": "status", "status": status, "route": "/commit"}));
        let reply = desk.impatient_commit(&id).await;
        reply.problem(503, "int_api_unavailable");
        assert!(come_back(&reply) >= 1);
    }
    desk.assert_placed_once(&id).await;
}

#[actix_web::test]
async fn a_refusal_is_a_4xx_with_its_code_at_once() {
    for (status, answered) in
        [(400, 400), (402, 422), (409, 409), (410, 422), (422, 422), (451, 422)]
    {
        let (desk, id) = desk().await;
        let body = json!({"code": "tariff_closed", "message": "for the log"});
        let fault = json!({"kind": "answer", "status": status, "body": body, "route": "/commit"});
        desk.app.fault("int-api", fault);
        desk.commit(&id).await.problem(answered, "tariff_closed");
        assert_eq!((desk.calls("commit"), desk.calls("info")), (1, 0), "{status}");
    }
}

#[actix_web::test]
async fn a_code_that_is_no_word_is_not_passed_on() {
    let (desk, id) = desk().await;
    for body in [
        json!({"code": "call +79990000001"}),
        json!({"code": ""}),
        json!({"code": "x".repeat(65)}),
        json!({"code": 7}),
        json!({"message": "none"}),
        json!("none"),
    ] {
        let fault = |status: u16| json!({"kind": "answer", "status": status, "body": body, "route": "/commit"});
        desk.app.fault("int-api", fault(422));
        desk.commit(&id).await.problem(422, "order_refused");
        // A conflict without a word on why may end by itself.
        desk.app.fault("int-api", fault(409));
        let reply = desk.commit(&id).await;
        reply.problem(503, "int_api_unavailable");
        assert!(come_back(&reply) >= 1);
    }
}

#[actix_web::test]
async fn a_cancelled_order_is_never_placed() {
    let (desk, id) = desk().await;
    desk.app.sandbox.set_order_status(&id, "cancelled").unwrap();
    desk.commit(&id).await.problem(409, "order_cancelled");
    desk.app.fault("int-api", json!({"kind": "close", "route": "/commit"}));
    desk.commit(&id).await.problem(409, "order_cancelled");
    assert_eq!(desk.the_order().status, "cancelled");
}

#[actix_web::test]
async fn an_int_api_that_hangs_is_named_within_the_callers_time() {
    let faults = [
        json!({"kind": "hang", "route": "/commit"}),
        json!({"kind": "hang"}),
        json!([{"kind": "close_after_work", "route": "/commit"}, {"kind": "hang", "route": "/info"}]),
        json!([{"kind": "close_after_work", "route": "/commit"}, {"kind": "close", "route": "/info"}]),
    ];
    let faults = faults.map(async |fault| {
        let (desk, id) = desk().await;
        desk.app.fault("int-api", fault.clone());
        let reply = desk.impatient_commit(&id).await;
        reply.problem(504, "int_api_unavailable");
        assert!(come_back(&reply) >= 1, "{fault}");
        desk.assert_placed_once(&id).await;
    });
    join_all(faults).await;
}

/// After the caller was told to come back.
#[actix_web::test]
async fn an_order_that_lands_late_is_found_by_the_next_commit() {
    let (desk, id) = desk().await;
    desk.app.fault("int-api", json!({"kind": "hold", "route": "/commit"}));
    let hasty = desk.dispatcher.header("X-Request-Timeout-Ms", "5000");
    let reply = commit(&hasty, &id).await;
    reply.problem(504, "int_api_unavailable");
    assert!(come_back(&reply) >= 1);
    desk.app.sandbox.clear_fault("int-api");
    eventually("it lands", async || desk.the_order().status == "committed").await;
    desk.assert_placed_once(&id).await;
}

/// Every way to fail, of the commit and of asking what became of it.
#[actix_web::test]
async fn no_fault_makes_a_4xx_or_a_second_order() {
    let (desk, id) = desk().await;
    let faults = [
        json!({"kind": "status", "status": 500}),
        json!({"kind": "status", "status": 503}),
        json!({"kind": "status", "status": 429}),
        json!({"kind": "status", "status": 408}),
        json!({"kind": "close"}),
        json!({"kind": "close_after_work"}),
        json!({"kind": "garbage"}),
        json!({"kind": "truncate"}),
        json!({"kind": "huge"}),
        json!({"kind": "delay_after_work", "ms": 60_000}),
    ];
    let on = |fault: &Value, route: &str| {
        let mut fault = fault.clone();
        fault["route"] = json!(route);
        fault
    };
    for committing in &faults {
        for asking in &faults {
            let both = json!([on(committing, "/commit"), on(asking, "/info")]);
            desk.app.fault("int-api", both.clone());
            let caller = desk.dispatcher.header("X-Request-Timeout-Ms", "400");
            let reply = commit(&caller, &id).await;
            assert!(matches!(reply.status, 200 | 503 | 504), "{both}: {}", reply.text());
            if reply.status != 200 {
                assert!(come_back(&reply) >= 1, "{both}");
            }
        }
    }
    desk.assert_placed_once(&id).await;
}

#[actix_web::test]
async fn an_int_api_that_is_down_is_named() {
    let (desk, id) = desk().await;
    desk.app.sandbox.stop().await;
    let reply = desk.impatient_commit(&id).await;
    assert!(come_back(&reply) >= 1);
    assert_eq!(reply.json()["code"], "int_api_unavailable");
}
