//! What fleet-parks says is asked for once, kept for a while, and used for longer while
//! fleet-parks does not answer.

use std::time::Duration;

use futures_util::future::{join, join_all};

use super::*;

/// Long enough to be seen to hang.
const PATIENT: &str =
    "[upstreams.fleet_parks]\ntimeout_ms = 20000\nattempts = 1\nbreaker_failures = 1000000\n";
/// How long a park is kept that is to be old soon.
const TTL_MS: u64 = 500;

fn config(ttl_ms: u64, stale_ms: u64) -> String {
    format!("{PATIENT}[fleet_orders_manager]\npark_ttl_ms = {ttl_ms}\npark_stale_ms = {stale_ms}\n")
}

impl Desk {
    async fn estimate(&self) -> Reply {
        self.dispatcher
            .post("orders/estimate", json!({"route": trip()["route"], "classes": ["econom"]}))
            .await
    }

    /// Requests that fleet-parks got.
    fn asked(&self) -> u64 {
        self.app.sandbox.calls("fleet-parks", "GET /v1/parks/{park_id}")
    }

    async fn lookups(&self, outcome: &str) -> u64 {
        let name = "fleet_orders_manager_park_lookups_total";
        self.app.count(&format!("{name}{{outcome=\"{outcome}\"}}")).await
    }

    /// A park that was looked up, and whose time is over. How often fleet-parks was asked for it
    /// depends on how soon its answer was used.
    async fn with_an_old_park(stale_ms: u64) -> Self {
        let desk = Self::alone(&config(TTL_MS, stale_ms)).await;
        desk.estimate().await.expect(200);
        tokio::time::sleep(Duration::from_millis(TTL_MS + 10)).await;
        desk
    }

    async fn all_lookups(&self) -> [u64; 3] {
        [self.lookups("stale").await, self.lookups("miss").await, self.lookups("hit").await]
    }
}

#[actix_web::test]
async fn a_park_is_asked_for_once() {
    let desk = Desk::alone(&config(60_000, 60_000)).await;
    for reply in join_all((0..50).map(|_| desk.estimate())).await {
        reply.expect(200);
    }
    assert_eq!(desk.asked(), 1, "however many ask at once");
    desk.drafted(trip()).await;
    assert_eq!(desk.asked(), 1);
    let (misses, hits) = (desk.lookups("miss").await, desk.lookups("hit").await);
    assert!(misses >= 1 && misses + hits == 51, "{misses} + {hits}");
    assert_eq!(desk.app.count("fleet_orders_manager_park_age_seconds_count").await, 51);
    desk.stranger.post("orders/estimate", trip()).await.expect(200);
    assert_eq!(desk.asked(), 2, "another park is another");
}

/// A refresh that hangs is the only one, and holds up nobody.
#[actix_web::test]
async fn an_old_park_is_refreshed_once_while_everybody_uses_it() {
    let desk = Desk::with_an_old_park(600_000).await;
    let (asked, [stale, miss, hit]) = (desk.asked(), desk.all_lookups().await);
    desk.app.fault("fleet-parks", json!({"kind": "hang"}));
    for reply in join_all((0..50).map(|_| desk.estimate())).await {
        reply.expect(200);
    }
    assert_eq!(desk.asked(), asked + 1, "one refresh");
    assert_eq!(desk.all_lookups().await, [stale + 50, miss, hit]);
}

#[actix_web::test]
async fn a_park_that_changed_is_noticed() {
    let desk = Desk::with_an_old_park(600_000).await;
    desk.app.sandbox.change_park(PARK, json!({"currency": "EUR"})).unwrap();
    eventually("the new currency is used", async || {
        desk.estimate().await.expect(200)["currency"] == "EUR"
    })
    .await;
    desk.app.sandbox.change_park(PARK, json!({"is_active": false})).unwrap();
    eventually("it takes no more orders", async || desk.estimate().await.status == 409).await;
    desk.estimate().await.problem(409, "park_inactive");
}

#[actix_web::test]
async fn an_old_park_is_used_while_fleet_parks_is_down() {
    for fault in [
        json!({"kind": "status", "status": 500}),
        json!({"kind": "status", "status": 418}),
        json!({"kind": "close"}),
        json!({"kind": "garbage"}),
    ] {
        let desk = Desk::with_an_old_park(600_000).await;
        let before = desk.asked();
        desk.app.fault("fleet-parks", fault.clone());
        let asked = async || {
            desk.estimate().await.expect(200);
            desk.asked() >= before + 2
        };
        eventually("it was asked again and again", asked).await;
        desk.estimate().await.expect(200);
        assert!(desk.lookups("stale").await >= 1, "{fault}");
        assert_eq!(desk.lookups("failed").await, 0, "{fault}");
    }
}

#[actix_web::test]
async fn a_park_that_is_too_old_is_not_used() {
    let desk = Desk::with_an_old_park(2 * TTL_MS).await;
    desk.app.fault("fleet-parks", json!({"kind": "status", "status": 503}));
    eventually("it is too old", async || desk.estimate().await.status == 503).await;
    let before = desk.all_calls();
    let reply = desk.estimate().await;
    reply.problem(503, "fleet_parks_unavailable");
    assert!(come_back(&reply) >= 1);
    assert_eq!(desk.all_calls(), before, "nothing goes on");
    assert!(desk.lookups("failed").await >= 2);
    desk.app.sandbox.clear_fault("fleet-parks");
    eventually("it is back", async || desk.estimate().await.status == 200).await;
}

#[actix_web::test]
async fn a_park_of_which_nothing_is_known_must_wait_for_fleet_parks() {
    let desk = Desk::alone(PATIENT).await;
    for fault in [
        json!({"kind": "status", "status": 500}),
        json!({"kind": "close"}),
        json!({"kind": "garbage"}),
        json!({"kind": "answer", "status": 200, "body": {"id": PARK}}),
        json!({"kind": "status", "status": 401}),
    ] {
        desk.app.fault("fleet-parks", fault);
        for route in ["orders/estimate", "orders/draft"] {
            let reply = desk.dispatcher.post(route, trip()).await;
            reply.problem(503, "fleet_parks_unavailable");
            assert!(come_back(&reply) >= 1, "{route}");
        }
    }
    assert_eq!(desk.all_calls(), 0);
    assert_eq!(desk.app.sandbox.calls("personal", "POST /v1/phones/store"), 0);
    desk.app.sandbox.clear_fault("fleet-parks");
    eventually("it is back", async || desk.estimate().await.status == 200).await;
}

/// A caller that gives up does not end the refresh for the others.
#[actix_web::test]
async fn who_waits_for_a_park_waits_as_long_as_it_wants_to() {
    let desk = Desk::alone(PATIENT).await;
    desk.app.fault("fleet-parks", json!({"kind": "hold"}));
    let hasty = desk.dispatcher.header("X-Request-Timeout-Ms", "2000");
    let hasty = async {
        let reply = hasty.post("orders/estimate", trip()).await;
        desk.app.sandbox.clear_fault("fleet-parks");
        reply
    };
    let (hasty, patient) = join(hasty, desk.estimate()).await;
    hasty.problem(504, "fleet_parks_unavailable");
    assert!(come_back(&hasty) >= 1);
    patient.expect(200);
    assert_eq!(desk.asked(), 1);
}

#[actix_web::test]
async fn only_a_park_that_works_takes_orders() {
    let desk = Desk::start().await;
    for (park, status, code) in
        [("unknown-1", 404, "park_not_found"), ("inactive-1", 409, "park_inactive")]
    {
        let dispatcher = desk.app.dispatcher(DOMAIN, park);
        for route in ["orders/estimate", "orders/draft"] {
            dispatcher.post(route, trip()).await.problem(status, code);
        }
        assert!(desk.app.sandbox.orders(park).is_empty());
    }
    assert_eq!(desk.asked(), 2, "what is not there is remembered, too");
    assert_eq!(desk.all_calls(), 0);
}
