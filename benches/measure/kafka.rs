//! P3 of docs/performance.md: from Kafka to committed newest statuses, beside a bare loop of rdkafka and
//! beside pgbench running the same statement with batches of a thousand. `make bench PART=kafka` runs it,
//! against the real broker that `KAFKA_BROKERS` names, else an embedded one. It makes a database of its
//! own in the server that `DATABASE_URL` names, and drops it at the end. `QUICK=1`: fewer events.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use fleet::app::App;
use fleet::platform::config::ConfigSource;
use fleet::sandbox::{self, EmbeddedBroker, Sandbox, SandboxOptions};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls};

use crate::report::Row;

const DATABASE: &str = "fleet_bench_kafka";
const DOMAIN: &str = "deptrans-driver-status-integration";
const DRIVERS: usize = 100_000;
const BATCH: usize = 1_000;
const PARTITIONS: i32 = 4;
/// How the server's statement begins.
const STATEMENT: &str = "WITH changed AS (INSERT INTO deptrans.status_queue%";

pub fn run() {
    let quick = std::env::var_os("QUICK").is_some();
    let events = if quick { 100_000 } else { 1_000_000 };
    let runtime = Runtime::new().expect("a runtime");
    let server = std::env::var("DATABASE_URL").expect("DATABASE_URL");
    let (base, _) = server.rsplit_once('/').expect("a database in DATABASE_URL");
    let url = format!("{base}/{DATABASE}");
    let admin = runtime.block_on(connect(&server));
    let run = |sql: String| runtime.block_on(admin.batch_execute(&sql)).unwrap();
    run(format!("DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)"));
    run(format!("CREATE DATABASE {DATABASE}"));

    // The embedded broker keeps a hundred thousand messages of a partition, and not more.
    let real = std::env::var("KAFKA_BROKERS").ok().filter(|brokers| !brokers.is_empty());
    let embedded = real.is_none().then(|| EmbeddedBroker::start().expect("a broker"));
    let events = if embedded.is_some() { events.min(200_000) } else { events };
    let brokers = real.unwrap_or_else(|| embedded.as_ref().unwrap().brokers().to_owned());
    let topic = format!("fleet-bench-{}", std::process::id());
    produce(&brokers, &topic, events);

    let bare = bare_loop(&brokers, &topic, events);
    let server = Server::start(&url, &brokers, &topic);
    let before = (own_cpu(), postgres_cpu());
    let client = runtime.block_on(connect(&url));
    let (rate, statement) = server.consume(events, || runtime.block_on(statement_of(&client)));
    let (own, postgres) = (own_cpu() - before.0, postgres_cpu() - before.1);
    server.stop();
    // ms for a thousand events.
    let per = |cpu: f64| cpu * 1e6 / events as f64;
    Row {
        figure: &format!("P3 {events} events of {DRIVERS} drivers to committed rows"),
        server: format!("{rate:.0}/s"),
        limit: format!("a bare loop that throws them away: {bare:.0}/s"),
        ratio: format!("{:.2}", rate / bare),
        goal: "≥ 50 000/s",
        met: Some(rate >= 50_000.0),
        cpu: format!("{:.1} + {:.1}", per(own), per(postgres)),
        ..Row::default()
    }
    .print();
    Row {
        figure: "P3 CPU of the server to that of PostgreSQL",
        ratio: format!("{:.2}", own / postgres),
        goal: "≤ 1",
        met: Some(own <= postgres),
        ..Row::default()
    }
    .print();
    let batches = runtime.block_on(make_batches(&client));
    for clients in [1, 2] {
        let limit = pgbench(&url, &statement, batches, clients, if quick { 5 } else { 15 });
        let ratio = rate / limit;
        Row {
            figure: "P3 beside batches of 1 000 without Kafka",
            limit: format!("pgbench -c {clients}: {limit:.0}/s"),
            ratio: format!("{ratio:.2}"),
            goal: if clients == 1 { "≥ 0.8" } else { "" },
            met: (clients == 1).then_some(ratio >= 0.8),
            ..Row::default()
        }
        .print();
    }
    drop(client);
    run(format!("DROP DATABASE {DATABASE} WITH (FORCE)"));
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("PostgreSQL");
    tokio::spawn(connection);
    client
}

/// A driver's id, like those of the real ones.
fn driver(number: usize) -> String {
    format!("{:032x}", (number as u128).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
}

/// Events in the order of their times, each driver's own in one partition.
fn produce(brokers: &str, topic: &str, events: usize) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("linger.ms", "20")
        .create()
        .expect("a producer");
    let start: jiff::Timestamp = "2026-03-01T00:00:00Z".parse().unwrap();
    for number in 0..events {
        let who = rand::random::<u32>() as usize % DRIVERS;
        let at = start + Duration::from_millis(number as u64);
        let status = ["online", "busy", "offline"][usize::from(rand::random::<u8>()) % 3];
        let value = format!(
            r#"{{"park_id":"{}","driver_id":"{}","status":"{status}","occurred_at":"{at}","event_id":"{number:032x}"}}"#,
            driver(who % 500),
            driver(who),
        );
        let mut record: BaseRecord<'_, (), str> =
            BaseRecord::to(topic).payload(value.as_str()).partition(who as i32 % PARTITIONS);
        while let Err((_, refused)) = producer.send(record) {
            producer.poll(Duration::from_millis(5));
            record = refused;
        }
    }
    producer.flush(Duration::from_mins(1)).expect("all are written");
}

/// How fast messages can be read and thrown away.
fn bare_loop(brokers: &str, topic: &str, events: usize) -> f64 {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", format!("{topic}-bare"))
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .create()
        .expect("a consumer");
    consumer.subscribe(&[topic]).unwrap();
    let (mut started, mut seen) = (None, 0);
    while seen < events {
        if let Some(Ok(_)) = consumer.poll(Duration::from_secs(1)) {
            started.get_or_insert_with(Instant::now);
            seen += 1;
        }
    }
    events as f64 / started.unwrap().elapsed().as_secs_f64()
}

/// The server in this process: what the process uses is what the server uses.
struct Server {
    addr: SocketAddr,
    stop: tokio::sync::oneshot::Sender<()>,
    thread: std::thread::JoinHandle<()>,
    _sandbox: Sandbox,
}

impl Server {
    fn start(url: &str, brokers: &str, topic: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let sandbox = sandbox::start(listener, &SandboxOptions::default()).unwrap();
        let mut config = format!(
            "domains = ['{DOMAIN}']\n[http]\nlisten = '127.0.0.1:0'\nworkers = 1\ndrain_ms = 0\n\
             [telemetry]\nlog = 'warn'\n[database]\nurl = '{url}'\n\
             [secrets]\ntoken_key = 'YmVuY2gtYmVuY2gtYmVuY2gtYmVuY2gtYmVuY2gtMzI='\n\
             [kafka]\nbrokers = '{brokers}'\ntopic = '{topic}'\ngroup_id = '{topic}'\n\
             batch_messages = {BATCH}\n[{}.sending]\nworkers = 0\n",
            DOMAIN.replace('-', "_")
        );
        for (name, stand_in) in [
            ("krt", "krt"),
            ("personal", "personal"),
            ("driver_profiles", "driver-profiles"),
            ("driver_categories", "driver-categories-api"),
            ("driver_trackstory", "driver-trackstory"),
        ] {
            let base_url = sandbox.base_url(stand_in);
            config += &format!("[upstreams.{name}]\nbase_url = '{base_url}'\ntoken = 'bench'\n");
        }
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (started, wait) = std::sync::mpsc::channel();
        let serve = move || {
            let app = App::build(ConfigSource::texts(vec![config])).expect("the server");
            started.send(app.local_addr().unwrap()).unwrap();
            let stop = async {
                let _ = stopped.await;
            };
            actix_web::rt::System::new().block_on(app.run(stop)).expect("it runs to its end");
        };
        let thread = std::thread::spawn(serve);
        let addr = wait.recv().expect("the server starts");
        Self { addr, stop, thread, _sandbox: sandbox }
    }

    /// Events a second, from the first to the last; and the statement that was seen meanwhile.
    fn consume(&self, events: usize, look: impl Fn() -> Option<String>) -> (f64, String) {
        let (mut first, mut statement) = (None, None);
        loop {
            statement = statement.or_else(&look);
            let done = self.handled();
            if done > 0 && first.is_none() {
                first = Some((Instant::now(), done));
            }
            if done >= events {
                let (started, before) = first.unwrap();
                let rate = (done - before) as f64 / started.elapsed().as_secs_f64();
                return (rate, statement.expect("PostgreSQL shows the statement"));
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    fn handled(&self) -> usize {
        let mut stream = TcpStream::connect(self.addr).unwrap();
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix("kafka_messages_total "));
        value.map_or(0, |value| value.trim().parse::<f64>().unwrap() as usize)
    }

    fn stop(self) {
        let _ = self.stop.send(());
        self.thread.join().expect("it stops");
    }
}

/// The server's own statement, if it runs just now.
async fn statement_of(client: &Client) -> Option<String> {
    let sql = "SELECT query FROM pg_stat_activity WHERE datname = current_database() \
         AND application_name = 'fleet pool' AND query LIKE $1 LIMIT 1";
    client.query_opt(sql, &[&STATEMENT]).await.unwrap().map(|row| row.get(0))
}

/// Batches as the server sends them: distinct drivers in the order of their keys. Returns how many.
async fn make_batches(client: &Client) -> i64 {
    let sql = format!(
        "CREATE TABLE batches AS SELECT n, array_agg(park_id ORDER BY park_id, driver_id) AS parks, \
           array_agg(driver_id ORDER BY park_id, driver_id) AS drivers, \
           array_agg((ARRAY['online', 'busy', 'offline'])[1 + (random() * 2.99)::int % 3]) AS statuses, \
           array_agg(lpad(n::text, 35, '0')) AS ties \
         FROM (SELECT (row_number() OVER (ORDER BY random()) - 1) / {BATCH} AS n, park_id, driver_id \
           FROM deptrans.status_queue) q GROUP BY n HAVING count(*) = {BATCH}; \
         CREATE UNIQUE INDEX ON batches (n); ANALYZE batches"
    );
    client.batch_execute(&sql).await.unwrap();
    client.query_one("SELECT count(*) FROM batches", &[]).await.unwrap().get(0)
}

fn pgbench(url: &str, statement: &str, batches: i64, clients: usize, seconds: usize) -> f64 {
    let mut script = statement.to_owned();
    for (parameter, column) in
        [("$1", "parks"), ("$2", "drivers"), ("$3", "statuses"), ("$5", "ties")]
    {
        let value = format!("(SELECT {column} FROM batches WHERE n = :n)");
        script = script.replace(parameter, &value);
    }
    script = script.replace("$4", "array_fill(clock_timestamp(), ARRAY[1000])").replace("$6", "0");
    let highest = batches - 1;
    let file = std::env::temp_dir().join(format!("fleet-bench-kafka-{}", std::process::id()));
    std::fs::write(
        &file,
        format!("\\set n random(0, {highest})\n{};\n", script.replace('\n', " ")),
    )
    .unwrap();
    let program = std::env::var("PGBENCH").unwrap_or_else(|_| "pgbench".to_owned());
    let output = Command::new(program)
        .args(["-n", "-M", "prepared", "-j", "2", "-c", &clients.to_string()])
        .args(["-T", &seconds.to_string(), "-f"])
        .arg(&file)
        .arg(url)
        .output()
        .expect("pgbench");
    std::fs::remove_file(&file).unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let rate = said.split("tps = ").nth(1).and_then(|rest| rest.split(' ').next()).expect("tps");
    rate.parse::<f64>().unwrap() * BATCH as f64
}

/// Seconds of CPU that this process has used.
fn own_cpu() -> f64 {
    ticks(&format!("/proc/{}/stat", std::process::id()), 11) / 100.0
}

/// Seconds of CPU that PostgreSQL's processes have used, those that ended included.
fn postgres_cpu() -> f64 {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let stats = processes.filter_map(|entry| {
        let name = std::fs::read_to_string(entry.path().join("comm")).ok()?;
        (name.trim() == "postgres").then(|| entry.path().join("stat"))
    });
    stats
        .map(|path| ticks(&path.to_string_lossy(), 11) + ticks(&path.to_string_lossy(), 13))
        .sum::<f64>()
        / 100.0
}

/// Two neighbouring fields of `stat`, counted behind the name.
fn ticks(path: &str, field: usize) -> f64 {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let Some((_, rest)) = text.rsplit_once(") ") else { return 0.0 };
    let fields: Vec<f64> = rest.split(' ').map(|field| field.parse().unwrap_or(0.0)).collect();
    fields.get(field).copied().unwrap_or(0.0) + fields.get(field + 1).copied().unwrap_or(0.0)
}
