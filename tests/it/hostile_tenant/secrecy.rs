//! The whole server, every operation, with a phone, a name and a licence that are easy to find: they are
//! in no log at whatever level, no metric, no trace, no task, no dead letter and no table but the one that
//! is meant to have an id. Everything is tried while all is well, and again while what is called fails.

use std::cell::RefCell;
use std::rc::Rc;

use fleet::sandbox::Sandbox;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::ids::MARK;
use super::walk::{call, caller, guarded, row_of};
use super::{Ids, Request};
use crate::platform::traces::one_request;
use crate::support::api::Operation;
use crate::support::app::{configuration, start_sandbox};
use crate::support::client::Caller;
use crate::support::database::TestDatabase;
use crate::support::kafka::Kafka;
use crate::support::process::Server;
use crate::support::{PATIENCE, eventually, names_of_series};

const PARK: &str = "park-1";
/// Sees everything, and still takes no longer than a test may.
const LEVEL: &str = "trace,tokio_postgres=trace";

/// What collectors of traces get, in one piece.
#[derive(Clone, Default)]
struct Traces(Rc<RefCell<Vec<u8>>>);

impl Traces {
    /// Listens; the endpoint.
    async fn collect(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}/v1/traces", listener.local_addr().unwrap());
        let taken = Rc::clone(&self.0);
        actix_web::rt::spawn(async move {
            loop {
                let (_, body) = one_request(&listener).await;
                taken.borrow_mut().extend(body);
            }
        });
        endpoint
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.borrow()).into_owned()
    }
}

/// The lines that show one of these words: as it is, its digits alone, or as bytes that are printed as
/// numbers or in hexadecimal digits.
fn leaks<'a>(text: &'a str, words: &[String]) -> Vec<&'a str> {
    let numbers = |word: &String| {
        let bytes: Vec<String> = word.bytes().map(|byte| byte.to_string()).collect();
        bytes.join(", ")
    };
    let hex = |word: &String| word.bytes().map(|byte| format!("{byte:02x}")).collect();
    let all: Vec<String> =
        words.iter().flat_map(|word| [word.clone(), numbers(word), hex(word)]).collect();
    text.lines().filter(|line| all.iter().any(|word| line.contains(word.as_str()))).collect()
}

struct World {
    server: Server,
    sandbox: Sandbox,
    database: TestDatabase,
    kafka: Kafka,
    traces: Traces,
    ids: Ids,
    /// The licence's number, which `personal` alone has.
    license_number: String,
}

impl World {
    async fn start() -> Self {
        let (database, sandbox, kafka) =
            (TestDatabase::create(), start_sandbox(), Kafka::embedded());
        let config = configuration(&database.url(), &sandbox)
            .replace("[kafka]\nbrokers = ''\n", &kafka.config())
            // Names of callers are logged, and are their tokens in other tests.
            .replace("name = 'test-", "name = 'caller-");
        let traces = Traces::default();
        let endpoint = traces.collect().await;
        let env = [
            ("FLEET__TELEMETRY__LOG", LEVEL),
            ("FLEET__TELEMETRY__OTLP_ENDPOINT", &endpoint),
            ("FLEET__TELEMETRY__TRACE_RATIO", "1"),
            ("FLEET__TASKS__POLL_MS", "50"),
            ("FLEET__TASKS__BACKOFF_BASE_MS", "60000"),
            ("FLEET__DEPTRANS_DRIVER_STATUS_INTEGRATION__SENDING__WORKERS", "1"),
        ];
        let server = Server::start(&config, &env).await;
        // The first driver's id is so short that other numbers begin like it.
        let driver = sandbox.driver(1);
        let license = driver.license.expect("a driver with a licence");
        let mut ids = Ids::make(&server.anonymous(), PARK, &driver.driver_id).await;
        (ids.krt_id, ids.license) = (license.krt_id, license.pd_id);
        let license_number = license.number;
        Self { server, sandbox, database, kafka, traces, ids, license_number }
    }

    /// Personal words in every form in which they may be shown.
    fn words(&self) -> Vec<String> {
        let digits = self.ids.phone.trim_start_matches("+7").to_owned();
        vec![digits, self.ids.name.clone(), self.license_number.clone()]
    }

    /// What nobody may see outside of the database, either.
    fn words_of_logs(&self) -> Vec<String> {
        let mut words = self.words();
        words.extend([self.ids.krt_id.clone(), MARK.to_owned(), "wrong-token".to_owned()]);
        words.extend(["test-dispatcher", "test-internal", "test-fleet"].map(str::to_owned));
        words
    }

    /// A caller who waits for a second.
    fn impatient(&self, operation: &Operation) -> Caller {
        let caller = caller(&self.server.anonymous(), operation, &self.ids);
        caller.header("X-Request-Timeout-Ms", "1000")
    }

    /// Every operation as it should be called, what removes things last.
    async fn walk(&self, operations: &[Operation]) {
        let removes = |operation: &&Operation| operation.method == "DELETE";
        let (last, first): (Vec<_>, Vec<_>) = operations.iter().partition(removes);
        for operation in first.into_iter().chain(last) {
            let caller = self.impatient(operation);
            for request in (row_of(operation).expect("a row").requests)(&self.ids) {
                call(&caller, operation, &self.ids, &request).await;
            }
        }
    }

    /// Every operation with personal words wherever a caller can put some.
    async fn mistakes(&self, operations: &[Operation]) {
        let (phone, name) = (&self.ids.phone, &self.ids.name);
        let escaped = phone.replace('+', "%2B");
        for operation in operations {
            let caller = self.impatient(operation);
            let path = operation.path(|_| Some(escaped.as_str()));
            let bodies = [
                json!({ phone.as_str(): name }).to_string(),
                json!({"phone": format!("{phone} {name}"), "name": [phone, name]}).to_string(),
                format!("{{\"phone\": \"{phone}\", \"name\": \"{name}\""),
            ];
            for body in bodies {
                let body = operation.takes_body().then_some(body);
                caller.send(operation.method.clone(), &path, body).await;
            }
            let request = Request { query: format!("{escaped}={escaped}"), body: None };
            call(&caller, operation, &self.ids, &request).await;
            let strange = caller.header("If-Match", phone).header("Idempotency-Key", phone);
            call(&strange, operation, &self.ids, &Request::default()).await;
            for header in ["X-Park-Id", "X-Driver-Profile-Id", "traceparent", "X-Request-Id"] {
                let strange = caller.header(header, phone);
                call(&strange, operation, &self.ids, &Request::default()).await;
            }
            call(&caller.token("wrong-token"), operation, &self.ids, &Request::default()).await;
        }
    }

    /// A message of Kafka that is no event, with all of it.
    async fn dead_letter(&self) {
        let (phone, name) = (&self.ids.phone, &self.ids.name);
        let letter = format!("{{\"driver_id\": \"{phone} {name} {}\"", self.license_number);
        self.kafka.send([(0, letter.as_bytes())]);
        let letters = "SELECT count(*) FROM deptrans.dead_letters";
        eventually("it is kept", async || self.database.count(letters).await == 1).await;
    }

    fn faults(&self, fault: &Value) {
        for upstream in ["personal", "feeds", "parks", "int-api", "krt"] {
            self.sandbox.set_fault(upstream, fault.clone()).unwrap();
        }
    }
}

#[actix_web::test]
async fn nothing_personal_is_kept_or_shown_by_the_whole_server() {
    let mut world = World::start().await;
    let operations = guarded(&world.server.anonymous()).await;
    world.walk(&operations).await;
    world.mistakes(&operations).await;
    world.dead_letter().await;
    // An answer that shows more than it should, and none at all.
    let talkative = json!({"message": format!("{} {}", world.ids.phone, world.ids.name)});
    world.faults(&json!({"kind": "answer", "status": 500, "body": talkative}));
    world.walk(&operations).await;
    world.faults(&json!({ "kind": "close" }));
    world.walk(&operations).await;

    let tasks = "SELECT count(*) FROM task_queue.tasks WHERE kind = 'fleet_customers.erase' \
         OR queue = 'mailings'";
    assert!(world.database.count(tasks).await >= 2, "there are tasks to look at");
    let metrics = names_of_series(&world.server.anonymous().get("metrics").await.text());
    world.server.signal("TERM");
    assert!(world.server.wait(PATIENCE).await.is_some());
    eventually("the traces have come", async || {
        world.traces.text().contains("/customers/find-by-phone")
    })
    .await;
    let (log, traces) = (world.server.output(), world.traces.text());
    let words = world.words_of_logs();
    for (what, text) in [("log", &log), ("metrics", &metrics), ("traces", &traces)] {
        assert_eq!(leaks(text, &words), Vec::<&str>::new(), "in the {what}");
    }
    let labels = [PARK, &world.ids.contractor, &world.ids.personal_phone_id].map(str::to_owned);
    assert_eq!(leaks(&metrics, &labels), Vec::<&str>::new(), "labels are bounded");
    let stored = world.database.dump().await;
    assert_eq!(leaks(&stored, &world.words()), Vec::<&str>::new(), "in the database");
    let secret = [world.ids.krt_id.clone()];
    let elsewhere = |line: &&str| !line.starts_with("deptrans.profiles.deptrans_id: ");
    let shown: Vec<&str> = leaks(&stored, &secret).into_iter().filter(elsewhere).collect();
    assert_eq!(shown, Vec::<&str>::new(), "the id at the regulator has one place");
    assert!(stored.contains(MARK), "the dump shows what there is");
    assert!(log.contains("personal_unavailable"), "trouble was logged");
}
