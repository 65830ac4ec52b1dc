//! Whatever happens, at whatever level: no phone, no name, no token and no body gets into logs or
//! metrics, and every line is JSON.

use std::process::Command;

use actix_web::http::Method;
use fleet::platform::config::CoreSettings;
use fleet::platform::telemetry::logs;
use serde_json::{Value, json};

use super::DOMAIN;
use crate::support::app::{configuration, start_sandbox};
use crate::support::client::Caller;
use crate::support::database::TestDatabase;
use crate::support::process::Server;
use crate::support::proxy::{Mode, Proxy, host_and_port};
use crate::support::{eventually, names_of_series};

/// The digits that every spelling of the phone has.
const DIGITS: &str = "9161234567";
const SPELLINGS: [&str; 4] =
    ["+79161234567", "8 (916) 123-45-67", "+7 916 123-45-67", "tel:+7-916-123-45-67"];
const NAME: &str = "Аврора Незабудкина";
/// Stands in every body that is sent.
const MARKER: &str = "marker-of-the-body";
const PARK: &str = "park-of-the-logs";
const UPSTREAM_TOKEN: &str = "upstream-token-5512";
const WRONG_TOKEN: &str = "wrong-token-5512";
/// Tokens of callers, which the configuration gives other names.
const TOKENS: [&str; 2] = ["test-dispatcher", "test-internal"];

/// Everything that must not be shown, and how it would look as bytes that are printed as numbers.
fn forbidden() -> Vec<String> {
    let shown_as_bytes = |text: &str| {
        let numbers: Vec<String> = text.bytes().map(|byte| byte.to_string()).collect();
        numbers.join(", ")
    };
    let mut all: Vec<String> =
        NAME.split(' ').chain([MARKER, UPSTREAM_TOKEN, WRONG_TOKEN]).map(str::to_owned).collect();
    all.extend(TOKENS.map(str::to_owned));
    all.extend(NAME.split(' ').chain([MARKER, DIGITS]).map(shown_as_bytes));
    all
}

/// The lines that show what they must not.
fn leaks(text: &str) -> Vec<&str> {
    let forbidden = forbidden();
    let leaks = |line: &&str| {
        let digits: String = line.chars().filter(char::is_ascii_digit).collect();
        digits.contains(DIGITS) || forbidden.iter().any(|secret| line.contains(secret.as_str()))
    };
    text.lines().filter(leaks).collect()
}

/// A process whose database is behind a proxy, and its callers.
struct World {
    server: Server,
    proxy: Proxy,
    sandbox: fleet::sandbox::Sandbox,
    dispatcher: Caller,
    internal: Caller,
    _database: TestDatabase,
}

impl World {
    async fn start(level: &str) -> Self {
        let (database, sandbox) = (TestDatabase::create(), start_sandbox());
        let proxy = Proxy::start(host_and_port(&database.url()).1);
        let mut config = configuration(&proxy.in_front_of(&database.url()), &sandbox);
        for token in TOKENS {
            let named = format!("name = '{token}'");
            config = config.replace(&named, &named.replace("test-", "caller-"));
        }
        let env = [
            ("FLEET__TELEMETRY__LOG", level),
            ("FLEET__UPSTREAMS__PERSONAL__TOKEN", UPSTREAM_TOKEN),
            ("FLEET__UPSTREAMS__PERSONAL__TIMEOUT_MS", "10000"),
            ("FLEET__HTTP__DEFAULT_TIMEOUT_MS", "15000"),
            ("FLEET__HTTP__BODY_LIMIT_BYTES", "4096"),
        ];
        let server = Server::start(&config, &env).await;
        let root = server.anonymous();
        let dispatcher = root.dispatcher(DOMAIN, PARK).header("X-Dispatcher-Id", "471155");
        let internal = root.internal(DOMAIN);
        Self { server, proxy, sandbox, dispatcher, internal, _database: database }
    }

    fn upsert() -> Value {
        json!({
            "park_id": PARK, "phone": SPELLINGS[0], "name": NAME,
            "ordered_at": "2026-11-20T10:00:00Z", "order_options": {"comment": MARKER},
        })
    }

    /// What callers do who do everything right; the passenger's personal phone id.
    async fn usual_work(&self) -> String {
        let dispatcher = &self.dispatcher;
        let keyed = self.internal.header("Idempotency-Key", SPELLINGS[0]);
        let made = keyed.post("customers/upsert", Self::upsert()).await.expect(200);
        let id = made["personal_phone_id"].as_str().expect("an id").to_owned();
        self.internal.post("customers/upsert", Self::upsert()).await.expect(200);
        for phone in &SPELLINGS[..3] {
            let find = json!({"phone": phone});
            dispatcher.post("customers/find-by-phone", find).await.expect(200);
        }
        let profile = format!("customers/{id}");
        assert_eq!(dispatcher.get(&profile).await.expect(200)["name"], NAME);
        let edit = json!({"name": NAME, "sms_enabled": true, "order_options": {"comment": MARKER}});
        dispatcher.put(&profile, edit).await.expect(200);
        dispatcher.patch(&profile, json!({"order_options": {"comment": MARKER}})).await.expect(200);
        let place = json!({"label": MARKER, "address": NAME, "lat": 1.0, "lon": 2.0});
        let places = format!("{profile}/favourite-locations");
        dispatcher.post(&places, place).await.expect(201);
        dispatcher.get("customers?limit=10").await.expect(200);
        let key = json!({"customers": [{"park_id": PARK, "personal_phone_id": id}]});
        self.internal.post("customers/retrieve", key).await.expect(200);
        id
    }

    /// What callers do wrong, with personal data in every place that they can put some.
    async fn mistakes(&self) {
        let [phone, .., other] = SPELLINGS;
        let path = "customers/find-by-phone";
        for body in [
            format!("{{\"phone\": \"{phone}\""),
            format!("{{\"{phone}\": \"{MARKER}\", \"phone\": 5}}"),
            format!("{{\"phone\": \"{other} {NAME} {MARKER}\"}}"),
            format!("\"{phone} {NAME} {MARKER}\""),
            format!("{{\"phone\": \"{phone}{}\"}}", MARKER.repeat(400)),
        ] {
            let reply = self.dispatcher.send(Method::POST, path, Some(body)).await;
            assert!(matches!(reply.status, 400 | 413), "{}", reply.text());
        }
        let mut upsert = Self::upsert();
        upsert["name"] = json!(format!("{NAME}\u{0}{MARKER}"));
        self.internal
            .post("customers/upsert", upsert.clone())
            .await
            .problem(400, "invalid_request");
        upsert["ordered_at"] = json!(phone);
        self.internal.post("customers/upsert", upsert).await.problem(400, "invalid_request");
        for path in [
            "customers/%2B79161234567",
            "customers/79161234567/favourite-locations/79161234567",
            "customers?phone=%2B79161234567",
            "customers?cursor=79161234567",
            "customers?limit=79161234567",
            "+79161234567",
        ] {
            let reply = self.dispatcher.get(path).await;
            assert!(matches!(reply.status, 400 | 404), "{path}: {}", reply.text());
        }
        self.dispatcher.token(WRONG_TOKEN).get("customers").await.problem(401, "unauthenticated");
        self.dispatcher
            .header("X-Park-Id", NAME)
            .get("customers")
            .await
            .problem(400, "invalid_identity");
        let patience = self.dispatcher.header("X-Request-Timeout-Ms", phone);
        patience.get("customers").await;
        let kind = self.dispatcher.header("Content-Type", &format!("text/{MARKER}"));
        kind.post(path, json!({"phone": phone})).await.problem(415, "unsupported_media_type");
        let stale = self.dispatcher.header("If-Match", phone);
        stale
            .put(
                "customers/nobody",
                json!({"name": NAME, "sms_enabled": true, "order_options": null}),
            )
            .await;
    }

    /// The same work while what it depends on fails.
    async fn failures(&self, id: &str) {
        let impatient = |caller: &Caller| caller.header("X-Request-Timeout-Ms", "700");
        let (dispatcher, internal) = (impatient(&self.dispatcher), impatient(&self.internal));
        let find = json!({"phone": SPELLINGS[0]});
        let profile = format!("customers/{id}");
        for fault in [
            json!({"kind": "status", "status": 500}),
            json!({"kind": "status", "status": 404}),
            json!({"kind": "garbage"}),
            json!({"kind": "truncate"}),
            json!({"kind": "close"}),
            json!({"kind": "hang"}),
        ] {
            self.sandbox.set_fault("personal", fault).expect("a fault");
            dispatcher.post("customers/find-by-phone", find.clone()).await;
            internal.post("customers/upsert", Self::upsert()).await;
            dispatcher.get(&profile).await;
        }
        self.sandbox.clear_fault("personal");
        for mode in [Mode::Close, Mode::CutOpenAfter(100), Mode::BlackHole] {
            self.proxy.set(mode);
            dispatcher.post("customers/find-by-phone", find.clone()).await;
            internal.post("customers/upsert", Self::upsert()).await;
            let keyed = internal.header("Idempotency-Key", "another");
            keyed.post("customers/upsert", Self::upsert()).await;
            dispatcher.get(&profile).await;
            let edit = json!({"name": NAME, "sms_enabled": true, "order_options": null});
            dispatcher.put(&profile, edit).await;
            self.proxy.set(Mode::Pass);
        }
        eventually("the database is back", async || dispatcher.get(&profile).await.status == 200)
            .await;
    }
}

async fn nothing_personal_is_shown_at(level: &str) {
    let mut world = World::start(level).await;
    let id = world.usual_work().await;
    world.mistakes().await;
    world.failures(&id).await;
    eventually("a deletion succeeds", async || {
        world.dispatcher.delete(&format!("customers/{id}")).await.status == 204
    })
    .await;
    let metrics = names_of_series(&world.server.anonymous().get("metrics").await.text());
    world.server.signal("TERM");
    assert!(world.server.wait(crate::support::PATIENCE).await.is_some());

    let output = world.server.output();
    assert_eq!(leaks(&output), Vec::<&str>::new(), "in the log at {level}");
    assert_eq!(leaks(&metrics), Vec::<&str>::new(), "in the metrics");
    for label in [id.as_str(), PARK, "471155", "caller-"] {
        assert!(!metrics.contains(label), "{label} in the metrics");
    }
    assert!(metrics.contains("http_requests_total{"), "{metrics}");
    for line in output.lines() {
        let parsed: Result<Value, _> = serde_json::from_str(line);
        assert!(parsed.is_ok_and(|line| line["level"].is_string()), "no JSON: {line}");
    }
    // It did log what went wrong, and with its trace.
    for code in ["personal_unavailable", "database_unavailable"] {
        let told = |line: &&str| line.contains(code) && line.contains("trace_id");
        assert!(output.lines().any(|line| told(&line)), "no {code} in the log:\n{output}");
    }
}

#[actix_web::test]
async fn nothing_personal_is_logged_in_production() {
    nothing_personal_is_shown_at("info").await;
}

#[actix_web::test]
async fn nothing_personal_is_logged_by_whoever_looks_closer() {
    nothing_personal_is_shown_at("debug").await;
}

#[actix_web::test]
async fn nothing_personal_is_logged_by_whoever_wants_to_see_it_all() {
    nothing_personal_is_shown_at("trace,tokio_postgres=trace").await;
}

const PANICS: &str = "FLEET_TEST_PANICS";

#[test]
#[ignore = "run by the next test, in a process of its own"]
fn a_panic_with_a_phone_in_it() {
    if std::env::var_os(PANICS).is_none() {
        return;
    }
    logs::install(&CoreSettings::defaults().unwrap().telemetry).unwrap();
    let panicked = std::thread::spawn(|| panic!("the phone is {}", SPELLINGS[0])).join();
    assert!(panicked.is_err());
}

#[test]
fn a_panic_is_logged_with_its_place_and_without_its_message() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "platform::logs::a_panic_with_a_phone_in_it", "--ignored", "--nocapture"])
        .env(PANICS, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert_eq!(leaks(&text), Vec::<&str>::new());
    let line = text.lines().find(|line| line.contains("\"panic\"")).expect("a line of the panic");
    let line: Value = serde_json::from_str(line).expect("JSON");
    let place = line["place"].as_str().expect("a place");
    assert!(line["level"] == "ERROR" && place.contains("logs.rs:"), "{line}");
}
