//! Drivers who go on and off line, and a server that tells the regulator.

use fleet::sandbox::Sandbox;
use fleet::sandbox::{KrtReport, SandboxDriver};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::support::app::{TestApp, configuration, start_sandbox};
use crate::support::client::Caller;
use crate::support::database::TestDatabase;
use crate::support::eventually;
use crate::support::process::Server;

pub const DOMAIN: &str = "deptrans-driver-status-integration";

/// Moscow, and a town that is not.
pub const MOSCOW: (f64, f64) = (55.75, 37.62);
pub const TULA: (f64, f64) = (54.19, 37.62);

/// Drivers that the stand-ins know in these tests.
const DRIVERS: u64 = 2_000;

/// Senders, quick ones.
const SENDING: &str = "[deptrans_driver_status_integration.sending]\n\
     workers = 2\nbatch = 50\npoll_ms = 20\nbackoff_base_ms = 50\nbackoff_max_ms = 200\n\
     [deptrans_driver_status_integration.krt]\n\
     login = 'fleet'\npassword = 'sandbox'\nprobe_ms = 100\ncalls_per_second = 5000\nburst = 50\n\
     [deptrans_driver_status_integration.directory]\nrefresh_ms = 50\n\
     [deptrans_driver_status_integration.supply]\nqueue_ms = 50\nsupply_ms = 50\n\
     [upstreams.krt]\nbreaker_open_ms = 100\n\
     [upstreams.driver_trackstory]\nbreaker_open_ms = 100\n\
     [upstreams.personal]\nbreaker_open_ms = 100\n\
     [deptrans_driver_status_integration]\noutage_after_ms = 300\n";

/// SQL: an id as the database packs it.
fn packed(parameter: &str) -> String {
    format!(
        "(CASE WHEN {parameter} ~ '^[0-9a-f]{{32}}$' THEN '\\x01'::bytea || decode({parameter}, 'hex') \
         ELSE convert_to({parameter}, 'UTF8') END)"
    )
}

/// The series that counts statuses of this fate.
fn fate(outcome: &str, reason: &str) -> String {
    format!("deptrans_statuses_total{{outcome=\"{outcome}\",reason=\"{reason}\"}}")
}

/// What the queue says of a driver.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub waits: bool,
    pub is_taken: bool,
    pub status: String,
    pub reported_on_line: Option<bool>,
    pub attempts: i16,
    pub region: Option<i16>,
}

/// A server in this process, with stand-ins and a database.
pub struct Street {
    pub app: TestApp,
    pub internal: Caller,
}

impl Street {
    pub async fn start() -> Self {
        Self::with("").await
    }

    /// With settings laid over the usual ones.
    pub async fn with(config: &str) -> Self {
        let sandbox = start_sandbox();
        sandbox.set_drivers(DRIVERS).unwrap();
        Self::among(sandbox, config).await
    }

    /// With stand-ins that were started before.
    pub async fn among(sandbox: Sandbox, config: &str) -> Self {
        let builder = TestApp::builder().domains(&[DOMAIN]).config(SENDING).config(config);
        let app = builder.sandbox(sandbox).start().await;
        let internal = app.internal(DOMAIN);
        Self { app, internal }
    }

    /// The same world, whose server was stopped and started again.
    pub async fn restarted(self) -> Self {
        let app = self.app.restarted().await;
        let internal = app.internal(DOMAIN);
        Self { app, internal }
    }

    pub fn sandbox(&self) -> &Sandbox {
        &self.app.sandbox
    }

    pub fn database(&self) -> &TestDatabase {
        self.app.database()
    }

    /// The numbers of drivers whom nothing stops from being reported: they have a licence of their own,
    /// work in a category that counts, and are put in Moscow; their ids are bound.
    pub async fn ready(&self, count: usize) -> Vec<u64> {
        ready(self.sandbox(), self.database(), count).await
    }

    /// Binds a driver's id to his licence.
    pub async fn bind(&self, index: u64) {
        bind(self.database(), &[self.driver(index)]).await;
    }

    pub fn driver(&self, index: u64) -> SandboxDriver {
        self.sandbox().driver(index)
    }

    pub fn place(&self, index: u64, position: Option<(f64, f64)>) {
        let driver = self.driver(index);
        self.sandbox().set_position(&driver.park_id, &driver.driver_id, position).unwrap();
    }

    /// A driver's status changes now.
    pub async fn goes(&self, index: u64, status: &str) {
        self.go(&[(index, status)]).await;
    }

    /// Statuses that change now, one by one.
    pub async fn go(&self, changes: &[(u64, &str)]) {
        go(&self.internal, self.sandbox(), changes).await;
    }

    /// Statuses that have waited for so many seconds, all of them due at once.
    pub async fn have_waited(&self, statuses: &[(u64, &str, i32)]) {
        let drivers: Vec<_> = statuses.iter().map(|(index, ..)| self.driver(*index)).collect();
        let parks: Vec<_> = drivers.iter().map(|driver| driver.park_id.as_str()).collect();
        let ids: Vec<_> = drivers.iter().map(|driver| driver.driver_id.as_str()).collect();
        let words: Vec<_> = statuses.iter().map(|(_, status, _)| *status).collect();
        let seconds: Vec<_> = statuses.iter().map(|(.., seconds)| *seconds).collect();
        let sql = format!(
            "INSERT INTO deptrans.status_queue \
               (park_id, driver_id, status, occurred_at, tiebreak, queued_at, due_at) \
             SELECT {}, {}, status::deptrans.driver_status, at, '000x', at, at \
             FROM UNNEST($1::text[], $2::text[], $3::text[], $4::int[]) AS d(park, driver, status, ago), \
               LATERAL (SELECT now() - make_interval(secs => ago) AS at) t",
            packed("park"),
            packed("driver")
        );
        self.database().query(&sql, &[&parks, &ids, &words, &seconds]).await;
    }

    pub fn reported(&self, index: u64) -> Vec<KrtReport> {
        let driver = self.driver(index);
        driver.license.map_or_else(Vec::new, |license| self.sandbox().reported(&license.krt_id))
    }

    /// Whether he went on line, by what the regulator was told, in order.
    pub fn told(&self, index: u64) -> Vec<bool> {
        self.reported(index).iter().map(|report| report.on_line).collect()
    }

    pub async fn row(&self, index: u64) -> Row {
        let driver = self.driver(index);
        let sql = format!(
            "SELECT due_at IS NOT NULL, lease IS NOT NULL, status::text, reported_on_line, attempts, \
             region FROM deptrans.status_queue WHERE park_id = {} AND driver_id = {}",
            packed("$1"),
            packed("$2")
        );
        let rows = self.database().query(&sql, &[&driver.park_id, &driver.driver_id]).await;
        let row = rows.first().unwrap_or_else(|| panic!("no row of driver {index}"));
        Row {
            waits: row.get(0),
            is_taken: row.get(1),
            status: row.get(2),
            reported_on_line: row.get(3),
            attempts: row.get(4),
            region: row.get(5),
        }
    }

    /// How many wait.
    pub async fn waiting(&self) -> i64 {
        let sql = "SELECT count(*) FROM deptrans.status_queue WHERE due_at IS NOT NULL";
        self.database().count(sql).await
    }

    /// Waits until the caches know what the stand-ins know by now.
    pub async fn caches_have_followed(&self) {
        for (stand_in, route) in [
            ("driver-profiles", "POST /v1/profiles/updates"),
            ("driver-categories-api", "POST /v1/categories/updates"),
        ] {
            let before = self.sandbox().calls(stand_in, route);
            // The one that is under way may have been answered before.
            eventually("the caches follow", async || {
                self.sandbox().calls(stand_in, route) >= before + 3
            })
            .await;
        }
    }

    /// Waits until nothing waits.
    pub async fn drained(&self) {
        eventually("nothing waits to be sent", async || self.waiting().await == 0).await;
    }

    /// How many statuses had this fate, as far as they are counted.
    pub async fn fate(&self, outcome: &str, reason: &str) -> u64 {
        self.app.count(&fate(outcome, reason)).await
    }

    /// So many statuses had this fate, once all are counted.
    pub async fn had_fate(&self, outcome: &str, reason: &str, expected: u64) {
        self.app.counted(&fate(outcome, reason), expected).await;
    }

    /// The state of his shift: status, whether it has an end, and its number.
    pub async fn shift(&self, index: u64) -> Option<(Option<String>, bool, i64)> {
        let license = self.driver(index).license?.pd_id;
        let sql = format!(
            "SELECT session_status::text, ended_at IS NOT NULL, seq FROM deptrans.session_statuses \
             WHERE driver_license_pd_id = {}",
            packed("$1")
        );
        let rows = self.database().query(&sql, &[&license]).await;
        rows.first().map(|row| (row.get(0), row.get(1), row.get(2)))
    }

    /// Lets calls to KRT's routes that hold this text fail so.
    pub fn krt_fault(&self, fault: Value) {
        self.app.fault("krt", fault);
    }

    pub async fn outages(&self) -> Vec<Value> {
        let listed = self.internal.get("krt/outages").await.expect(200);
        listed["items"].as_array().expect("items").clone()
    }
}

/// Whether nothing but his id is missing for him to be reported.
fn counts(driver: &SandboxDriver) -> bool {
    let wanted = ["econom", "comfort", "comfortplus"];
    driver.license.is_some() && driver.categories.iter().any(|one| wanted.contains(one))
}

pub async fn ready(sandbox: &Sandbox, database: &TestDatabase, count: usize) -> Vec<u64> {
    // Of ten drivers the fifth and the tenth have one licence.
    let own = |index: &u64| !matches!(index % 10, 4 | 9);
    let found: Vec<u64> = (0..DRIVERS)
        .filter(own)
        .filter(|index| counts(&sandbox.driver(*index)))
        .take(count)
        .collect();
    assert_eq!(found.len(), count, "there are not so many drivers");
    let drivers: Vec<_> = found.iter().map(|index| sandbox.driver(*index)).collect();
    for driver in &drivers {
        sandbox.set_position(&driver.park_id, &driver.driver_id, Some(MOSCOW)).unwrap();
    }
    bind(database, &drivers).await;
    found
}

async fn bind(database: &TestDatabase, drivers: &[SandboxDriver]) {
    let licenses: Vec<_> = drivers.iter().filter_map(|driver| driver.license.clone()).collect();
    let (pd_ids, krt_ids): (Vec<_>, Vec<_>) =
        licenses.into_iter().map(|license| (license.pd_id, license.krt_id)).unzip();
    let sql = format!(
        "WITH feed AS (UPDATE deptrans.feeds SET last_seq = last_seq + cardinality($1::text[]) \
           WHERE name = 'bindings' RETURNING last_seq) \
         INSERT INTO deptrans.profiles (seq, updated_at, driver_license_pd_id, deptrans_id) \
         SELECT last_seq - place + 1, now(), {}, convert_to(krt, 'UTF8') \
         FROM feed, UNNEST($1::text[], $2::text[]) WITH ORDINALITY AS l(pd, krt, place)",
        packed("pd")
    );
    database.query(&sql, &[&pd_ids, &krt_ids]).await;
}

/// Statuses that change now, one by one, as the intake is told of them.
pub async fn go(internal: &Caller, sandbox: &Sandbox, changes: &[(u64, &str)]) {
    let now = Timestamp::now();
    let event = |(place, (index, status)): (usize, &(u64, &str))| {
        let driver = sandbox.driver(*index);
        let occurred_at = now + SignedDuration::from_micros(i64::try_from(place).unwrap());
        json!({
            "park_id": driver.park_id, "driver_id": driver.driver_id, "status": status,
            "occurred_at": occurred_at, "event_id": format!("{index}-{status}"),
        })
    };
    let events: Vec<Value> = changes.iter().enumerate().map(event).collect();
    for events in events.chunks(1_000) {
        let taken = internal.post("status-events", json!({"events": events})).await.expect(200);
        assert_eq!(taken["rejected"], json!([]), "{taken}");
    }
}

/// Several processes with one database and one regulator.
pub struct Instances {
    pub sandbox: Sandbox,
    pub database: TestDatabase,
    config: String,
}

impl Instances {
    pub fn prepare() -> Self {
        let (database, sandbox) = (TestDatabase::create(), start_sandbox());
        sandbox.set_drivers(DRIVERS).unwrap();
        let config = configuration(&database.url(), &sandbox);
        Self { sandbox, database, config }
    }

    /// One more process, with quick senders and these further variables: names with `FLEET__`, or of the
    /// domain's settings.
    pub async fn start(&self, env: &[(&str, &str)]) -> Server {
        self.start_under(&[], env).await
    }

    /// The same under variables that are none of the server's.
    pub async fn start_under(&self, system: &[(&str, &str)], env: &[(&str, &str)]) -> Server {
        let env = Self::environment(env);
        let env = env.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let env: Vec<_> = system.iter().copied().chain(env).collect();
        Server::start(&self.config, &env).await
    }

    pub fn environment(further: &[(&str, &str)]) -> Vec<(String, String)> {
        const SECTION: &str = "FLEET__DEPTRANS_DRIVER_STATUS_INTEGRATION";
        let usual = [
            ("FLEET__DOMAINS", DOMAIN),
            ("FLEET__UPSTREAMS__KRT__BREAKER_OPEN_MS", "100"),
            ("SENDING__WORKERS", "2"),
            ("SENDING__BATCH", "20"),
            ("SENDING__POLL_MS", "20"),
            ("SENDING__BACKOFF_BASE_MS", "50"),
            ("SENDING__BACKOFF_MAX_MS", "200"),
            ("KRT__LOGIN", "fleet"),
            ("KRT__PASSWORD", "sandbox"),
            ("KRT__PROBE_MS", "100"),
            ("KRT__CALLS_PER_SECOND", "5000"),
            ("OUTAGE_AFTER_MS", "500"),
        ];
        let mut all: Vec<(String, String)> = Vec::new();
        for (key, value) in usual.iter().chain(further) {
            let key = if key.starts_with("FLEET__") {
                (*key).to_owned()
            } else {
                format!("{SECTION}__{key}")
            };
            all.retain(|(known, _)| *known != key);
            all.push((key, (*value).to_owned()));
        }
        all
    }

    pub fn internal(server: &Server) -> Caller {
        server.anonymous().internal(DOMAIN)
    }

    /// Waits until this process has counted something.
    pub async fn has_counted(server: &Server, series: &str) {
        eventually(&format!("{series} is counted"), async || {
            let metrics = server.anonymous().get("metrics").await.text();
            let value =
                metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
            value.is_some_and(|value| value != "0")
        })
        .await;
    }

    pub async fn waiting(&self) -> i64 {
        let sql = "SELECT count(*) FROM deptrans.status_queue WHERE due_at IS NOT NULL";
        self.database.count(sql).await
    }

    pub fn told(&self, index: u64) -> Vec<bool> {
        let license = self.sandbox.driver(index).license.expect("a licence");
        self.sandbox.reported(&license.krt_id).iter().map(|report| report.on_line).collect()
    }
}
