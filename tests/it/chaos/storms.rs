//! Scenario 14: fifty calls under one key at once, at several processes, of which one is killed in the
//! middle.

use actix_web::http::Method;
use futures_util::future::{join, join_all};
use rand::RngExt;
use serde_json::{Value, json};

use super::processes::Processes;
use super::rig::{Counts, Run, drivers, seeds, until};
use crate::support::app::{configuration, start_sandbox};
use crate::support::client::{Caller, Reply};
use crate::support::database::TestDatabase;

const CALLERS: usize = 50;
const ORDERS: &str = "fleet-orders-manager";
const CUSTOMERS: &str = "fleet-customers";
const PARK: &str = "park-1";
/// A park whose customers come from nowhere else.
const OTHER_PARK: &str = "park-2";
const ENV: [(&str, &str); 2] = [
    ("FLEET__UPSTREAMS__INT_API__BREAKER_FAILURES", "1000000"),
    ("FLEET__UPSTREAMS__INT_API__CONCURRENCY", "8"),
];
/// Whoever writes a customer takes his time: a kill finds somebody at it.
const SLOW: &str = "CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS \
     $$ BEGIN PERFORM pg_sleep(0.1); RETURN NEW; END $$; \
     CREATE TRIGGER slow BEFORE INSERT OR UPDATE ON fleet_customers.customers FOR EACH ROW \
     EXECUTE FUNCTION public.slow()";

fn dispatcher(root: &Caller, domain: &str, park: &str) -> Caller {
    root.dispatcher(domain, park).header("X-Request-Timeout-Ms", "3000")
}

fn internal(root: &Caller, key: &str) -> Caller {
    root.internal(CUSTOMERS).header("Idempotency-Key", key).header("X-Request-Timeout-Ms", "3000")
}

/// Fifty at once, while a process is killed; the one answer that all of them got.
async fn storm(
    run: &mut Run,
    processes: &Processes,
    dress: impl Fn(Caller) -> Caller,
    (path, body): (&str, &Value),
    begun: impl AsyncFn() -> bool,
) -> Value {
    let calls =
        (0..CALLERS).map(|number| processes.call(number, &dress, (Method::POST, path, Some(body))));
    let kill = async {
        until("somebody is at work", begun).await;
        run.pause(0, 60).await;
        let victim = run.random.random_range(0..processes.count());
        processes.replace(victim).await;
    };
    let (replies, ()) = join(join_all(calls), kill).await;
    let answers: Vec<Value> = replies.iter().map(|reply: &Reply| reply.expect(200)).collect();
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{path}: {answers:?}");
    answers[0].clone()
}

/// What int-api does to those who call this route.
fn stumbling(run: &mut Run, route: &str) -> Value {
    let times = run.random.random_range(1..5);
    json!([
        {"kind": "close_after_work", "route": route, "times": times},
        {"kind": "status", "status": 500, "route": route, "times": times},
        {"kind": "delay_after_work", "ms": run.random.random_range(60..200), "route": route, "times": 20},
    ])
}

#[actix_web::test]
async fn of_fifty_calls_under_one_key_one_takes_effect_though_processes_die() {
    for seed in seeds() {
        let mut run = Run::of("14 one key", seed);
        let (database, sandbox) = (TestDatabase::create(), start_sandbox());
        database.execute(SLOW).await;
        let config = configuration(&database.url(), &sandbox);
        let config = format!("domains = ['{CUSTOMERS}', '{ORDERS}']\n{config}");
        let processes = Processes::start(3, config, &ENV).await;
        let rounds = drivers().div_ceil(4_000).min(10);
        let (mut faults, mut customers) = (0, Vec::new());
        for round in 0..rounds {
            let before = processes.cut();
            let phone = format!("+7999000{round:04}");
            let draft = json!({"phone": phone, "route": [{"lat": 55.75, "lon": 37.61}], "classes": ["econom"]});
            let key = format!("draft-{round}");
            let keyed =
                |root: Caller| dispatcher(&root, ORDERS, PARK).header("Idempotency-Key", &key);
            let calls = sandbox.calls("int-api", "POST /v1/orders/draft");
            let begun = async || sandbox.calls("int-api", "POST /v1/orders/draft") > calls;
            let fault = stumbling(&mut run, "/draft");
            sandbox.set_fault("int-api", fault).unwrap();
            let order = storm(&mut run, &processes, keyed, ("orders/draft", &draft), begun).await;

            let calls = sandbox.calls("int-api", "POST /v1/orders/commit");
            let begun = async || sandbox.calls("int-api", "POST /v1/orders/commit") > calls;
            let fault = stumbling(&mut run, "/commit");
            sandbox.set_fault("int-api", fault).unwrap();
            let plain = |root: Caller| dispatcher(&root, ORDERS, PARK);
            let commit = json!({"order_id": order["order_id"]});
            storm(&mut run, &processes, plain, ("orders/commit", &commit), begun).await;
            sandbox.clear_fault("int-api");

            let key = format!("upsert-{round}");
            let keyed = |root: Caller| internal(&root, &key);
            let mut upsert = json!({"park_id": OTHER_PARK, "phone": phone, "ordered_at": "2026-05-01T12:00:00Z"});
            let sleeps = "SELECT count(*) FROM pg_stat_activity \
                 WHERE datname = current_database() AND wait_event = 'PgSleep'";
            let begun = async || database.count(sleeps).await > 0;
            let upsert_path = "customers/upsert";
            let customer = storm(&mut run, &processes, keyed, (upsert_path, &upsert), begun).await;
            customers.push(customer["personal_phone_id"].as_str().unwrap().to_owned());
            upsert["ordered_at"] = json!("2026-05-02T12:00:00Z");
            let other = (Method::POST, upsert_path, Some(&upsert));
            processes.call(0, keyed, other).await.problem(422, "idempotency_key_reused");
            faults += usize::from(processes.cut() > before);
        }
        let counts = outcome(&processes, &sandbox.orders(PARK), &customers).await;
        run.assert(faults, counts);
    }
}

/// A draft, a commit and an upsert for each round.
async fn outcome(
    processes: &Processes,
    orders: &[fleet::sandbox::KeptOrder],
    customers: &[String],
) -> Counts {
    let rounds = customers.len() as u64;
    let mut counts = Counts { selected: 3 * rounds, delivered: 0, lost: 0, doubled: 0 };
    let mut effects = vec![orders.len() as u64];
    // A draft that was committed once has its second revision; nobody may have changed it since.
    effects.push(orders.iter().map(|order| order.revision - 1).sum());
    let mut counted = 0;
    for id in customers {
        let path = format!("customers/{id}");
        let dress = |root: Caller| dispatcher(&root, CUSTOMERS, OTHER_PARK);
        let customer = processes.call(0, dress, (Method::GET, &path, None)).await.expect(200);
        counted += customer["orders_count"].as_u64().unwrap();
    }
    effects.push(counted);
    for effect in effects {
        counts.delivered += effect;
        counts.lost += rounds.saturating_sub(effect);
        counts.doubled += effect.saturating_sub(rounds);
    }
    assert!(orders.iter().all(|order| order.status == "committed"), "all are committed");
    counts
}
