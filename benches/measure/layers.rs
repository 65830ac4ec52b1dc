//! What each layer around a handler costs: the route of a customer's lookup with a handler that does nothing,
//! first bare, then with one layer more each time. `make bench PART=layers` runs it. `QUICK=1`: shorter.
//!
//! Each step is a process of its own (this program, called with the step's name), so that CPU is counted for it
//! alone; all run at once, and one is called at a time.

use std::future::Future;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use actix_web::dev::Server;
use actix_web::middleware::from_fn;
use actix_web::web::{self, Bytes};
use actix_web::{App, HttpResponse, HttpServer};
use fleet::platform::config::{ConfigSource, CoreSettings};
use fleet::platform::http::body::Json;
use fleet::platform::http::identity::Internal;
use fleet::platform::http::{HttpState, Mount, RequestSpan, pipeline};
use fleet::platform::ids::{ParkId, PersonalId};
use fleet::platform::readiness::{Readiness, ReadinessSource};
use fleet::platform::telemetry::logs;
use fleet::platform::telemetry::metrics::Metrics;
use garde::Validate;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tracing_actix_web::TracingLogger;

use crate::report::Row;

const TOKEN: &str = "bench";
const DOMAIN: &str = "fleet-customers";
const ROUTE: &str = "/internal/v1/customers/retrieve";
/// As long as the usual answer of a lookup.
const ANSWER: &str = r#"{"items":[{"park_id":"7ad36bc7560449998acbe2c57a75c293","personal_phone_id":"0123456789abcdef0123456789abcdef","version":1,"orders_count":1,"sms_enabled":true,"order_options":{"classes":["econom"],"payment_type":"cash"},"favourite_locations":[],"recurring_routes":[],"first_order_at":"2026-11-26T10:00:00Z","last_order_at":"2026-11-26T10:00:00Z"}]}"#;
/// What is added, from the inside out.
const STEPS: [(&str, &str); 6] = [
    ("bare", "actix-web alone: route, body, answer"),
    ("body", "the JSON body, read and checked"),
    ("span", "ids and the request's span, logs off"),
    ("logs", "logs at info"),
    ("pipeline", "admission, deadline, panics, problem answers, metrics"),
    ("token", "the caller's token and audience"),
];

/// All steps, or, as `layers STEP`, a server with the layers of one.
pub fn run(step: Option<&str>) {
    match step {
        Some(step) => serve(step),
        None => measure(),
    }
}

// One step, as a server.

/// The body of a lookup, as fleet-customers has it.
#[derive(Deserialize, Validate)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only read and checked")]
struct Retrieve {
    #[garde(length(min = 1, max = 500))]
    customers: Vec<CustomerKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only read and checked")]
struct CustomerKey {
    park_id: ParkId,
    personal_phone_id: PersonalId,
}

struct AlwaysReady;

impl ReadinessSource for AlwaysReady {
    fn readiness(&self) -> Pin<Box<dyn Future<Output = Readiness> + '_>> {
        Box::pin(async { Readiness::of(Vec::new(), Vec::new()) })
    }
}

fn state() -> web::Data<HttpState> {
    let token: String = Sha256::digest(TOKEN).iter().map(|byte| format!("{byte:02x}")).collect();
    let text = format!(
        "domains = [\"{DOMAIN}\"]\n[[auth.callers]]\nname = \"bench\"\ntoken_sha256 = \"{token}\"\naudiences = [\"internal\"]\n"
    );
    let config = ConfigSource::texts(vec![text]).load().unwrap();
    let core = CoreSettings::read(&config, &fleet::app::KNOWN).unwrap();
    let mount: Mount = Arc::new(|_| ());
    let (metrics, ready) = (Metrics::with_process(), Arc::new(AlwaysReady));
    web::Data::new(HttpState::new(core.http, &core.auth, metrics, vec![DOMAIN], ready, mount))
}

fn answer() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(ANSWER)
}

async fn bare(_: Bytes) -> HttpResponse {
    answer()
}

async fn body(_: Json<Retrieve>) -> HttpResponse {
    answer()
}

async fn authorised(_: Internal, _: Json<Retrieve>) -> HttpResponse {
    answer()
}

fn serve(step: &str) {
    if !matches!(step, "bare" | "body" | "span") {
        logs::install(&CoreSettings::defaults().unwrap().telemetry).unwrap();
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    actix_web::rt::System::new().block_on(async {
        let server = server(step, listener);
        println!("LISTENS {address}");
        std::io::stdout().flush().unwrap();
        // Ends with the one who started it.
        let handle = server.handle();
        std::thread::spawn(move || {
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            drop(handle.stop(false));
            std::process::exit(0);
        });
        server.await.unwrap();
    });
}

fn server(step: &str, listener: TcpListener) -> Server {
    let state = state();
    macro_rules! with {
        ($handler:ident $(, $layer:expr)*) => {
            HttpServer::new(move || {
                let scope = web::scope(DOMAIN).route(ROUTE, web::post().to($handler));
                App::new().app_data(state.clone()).service(scope)$(.wrap($layer))*
            })
            .workers(2)
            .disable_signals()
            .listen(listener)
            .unwrap()
            .run()
        };
    }
    let span = TracingLogger::<RequestSpan>::new;
    match step {
        "bare" => with!(bare),
        "body" => with!(body),
        "span" | "logs" => with!(body, span()),
        "pipeline" => with!(body, from_fn(pipeline), span()),
        "token" => with!(authorised, from_fn(pipeline), span()),
        _ => panic!("there is no step {step}"),
    }
}

// All steps, measured.

struct Step {
    process: Child,
    address: String,
}

impl Step {
    fn start(name: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["layers", name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("LISTENS ").map(str::to_owned))
            .expect("an address");
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, address }
    }

    /// User and system time so far, in ms.
    fn cpu_ms(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        // Ticks of 10 ms, as Linux counts them for programs (proc(5)).
        (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) * 10.0
    }

    fn call(&self, requests: &str, seconds: u32) -> Call {
        let before = self.cpu_ms();
        let out = Command::new("wrk")
            .args(["-t2", "-c64", &format!("-d{seconds}s"), "-s", "benches/updates.lua"])
            .args([&format!("http://{}", self.address), "--", requests, TOKEN])
            .output()
            .unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("RESULT ")).expect("a result");
        let result: Value = serde_json::from_str(line).unwrap();
        assert_eq!(result["failed"], 0, "{line}");
        let number = |name: &str| result[name].as_f64().unwrap();
        Call {
            rate: number("requests") / number("seconds"),
            cpu: (self.cpu_ms() - before) / number("requests") * 1000.0,
            p50: number("p50_ms"),
            p99: number("p99_ms"),
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// One round of one step; CPU in ms for 1 000 requests.
struct Call {
    rate: f64,
    cpu: f64,
    p50: f64,
    p99: f64,
}

fn middle(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn measure() {
    let (rounds, seconds) = if std::env::var_os("QUICK").is_some() { (3, 2) } else { (7, 5) };
    let requests = std::env::temp_dir().join(format!("fleet-layers-{}", std::process::id()));
    let key = r#"{"park_id":"7ad36bc7560449998acbe2c57a75c293","personal_phone_id":"0123456789abcdef0123456789abcdef"}"#;
    std::fs::write(&requests, format!("POST /{DOMAIN}{ROUTE} {{\"customers\":[{key}]}}\n"))
        .unwrap();
    let file = requests.to_str().unwrap();
    let steps: Vec<Step> = STEPS.iter().map(|(name, _)| Step::start(name)).collect();
    let mut results: Vec<Vec<Call>> = STEPS.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        eprintln!("==> layers: round {} of {rounds}", round + 1);
        // Every other time backwards.
        for turn in 0..steps.len() {
            let step = if round % 2 == 0 { turn } else { steps.len() - 1 - turn };
            results[step].push(steps[step].call(file, seconds));
        }
    }
    let _ = std::fs::remove_file(&requests);
    for (step, (_, title)) in STEPS.iter().enumerate() {
        print(step, title, &results);
    }
}

fn print(step: usize, title: &str, results: &[Vec<Call>]) {
    let calls = &results[step];
    let (limit, ratio) = match step.checked_sub(1) {
        Some(before) => {
            let pairs = || calls.iter().zip(&results[before]);
            let more = middle(pairs().map(|(with, without)| with.cpu - without.cpu));
            let ratio = middle(pairs().map(|(with, without)| with.cpu / without.cpu));
            (format!("without it: {more:+.1} ms CPU / 1 000"), format!("{ratio:.2} of the CPU"))
        }
        None => (String::new(), String::new()),
    };
    Row {
        figure: &format!("layers: {}{title}", if step == 0 { "" } else { "+ " }),
        server: format!("{:.0}/s", middle(calls.iter().map(|call| call.rate))),
        limit,
        ratio,
        cpu: format!("{:.1}", middle(calls.iter().map(|call| call.cpu))),
        latency: format!(
            "{:.2} / {:.2}",
            middle(calls.iter().map(|call| call.p50)),
            middle(calls.iter().map(|call| call.p99))
        ),
        ..Row::default()
    }
    .print();
}
