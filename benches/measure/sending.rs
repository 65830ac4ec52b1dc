//! How fast statuses leave for a regulator that answers in 10 ms, beside a bare loop of calls to the
//! same stand-in with as many in flight. `make bench PART=sending` runs it. It makes a database of its own in
//! the server that `DATABASE_URL` names, and drops it at the end. `QUICK=1`: fewer statuses.

use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use actix_web::rt::System;
use fleet::app::App;
use fleet::commands;
use fleet::platform::config::ConfigSource;
use fleet::sandbox::{self, Sandbox, SandboxDriver, SandboxOptions};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio_postgres::{Client, NoTls};

use crate::report::Row;

const DATABASE: &str = "fleet_bench_sending";
const MOSCOW: (f64, f64) = (55.75, 37.62);
const WORKERS: usize = 4;
const BATCH: usize = 200;
const CONCURRENCY: usize = 32;

pub fn run() {
    System::new().block_on(measure());
}

async fn measure() {
    let statuses = if std::env::var_os("QUICK").is_some() { 4_000 } else { 20_000 };
    let server = std::env::var("DATABASE_URL").expect("DATABASE_URL");
    let (base, _) = server.rsplit_once('/').expect("a database in DATABASE_URL");
    let url = format!("{base}/{DATABASE}");
    let admin = connect(&server).await;
    for bulk in [false, true] {
        admin
            .batch_execute(&format!("DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)"))
            .await
            .unwrap();
        admin.batch_execute(&format!("CREATE DATABASE {DATABASE}")).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let sandbox = sandbox::start(listener, &SandboxOptions::default()).unwrap();
        let source = configuration(&url, &sandbox, bulk);
        migrate(source.clone());
        let client = connect(&url).await;
        let drivers = fill(&client, &sandbox, statuses).await;
        let slow = json!({"kind": "delay", "ms": 10, "route": "statuses"});
        sandbox.set_fault("krt", slow).unwrap();
        let own = drain(source, &client, &sandbox, statuses).await;
        let limit = bare(&sandbox, &drivers, bulk).await;
        let way = if bulk { format!("bulk of {BATCH}") } else { "one by one".to_owned() };
        Row {
            figure: &format!("{statuses} statuses to a regulator that answers in 10 ms, {way}"),
            server: format!("{own:.0}/s"),
            limit: format!("bare calls: {limit:.0}/s"),
            ratio: format!("{:.2}", own / limit),
            ..Row::default()
        }
        .print();
    }
    admin.batch_execute(&format!("DROP DATABASE {DATABASE} WITH (FORCE)")).await.unwrap();
}

/// Migrations want a runtime of several threads.
fn migrate(source: ConfigSource) {
    let migrate = move || Runtime::new().expect("a runtime").block_on(commands::migrate(&source));
    thread::spawn(migrate).join().expect("it ends").expect("the migrations");
}

fn configuration(url: &str, sandbox: &Sandbox, bulk: bool) -> ConfigSource {
    let upstreams: String = [
        ("personal", "personal"),
        ("driver_profiles", "driver-profiles"),
        ("driver_categories", "driver-categories-api"),
        ("driver_trackstory", "driver-trackstory"),
        ("krt", "krt"),
    ]
    .iter()
    .map(|(name, stand_in)| {
        let base_url = sandbox.base_url(stand_in);
        format!("[upstreams.{name}]\nbase_url = '{base_url}'\ntoken = 'bench'\n")
    })
    .collect();
    ConfigSource::texts(vec![format!(
        "domains = ['deptrans-driver-status-integration']\n\
         [http]\nlisten = '127.0.0.1:0'\n[telemetry]\nlog = 'error'\n[kafka]\nbrokers = ''\n\
         [database]\nurl = '{url}'\n\
         [secrets]\ntoken_key = 'YmVuY2gtYmVuY2gtYmVuY2gtYmVuY2gtYmVuY2gtMzI='\n\
         [deptrans_driver_status_integration.krt]\nlogin = 'fleet'\npassword = 'sandbox'\n\
         calls_per_second = 100000\nburst = 1000\nconcurrency = {CONCURRENCY}\nbulk = {bulk}\n\
         [deptrans_driver_status_integration.sending]\nworkers = {WORKERS}\nbatch = {BATCH}\n\
         {upstreams}"
    )])
}

/// Statuses of drivers whom nothing stops from being reported.
async fn fill(client: &Client, sandbox: &Sandbox, statuses: usize) -> Vec<SandboxDriver> {
    const PACKED: &str = "(CASE WHEN $ ~ '^[0-9a-f]{32}$' THEN '\\x01'::bytea || decode($, 'hex') \
         ELSE convert_to($, 'UTF8') END)";
    sandbox.set_drivers(4 * statuses as u64).unwrap();
    let wanted = ["econom", "comfort", "comfortplus"];
    // Of ten drivers the fifth and the tenth have one licence.
    let drivers: Vec<SandboxDriver> = (0..)
        .filter(|index| !matches!(index % 10, 4 | 9))
        .map(|index| sandbox.driver(index))
        .filter(|driver| {
            driver.license.is_some() && driver.categories.iter().any(|one| wanted.contains(one))
        })
        .take(statuses)
        .collect();
    for driver in &drivers {
        sandbox.set_position(&driver.park_id, &driver.driver_id, Some(MOSCOW)).unwrap();
    }
    let licenses = || drivers.iter().filter_map(|driver| driver.license.as_ref());
    let pd_ids: Vec<&str> = licenses().map(|license| license.pd_id.as_str()).collect();
    let krt_ids: Vec<&str> = licenses().map(|license| license.krt_id.as_str()).collect();
    let parks: Vec<&str> = drivers.iter().map(|driver| driver.park_id.as_str()).collect();
    let ids: Vec<&str> = drivers.iter().map(|driver| driver.driver_id.as_str()).collect();
    let packed = |name: &str| PACKED.replace('$', name).replace(&format!("{{32}}{name}"), "{32}$");
    let bind = format!(
        "INSERT INTO deptrans.profiles (seq, updated_at, driver_license_pd_id, deptrans_id) \
         SELECT place, now(), {}, convert_to(krt, 'UTF8') \
         FROM UNNEST($1::text[], $2::text[]) WITH ORDINALITY AS l(pd, krt, place)",
        packed("pd")
    );
    client.execute(&bind, &[&pd_ids, &krt_ids]).await.unwrap();
    let queue = format!(
        "INSERT INTO deptrans.status_queue \
           (park_id, driver_id, status, occurred_at, tiebreak, queued_at, due_at) \
         SELECT {}, {}, 'online', now(), '000x', now(), now() \
         FROM UNNEST($1::text[], $2::text[]) AS d(park, driver)",
        packed("park"),
        packed("driver")
    );
    client.execute(&queue, &[&parks, &ids]).await.unwrap();
    client.batch_execute("VACUUM ANALYZE deptrans.status_queue, deptrans.profiles").await.unwrap();
    drivers
}

/// Reports a second, from the first that came to the last.
async fn drain(source: ConfigSource, client: &Client, sandbox: &Sandbox, statuses: usize) -> f64 {
    let (stop, stopped) = oneshot::channel::<()>();
    let serve = move || {
        let app = App::build(source).expect("the server");
        let stop = async {
            let _ = stopped.await;
        };
        System::new().block_on(app.run(stop)).expect("it serves");
    };
    let server = thread::spawn(serve);
    let left = "SELECT count(*) FROM deptrans.status_queue WHERE due_at IS NOT NULL";
    while client.query_one(left, &[]).await.unwrap().get::<_, i64>(0) > 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let _ = stop.send(());
    server.join().expect("it ends");
    let reported = sandbox.all_reported();
    assert_eq!(reported.len(), statuses, "each once");
    let (first, last) = (reported.first().unwrap(), reported.last().unwrap());
    statuses as f64 / last.received_at.duration_since(first.received_at).as_secs_f64()
}

/// The same reports again, by nothing but calls.
async fn bare(sandbox: &Sandbox, drivers: &[SandboxDriver], bulk: bool) -> f64 {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = awc::Client::builder()
        .connector(awc::Connector::new().limit(0))
        .disable_redirects()
        .finish();
    let base = sandbox.base_url("krt");
    let login = json!({"login": "fleet", "password": "sandbox"});
    let mut answer = http.post(format!("{base}/api/v1/token")).send_json(&login).await.unwrap();
    let token: Value = answer.json().await.unwrap();
    let bearer = format!("Bearer {}", token["token"].as_str().expect("a token"));
    let item = |(place, driver): (usize, &SandboxDriver)| {
        let license = driver.license.as_ref().expect("a licence");
        json!({
            "driver_id": license.krt_id, "license_number": license.number, "status": "on_line",
            "occurred_at": "2026-03-01T10:00:00Z", "request_id": format!("bare-{place}"),
        })
    };
    let items: Vec<Value> = drivers.iter().enumerate().map(item).collect();
    let (path, bodies, lanes): (_, Vec<Value>, _) = if bulk {
        let bodies = items.chunks(BATCH).map(|items| json!({"items": items})).collect();
        ("/api/v1/statuses/bulk", bodies, WORKERS)
    } else {
        ("/api/v1/statuses", items, CONCURRENCY)
    };
    let started = Instant::now();
    let lane = async |lane: usize| {
        for body in bodies.iter().skip(lane).step_by(lanes) {
            let request = http.post(format!("{base}{path}"));
            let request = request.insert_header(("Authorization", bearer.as_str()));
            let mut answer = request.send_json(body).await.unwrap();
            assert!(answer.status().is_success());
            answer.body().limit(1 << 20).await.unwrap();
        }
    };
    join_all((0..lanes).map(lane)).await;
    drivers.len() as f64 / started.elapsed().as_secs_f64()
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("PostgreSQL");
    actix_web::rt::spawn(connection);
    client
}
