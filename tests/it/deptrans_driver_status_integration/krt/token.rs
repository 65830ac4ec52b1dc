//! One token for all instances: had once, replaced before it ends, and once when it is refused.

use serde_json::json;

use super::super::rig::{Instances, Street, go, ready};
use crate::support::eventually;
use crate::support::process::Server;
use crate::support::proxy::{Mode, Proxy};

#[actix_web::test]
async fn a_token_is_replaced_before_it_ends() {
    let config = "[deptrans_driver_status_integration.krt]\nreplace_token_before_ms = 6000\n";
    let street = Street::with(config).await;
    street.sandbox().set_krt(json!({"token_seconds": 9})).unwrap();
    let drivers = street.ready(1).await;
    let tokens = || street.sandbox().krt_counts().tokens;
    let mut turn = 0;
    // Somebody is told again and again, and never in vain.
    while tokens() < 3 {
        let status = if turn % 2 == 0 { "online" } else { "offline" };
        street.goes(drivers[0], status).await;
        street.drained().await;
        turn += 1;
    }
    assert_eq!(street.app.count(&refused()).await, 0, "it was replaced too late");
    assert_eq!(street.told(drivers[0]).len(), turn);
    // Before the old one ends, nobody waits for the new one.
    let version = "SELECT version FROM deptrans.krt_token";
    eventually("all are stored", async || street.database().count(version).await >= 3).await;
}

/// Reports that KRT refused for what they had for a token.
fn refused() -> String {
    "upstream_requests_total{method=\"status\",outcome=\"client_error\",upstream=\"krt\"}"
        .to_owned()
}

#[actix_web::test]
async fn a_token_that_is_refused_is_replaced_once_however_many_calls_meet_it() {
    let street = Street::start().await;
    let drivers = street.ready(60).await;
    street.goes(drivers[0], "online").await;
    street.drained().await;
    assert_eq!(street.sandbox().krt_counts().tokens, 1);
    // A new one that is refused at once is not replaced by yet another.
    age(&street).await;
    street.sandbox().revoke_krt_tokens();
    let all: Vec<_> = drivers.iter().map(|index| (*index, "offline")).collect();
    street.go(&all).await;
    street.drained().await;
    assert_eq!(street.sandbox().krt_counts().tokens, 2);
    for driver in &drivers[1..] {
        assert_eq!(street.told(*driver), [false]);
    }
}

/// Lets the known token be an old one: the process looks at it when it starts.
async fn age(street: &Street) {
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let sql =
        "SELECT count(*) FROM deptrans.krt_token WHERE obtained_at < now() - interval '1 second'";
    assert_eq!(street.database().count(sql).await, 1);
}

#[actix_web::test]
async fn instances_that_start_together_get_one_token() {
    let world = Instances::prepare();
    let drivers = ready(&world.sandbox, &world.database, 90).await;
    world.sandbox.set_fault("krt", json!({"kind": "hold", "route": "token"})).unwrap();
    let servers: Vec<Server> =
        vec![world.start(&[]).await, world.start(&[]).await, world.start(&[]).await];
    let all: Vec<_> = drivers.iter().map(|index| (*index, "online")).collect();
    go(&Instances::internal(&servers[0]), &world.sandbox, &all).await;
    // Of five batches no two instances can have taken all: each has two workers.
    let batches = "SELECT count(DISTINCT lease) FROM deptrans.status_queue";
    eventually("all want a token", async || world.database.count(batches).await == 5).await;
    world.sandbox.clear_fault("krt");
    eventually("all are sent", async || world.waiting().await == 0).await;
    let counts = world.sandbox.krt_counts();
    assert_eq!((counts.tokens, counts.reports), (1, 90));
}

/// The key was changed: nobody can open what is stored.
#[actix_web::test]
async fn a_token_that_cannot_be_opened_is_replaced() {
    let street = Street::start().await;
    let driver = street.ready(1).await[0];
    street
        .database()
        .execute(
            "UPDATE deptrans.krt_token SET version = 7, sealed = 'nonsense', \
             expires_at = now() + interval '1 day', obtained_at = now() - interval '1 hour'",
        )
        .await;
    street.goes(driver, "online").await;
    street.drained().await;
    assert_eq!(street.sandbox().krt_counts().tokens, 1);
    assert_eq!(street.database().count("SELECT version FROM deptrans.krt_token").await, 8);
}

#[actix_web::test]
async fn a_restart_uses_the_stored_token() {
    let street = Street::start().await;
    let driver = street.ready(1).await[0];
    street.goes(driver, "online").await;
    street.drained().await;
    let street = street.restarted().await;
    street.goes(driver, "offline").await;
    street.drained().await;
    assert_eq!(street.told(driver), [true, false]);
    assert_eq!(street.sandbox().krt_counts().tokens, 1);
}

/// A login that is refused stops the sending and is no outage of the regulator's.
#[actix_web::test]
async fn a_refused_login_keeps_the_statuses_and_is_no_outage() {
    let street = Street::start().await;
    street.sandbox().set_krt(json!({"password": "another"})).unwrap();
    let drivers = street.ready(20).await;
    let all: Vec<_> = drivers.iter().map(|index| (*index, "online")).collect();
    street.go(&all).await;
    let asked = || street.sandbox().calls("krt", "POST /api/v1/token");
    eventually("it is tried again", async || asked() >= 3).await;
    assert_eq!(street.waiting().await, 20);
    assert_eq!(street.outages().await, Vec::<serde_json::Value>::new());
    let trouble = street.app.anonymous().get("readyz").await.json();
    let row = trouble["dependencies"].as_array().unwrap().iter().find(|row| row["name"] == "krt");
    assert_ne!(row.expect("a row of krt")["status"], "ok", "{trouble}");
    street.sandbox().set_krt(json!({})).unwrap();
    street.drained().await;
    assert_eq!(street.sandbox().krt_counts().reports, 20);
}

/// Only its method for tokens is down.
#[actix_web::test]
async fn without_a_token_the_statuses_wait() {
    let street = Street::start().await;
    street.krt_fault(json!({"kind": "status", "status": 500, "route": "token"}));
    let drivers = street.ready(20).await;
    let all: Vec<_> = drivers.iter().map(|index| (*index, "online")).collect();
    street.go(&all).await;
    eventually("an outage is open", async || street.outages().await.len() == 1).await;
    assert_eq!((street.waiting().await, street.sandbox().krt_counts().reports), (20, 0));
    street.app.sandbox.clear_fault("krt");
    street.drained().await;
    assert_eq!(street.sandbox().krt_counts().reports, 20);
    eventually("it is over", async || street.outages().await[0]["caught_up_at"].is_string()).await;
}

/// Whoever cannot reach the regulator lets others ask it for a token at once; whoever it answered does
/// not: they would be told the same.
#[actix_web::test]
async fn an_instance_that_is_cut_off_puts_no_login_of_others_off() {
    let world = Instances::prepare();
    let driver = ready(&world.sandbox, &world.database, 1).await[0];
    let put_off = "SELECT count(*) FROM deptrans.krt_token \
         WHERE lease IS NULL AND lease_until > clock_timestamp()";
    let proxy = Proxy::start(world.sandbox.addr());
    let through = proxy.in_front_of(&world.sandbox.base_url("krt"));
    let server = world.start(&[("FLEET__UPSTREAMS__KRT__BASE_URL", &through)]).await;
    proxy.set(Mode::Close);
    go(&Instances::internal(&server), &world.sandbox, &[(driver, "online")]).await;
    let tried =
        "SELECT count(*) FROM deptrans.krt_token WHERE lease IS NULL AND lease_until IS NOT NULL";
    eventually("it tries", async || world.database.count(tried).await == 1).await;
    for _ in 0..40 {
        assert_eq!(world.database.count(put_off).await, 0);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let refusal = json!({"kind": "status", "status": 500, "route": "token"});
    world.sandbox.set_fault("krt", refusal).unwrap();
    proxy.set(Mode::Pass);
    eventually("others wait", async || world.database.count(put_off).await == 1).await;
    world.sandbox.clear_fault("krt");
    eventually("it is sent", async || world.waiting().await == 0).await;
}

/// Whoever was so slow that its lease is another's keeps what KRT gave it to itself.
#[actix_web::test]
async fn a_token_that_comes_when_the_lease_is_lost_is_not_stored() {
    let world = Instances::prepare();
    let driver = ready(&world.sandbox, &world.database, 1).await[0];
    let held = json!({"kind": "hold_after_work", "route": "token"});
    world.sandbox.set_fault("krt", held).unwrap();
    let server = world.start(&[]).await;
    go(&Instances::internal(&server), &world.sandbox, &[(driver, "online")]).await;
    let leased = "SELECT count(*) FROM deptrans.krt_token WHERE lease IS NOT NULL";
    eventually("it asks for a token", async || world.database.count(leased).await == 1).await;
    let taken = "UPDATE deptrans.krt_token SET lease = gen_random_uuid(), \
         lease_until = clock_timestamp() + interval '1 hour'";
    world.database.execute(taken).await;
    eventually("its token is given", async || world.sandbox.krt_counts().tokens == 1).await;
    world.sandbox.clear_fault("krt");
    let untouched = "SELECT count(*) FROM deptrans.krt_token WHERE version = 0 AND sealed IS NULL \
         AND lease_until > clock_timestamp() + interval '30 minutes'";
    // Longer than the answer is on its way.
    for _ in 0..40 {
        assert_eq!(world.database.count(untouched).await, 1);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let given_up = "UPDATE deptrans.krt_token SET lease = NULL, lease_until = NULL";
    world.database.execute(given_up).await;
    eventually("it is sent", async || world.waiting().await == 0).await;
    assert_eq!(world.sandbox.krt_counts().tokens, 2);
    assert_eq!(world.database.count("SELECT version FROM deptrans.krt_token").await, 1);
}
