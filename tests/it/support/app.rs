//! The real server, in this process, with a database and a sandbox of its own.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use actix_web::rt::System;
use fleet::app::App;
use fleet::platform::config::ConfigSource;
use fleet::sandbox::{self, Sandbox, SandboxOptions};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use super::client::Caller;
use super::database::TestDatabase;
use super::eventually;

/// Callers of every test server: name, which is the token too, and audiences.
const CALLERS: [(&str, &str); 6] = [
    ("test-dispatcher", "'dispatcher'"),
    ("test-driver", "'driver'"),
    ("test-internal", "'internal'"),
    ("test-other-internal", "'internal'"),
    ("test-takeout", "'takeout'"),
    ("test-all", "'dispatcher', 'driver', 'internal', 'takeout'"),
];

/// `secrets.token_key` of every test server.
pub const TOKEN_KEY: &str = "dGVzdC10ZXN0LXRlc3QtdGVzdC10ZXN0LXRlc3QtMzI=";

/// The outside services, by their names in the configuration, and their stand-ins.
const UPSTREAMS: [(&str, &str); 9] = [
    ("personal", "personal"),
    ("int_api", "int-api"),
    ("fleet_parks", "fleet-parks"),
    ("parks", "parks"),
    ("feeds", "feeds"),
    ("driver_profiles", "driver-profiles"),
    ("driver_categories", "driver-categories-api"),
    ("driver_trackstory", "driver-trackstory"),
    ("krt", "krt"),
];

/// Where no PostgreSQL is.
pub const NO_DATABASE: &str = "postgres://fleet:fleet@127.0.0.1:9/fleet";

/// What a test server differs in from the usual one.
#[derive(Default)]
pub struct Builder {
    config: Vec<String>,
    domains: Option<String>,
    database: Option<TestDatabase>,
    sandbox: Option<Sandbox>,
    without_database: bool,
    does_not_wait: bool,
}

impl Builder {
    /// TOML laid over the rest.
    pub fn config(mut self, toml: impl Into<String>) -> Self {
        self.config.push(toml.into());
        self
    }

    /// A database that was made before (its URL may have been needed for `config`).
    pub fn database(mut self, database: TestDatabase) -> Self {
        self.database = Some(database);
        self
    }

    /// Stand-ins that were started before.
    pub fn sandbox(mut self, sandbox: Sandbox) -> Self {
        self.sandbox = Some(sandbox);
        self
    }

    /// Serves these domains only.
    pub fn domains(mut self, names: &[&str]) -> Self {
        self.domains = Some(format!("domains = {names:?}"));
        self
    }

    /// Has no database: nobody listens where the configuration says that it is.
    pub fn without_database(mut self) -> Self {
        self.without_database = true;
        self
    }

    /// Does not wait until the server is ready.
    pub fn without_waiting(mut self) -> Self {
        self.does_not_wait = true;
        self
    }

    /// Starts it.
    pub async fn start(self) -> TestApp {
        let database =
            self.database.or_else(|| (!self.without_database).then(TestDatabase::create));
        let sandbox = self.sandbox.unwrap_or_else(start_sandbox);
        let url = database.as_ref().map_or_else(|| NO_DATABASE.to_owned(), TestDatabase::url);
        let mut texts = vec![configuration(&url, &sandbox)];
        texts.extend(self.domains);
        texts.extend(self.config);
        let source = ConfigSource::texts(texts);
        let server = Server::start(source.clone());
        let root = Caller::anonymous(format!("http://{}", server.addr));
        let app = TestApp { root, server: Some(server), source, sandbox, database };
        if !self.does_not_wait {
            app.ready().await;
        }
        app
    }
}

/// Keys of `[database]`. A busy machine may take its time: only tests of time-outs have short ones.
pub const PATIENT: &str = "connect_timeout_ms = 10000\nacquire_timeout_ms = 15000\n\
    statement_timeout_ms = 15000\nlock_timeout_ms = 15000\nlane_statement_timeout_ms = 15000\n\
    lane_lock_timeout_ms = 15000\n";

/// The section of a server that has no broker.
const NO_BROKER: &str = "[mqtt]\nurl = 'mqtt://127.0.0.1:9'\n";

/// The configuration of a test server; a process under test can be given it as a file.
pub fn configuration(database: &str, sandbox: &Sandbox) -> String {
    configuration_at(database, sandbox, NO_BROKER)
}

/// The same of one that uses the broker of this section `[mqtt]`.
pub fn configuration_at(database: &str, sandbox: &Sandbox, mqtt: &str) -> String {
    let mut text = format!(
        "[http]\nlisten = '127.0.0.1:0'\nworkers = 2\ndefault_timeout_ms = 20000\ndrain_ms = 0\n\
         grace_ms = 5000\nfinish_ms = 10000\n\
         [telemetry]\nlog = 'warn'\n\
         [database]\nurl = '{database}'\npool_size = 8\n{PATIENT}\
         [kafka]\nbrokers = ''\n\
         {mqtt}\
         [secrets]\ntoken_key = '{TOKEN_KEY}'\n\
         [deptrans_driver_status_integration.krt]\nlogin = 'fleet'\npassword = 'sandbox'\n\
         [deptrans_driver_status_integration.sending]\nworkers = 0\n"
    );
    for (name, stand_in) in UPSTREAMS {
        let base_url = sandbox.base_url(stand_in);
        write!(
            text,
            "[upstreams.{name}]\nbase_url = '{base_url}'\ntoken = 'test-fleet'\n\
             connect_timeout_ms = 5000\ntimeout_ms = 10000\n"
        )
        .expect("a text takes it");
    }
    for (name, audiences) in CALLERS {
        let digest = Sha256::digest(name.as_bytes());
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        write!(
            text,
            "[[auth.callers]]\nname = '{name}'\ntoken_sha256 = '{digest}'\naudiences = [{audiences}]\n"
        )
        .expect("a text takes it");
    }
    text
}

/// Stand-ins on a free port.
pub fn start_sandbox() -> Sandbox {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    sandbox::start(listener, &SandboxOptions::default()).expect("the sandbox")
}

/// A running server; stopped, and its database dropped, with this value.
pub struct TestApp {
    root: Caller,
    server: Option<Server>,
    source: ConfigSource,
    pub sandbox: Sandbox,
    database: Option<TestDatabase>,
}

impl TestApp {
    /// Starts the usual server.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.server.as_ref().expect("a server that was not stopped").addr
    }

    /// Its database; a server that was started without one has none to ask for.
    #[track_caller]
    pub fn database(&self) -> &TestDatabase {
        self.database.as_ref().expect("a server with a database")
    }

    /// Waits until it serves and everything it depends on is well; but for brokers, of which most tests
    /// have none.
    pub async fn ready(&self) {
        let is_well = |row: &Value| row["status"] == "ok";
        let is_broker = |row: &Value| row["name"] == "mqtt" || row["name"] == "kafka";
        eventually("/readyz says ready", async || {
            let answer = self.root.try_send(actix_web::http::Method::GET, "readyz", None).await;
            answer.is_ok_and(|reply| {
                let state = reply.json();
                let rows = |what: &str| state[what].as_array().cloned().unwrap_or_default();
                let mut dependencies = rows("dependencies");
                dependencies.retain(|row| !is_broker(row));
                reply.status == 200
                    && rows("domains").iter().all(is_well)
                    && dependencies.iter().all(is_well)
            })
        })
        .await;
    }

    /// Waits until a broker is connected, too.
    pub async fn connected(&self, broker: &str) {
        eventually("/readyz names the broker as well", async || {
            let state = self.root.get("readyz").await.json();
            let rows = state["dependencies"].as_array().cloned().unwrap_or_default();
            rows.iter().any(|row| row["name"] == broker && row["status"] == "ok")
        })
        .await;
    }

    /// Stops it gracefully; the database stays until this value is dropped.
    pub fn stop(&mut self) {
        drop(self.server.take());
    }

    /// Stops it and starts it again, with the same database and stand-ins and on another port.
    pub async fn restarted(mut self) -> Self {
        self.stop();
        let server = Server::start(self.source.clone());
        self.root = Caller::anonymous(format!("http://{}", server.addr));
        self.server = Some(server);
        self.ready().await;
        self
    }

    /// A caller without a token, with paths from the root.
    pub fn anonymous(&self) -> Caller {
        self.root.clone()
    }

    /// A dispatcher of `park`; paths are below the domain's routes for dispatchers.
    pub fn dispatcher(&self, domain: &str, park: &str) -> Caller {
        self.root.dispatcher(domain, park)
    }

    /// A driver of `park`; paths are below the domain's routes for drivers.
    pub fn driver(&self, domain: &str, park: &str, id: &str) -> Caller {
        self.root.driver(domain, park, id)
    }

    /// Another service.
    pub fn internal(&self, domain: &str) -> Caller {
        self.root.internal(domain)
    }

    /// Whoever has this token.
    pub fn caller(&self, token: &str, domain: &str, audience: &str) -> Caller {
        self.root.of(token, domain, audience)
    }

    /// Sets the fault of a stand-in.
    #[track_caller]
    pub fn fault(&self, stand_in: &str, fault: Value) {
        self.sandbox.set_fault(stand_in, fault).expect("a fault that there is");
    }

    /// The value of a metric's line; 0 when there is no such line.
    pub async fn metric(&self, series: &str) -> f64 {
        let text = self.root.get("metrics").await.text();
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().expect("a number"))
    }

    /// The same of a metric that counts whole things.
    pub async fn count(&self, series: &str) -> u64 {
        format!("{:.0}", self.metric(series).await).parse().expect("a count")
    }

    /// Waits until so many are counted, and asserts that no more are. Much is counted a moment after
    /// it can be seen otherwise.
    pub async fn counted(&self, series: &str, count: u64) {
        let what = format!("{series} is {count}");
        eventually(&what, async || self.count(series).await >= count).await;
        assert_eq!(self.count(series).await, count, "{series}");
    }
}

/// A server on a thread of its own.
struct Server {
    addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(source: ConfigSource) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (started, wait) = mpsc::channel();
        let serve = move || {
            let app = match App::build(source) {
                Ok(app) => app,
                Err(error) => {
                    let _ = started.send(Err(format!("{error:#}")));
                    return;
                }
            };
            let _ = started.send(app.local_addr().map_err(|error| error.to_string()));
            let stop = async {
                let _ = stopped.await;
            };
            System::new().block_on(app.run(stop)).expect("the server runs to its end");
        };
        let thread = thread::Builder::new().name("test-app".into()).spawn(serve).expect("a thread");
        let addr = wait.recv().expect("the server says how it started");
        let addr = addr.unwrap_or_else(|error| panic!("the server does not start: {error}"));
        Self { addr, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        let ended = self.thread.take().map(JoinHandle::join);
        if let Some(Err(_)) = ended
            && !thread::panicking()
        {
            panic!("the server panicked");
        }
    }
}
