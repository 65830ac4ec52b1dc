//! The id, and the licence's number, are shown nowhere: not in answers, logs at any level, metrics or
//! problems.

use fleet::sandbox::Sandbox;

use super::*;
use crate::support::app::{configuration, start_sandbox};
use crate::support::database::TestDatabase;
use crate::support::names_of_series;
use crate::support::process::Server;
use crate::support::proxy::{Mode, Proxy, host_and_port};

/// Which of these secrets a text shows, as such or as bytes that are printed as numbers.
fn leaks<'a>(text: &'a str, secrets: &[String]) -> Vec<&'a str> {
    let numbers = |secret: &String| {
        let bytes: Vec<String> = secret.bytes().map(|byte| byte.to_string()).collect();
        bytes.join(", ")
    };
    let hex = |secret: &String| secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let all: Vec<String> =
        secrets.iter().flat_map(|secret| [secret.clone(), numbers(secret), hex(secret)]).collect();
    text.lines().filter(|line| all.iter().any(|secret| line.contains(secret.as_str()))).collect()
}

/// A process whose database is behind a proxy.
struct Process {
    server: Server,
    proxy: Proxy,
    sandbox: Sandbox,
    secrets: Vec<String>,
    answers: String,
    _database: TestDatabase,
}

impl Process {
    async fn start(level: &str) -> Self {
        let (database, sandbox) = (TestDatabase::create(), start_sandbox());
        let proxy = Proxy::start(host_and_port(&database.url()).1);
        let config = configuration(&proxy.in_front_of(&database.url()), &sandbox);
        let env = [("FLEET__DOMAINS", DOMAIN), ("FLEET__TELEMETRY__LOG", level)];
        let server = Server::start(&config, &env).await;
        let licenses = [0, 1].map(|index| sandbox.driver(index).license.expect("a licence"));
        let mut secrets = vec!["mistyped-id-77".to_owned(), "bad form 78".to_owned()];
        secrets.extend(licenses.into_iter().flat_map(|license| [license.krt_id, license.number]));
        Self { server, proxy, sandbox, secrets, answers: String::new(), _database: database }
    }

    fn caller(&self, index: u64) -> Caller {
        let driver = self.sandbox.driver(index);
        self.server.anonymous().driver(DOMAIN, &driver.park_id, &driver.driver_id)
    }

    /// What a driver gives, and what he is answered.
    async fn gives(&mut self, index: u64, id: &str) -> u16 {
        let caller = self.caller(index);
        self.gives_as(&caller, id).await
    }

    /// The same of somebody who does not wait for what hangs.
    async fn gives_hastily(&mut self, index: u64, id: &str) -> u16 {
        let caller = self.caller(index).header("X-Request-Timeout-Ms", "1500");
        self.gives_as(&caller, id).await
    }

    async fn gives_as(&mut self, caller: &Caller, id: &str) -> u16 {
        let reply = give(caller, id).await;
        self.answers.push_str(&reply.text());
        self.answers.push('\n');
        reply.status
    }
}

async fn nothing_is_shown_at(level: &str) {
    let mut world = Process::start(level).await;
    let [first, second] = [0, 1].map(|index| world.sandbox.driver(index).license.unwrap());
    assert_eq!(world.gives(0, &first.krt_id).await, 200);
    assert_eq!(world.gives(0, &first.krt_id).await, 200);
    assert_eq!(world.gives(1, &first.krt_id).await, 409);
    assert_eq!(world.gives(1, "mistyped-id-77").await, 422);
    assert_eq!(world.gives(1, "bad form 78").await, 400);
    for fault in [
        json!({"kind": "status", "status": 500}),
        json!({"kind": "status", "status": 401}),
        json!({"kind": "answer", "status": 200, "body": {"match": second.krt_id}}),
        json!({"kind": "garbage"}),
        json!({"kind": "close"}),
        json!({"kind": "hang"}),
    ] {
        for stand_in in ["krt", "personal"] {
            world.sandbox.set_fault(stand_in, fault.clone()).unwrap();
            let status = world.gives_hastily(1, &second.krt_id).await;
            assert!(matches!(status, 503 | 504), "{stand_in} {fault}: {status}");
            world.sandbox.clear_fault(stand_in);
        }
    }
    // The race that only the constraint decides: its message names the id.
    let yes = json!({"kind": "answer", "status": 200, "body": {"match": true},
        "route": "/drivers/check"});
    world.sandbox.set_fault("krt", yes).unwrap();
    eventually("the breakers are closed", async || {
        let reply = give(&world.caller(1), "mistyped-id-77").await;
        reply.status == 200
    })
    .await;
    let callers = [world.caller(0), world.caller(1), world.caller(2)];
    for round in 0..5 {
        let id = format!("contested-id-{round}");
        let replies =
            futures_util::future::join_all(callers.iter().map(|caller| give(caller, &id))).await;
        for reply in replies {
            world.answers.push_str(&reply.text());
            world.answers.push('\n');
        }
        world.secrets.push(id);
    }
    world.proxy.set(Mode::Close);
    eventually("the database's absence is told", async || {
        let text = give(&world.caller(0), &first.krt_id).await.text();
        assert_eq!(leaks(&text, &world.secrets), Vec::<&str>::new());
        text.contains("database_unavailable")
    })
    .await;
    for mode in [Mode::Close, Mode::CutOpenAfter(50), Mode::BlackHole] {
        world.proxy.set(mode);
        for id in [first.krt_id.as_str(), "mistyped-id-77"] {
            world.gives_hastily(0, id).await;
        }
        world.proxy.set(Mode::Pass);
    }
    eventually("the database is back", async || world.caller(0).get(ID).await.status == 200).await;
    let metrics = names_of_series(&world.server.anonymous().get("metrics").await.text());
    world.server.signal("TERM");
    assert!(world.server.wait(crate::support::PATIENCE).await.is_some());
    let output = world.server.output();
    for (what, text) in [("log", &output), ("metrics", &metrics), ("answers", &world.answers)] {
        assert_eq!(leaks(text, &world.secrets), Vec::<&str>::new(), "in the {what} at {level}");
    }
    assert!(metrics.contains("deptrans_bindings_total{"), "{metrics}");
    assert!(world.answers.contains("krt_unavailable"), "{}", world.answers);
}

#[actix_web::test]
async fn no_id_is_shown_in_production() {
    nothing_is_shown_at("info").await;
}

#[actix_web::test]
async fn no_id_is_shown_to_whoever_wants_to_see_it_all() {
    nothing_is_shown_at("trace,tokio_postgres=trace").await;
}
