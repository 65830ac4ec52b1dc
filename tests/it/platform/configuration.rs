//! The command line, as an operator sees it: what is wrong is said at once and in full, and no
//! secret is ever shown.

use std::net::{SocketAddr, TcpListener};

use actix_web::http::Method;
use fleet::sandbox::Sandbox;
use serde_json::Value;

use super::DOMAIN;
use crate::support::PATIENCE;
use crate::support::app::{TOKEN_KEY, configuration, start_sandbox};
use crate::support::database::TestDatabase;
use crate::support::mosquitto::{Mosquitto, SERVER, SERVER_PASSWORD};
use crate::support::ports::free_port;
use crate::support::process::{Ended, Server, run, run_unread};

const SECRET: &str = "hunter2-s3cret";

/// What no default can give.
fn needed() -> String {
    format!("[secrets]\ntoken_key = '{TOKEN_KEY}'\n")
}

fn world() -> (TestDatabase, Sandbox, String) {
    let (database, sandbox) = (TestDatabase::create(), start_sandbox());
    // A test's server stops sooner than a cabinet may answer; what is checked here is sound.
    let config = configuration(&database.url(), &sandbox).replacen("grace_ms = 5000\n", "", 1);
    (database, sandbox, config)
}

#[track_caller]
fn assert_says(ended: &Ended, code: i32, texts: &[&str]) {
    assert_eq!(ended.code(), Some(code), "{ended:#?}");
    for text in texts {
        assert!(ended.output().contains(text), "no {text:?} in {ended:#?}");
    }
}

#[test]
fn every_fault_is_told_in_one_go_with_the_nearest_names() {
    let config = "domain = ['fleet-customers']\n\
         [http]\nlisen = '127.0.0.1:1'\nbody_limit_bytes = 1\nworkers = -1\n\
         [databse]\nurl = 'x'\n\
         [database]\npool_sise = 5\nacquire_timeout_ms = 0\nurl = 'mysql://host'\n\
         [telemetry]\ntrace_ratio = 2.0\n\
         [fleet_customers]\nmax_route = 5\ndefault_region = 'Atlantis'\n\
         [upstreams.personal]\nbase_url = 'ftp://host'\ntimeout = 5\n\
         [upstreams.personnel]\nbase_url = 'http://host'\n\
         [[auth.callers]]\nname = ''\ntoken_sha256 = 'abc'\naudiences = []\n";
    let ended = run(&["check-config"], config, &[]);
    assert_says(
        &ended,
        1,
        &[
            "domain: unknown key; did you mean `domains`?",
            "http.lisen: unknown key; did you mean `listen`?",
            "http.body_limit_bytes: ",
            "http.workers: ",
            "databse: unknown key; did you mean `database`?",
            "database.pool_sise: unknown key; did you mean `pool_size`?",
            "database.acquire_timeout_ms: ",
            "database.url: must begin with postgres://",
            "telemetry.trace_ratio: ",
            "fleet_customers.max_route: unknown key; did you mean `max_routes`?",
            "fleet_customers.default_region: ",
            "upstreams.personal.base_url: must begin with http://",
            "upstreams.personal.timeout: unknown key; did you mean `timeout_ms`?",
            "upstreams.personnel: unknown key; did you mean `personal`?",
            "auth.callers[0].token_sha256: ",
        ],
    );
    assert!(ended.stdout.is_empty(), "{ended:?}");
}

#[test]
fn a_valid_configuration_is_said_to_be() {
    let (_database, _sandbox, config) = world();
    assert_says(&run(&["check-config"], &config, &[]), 0, &["valid"]);
    assert_says(&run(&["check-config"], &needed(), &[]), 0, &["valid"]);
    let missing = ["secrets.token_key: must be ", "; deptrans-driver-status-integration needs it"];
    assert_says(&run(&["check-config"], "", &[]), 1, &missing);
    let without = [("FLEET__DOMAINS", "fleet-customers,fleet-communications")];
    assert_says(&run(&["check-config"], "", &without), 0, &["valid"]);
}

#[test]
fn a_file_that_is_missing_or_broken_is_told_with_its_name() {
    let ended = run(&["check-config", "--config", "/nowhere/fleet.toml"], "", &[]);
    assert_says(&ended, 1, &["/nowhere/fleet.toml"]);
    let ended = run(&["check-config"], "[http\n", &[]);
    assert_says(&ended, 1, &["fleet.toml", "line 1"]);
}

#[test]
fn the_environment_wins_over_the_file_and_later_files_over_earlier_ones() {
    let config = &format!("{}[http]\nworkers = -1\n[database]\npool_size = 0\n", needed());
    let mended = [("FLEET__HTTP__WORKERS", "1"), ("FLEET__DATABASE__POOL_SIZE", "5")];
    assert_says(&run(&["check-config"], config, &mended), 0, &["valid"]);
    let broken = [("FLEET__HTTP__WORKERS", "many")];
    assert_says(&run(&["check-config"], "[http]\nworkers = 1\n", &broken), 1, &["http.workers: "]);

    let folder = crate::support::process::Folder::make();
    let earlier = folder.file("earlier.toml", config);
    let earlier = earlier.to_str().expect("a path");
    let mended = "[http]\nworkers = 1\n[database]\npool_size = 5\n";
    assert_says(&run(&["check-config", "--config", earlier], mended, &[]), 0, &["valid"]);
}

#[test]
fn a_value_of_another_kind_is_told_for_every_section() {
    let config = needed()
        + "[http]\nworkers = 1.5\nmax_in_flight = true\n[database]\nmigrate_at_start = 1\n\
           url = 5432\n[tasks]\nthreads = '2'\n[fleet_customers]\nmax_routes = 2.5\n\
           [upstreams.personal]\nattempts = 1.5\n[scooter_accumulator]\nhistory_days = 3000000000\n";
    let said = [
        "http.workers: must be a whole number that is not negative; found a number with a decimal point",
        "http.max_in_flight: must be a whole number that is not negative; found true or false",
        "database.migrate_at_start: must be true or false; found a whole number",
        "database.url: must be a text; found a whole number",
        "tasks.threads: must be a whole number that is not negative; found a text",
        "fleet_customers.max_routes: must be a whole number",
        "upstreams.personal.attempts: must be a whole number",
        "scooter_accumulator.history_days: must be a whole number between ",
    ];
    assert_says(&run(&["check-config"], &config, &[]), 1, &said);
    let rounded = [("FLEET__HTTP__WORKERS", "1.5"), ("FLEET__HTTP__MAX_IN_FLIGHT", "true")];
    let said = ["http.workers: must be", "http.max_in_flight: must be"];
    assert_says(&run(&["check-config"], &needed(), &rounded), 1, &said);
}

#[test]
fn a_number_that_nothing_can_hold_is_told_with_its_file_and_key() {
    for (number, limit) in [
        ("9223372036854775808", "at most 9223372036854775807"),
        ("-9223372036854775809", "at least -9223372036854775808"),
    ] {
        let config = needed() + &format!("[http]\nbody_limit_bytes = {number}\n");
        let said = format!(".toml: http.body_limit_bytes: must be {limit}");
        assert_says(&run(&["check-config"], &config, &[]), 1, &[&said]);
    }
}

#[test]
fn a_grace_that_would_cut_an_execution_is_told() {
    let short = [("FLEET__HTTP__GRACE_MS", "10000")];
    let said = ["scooter_accumulator.commands.answer_ms: ", "12000 ms", "http.grace_ms (10000)"];
    assert_says(&run(&["check-config"], &needed(), &short), 1, &said);
    let alone = [short[0], ("FLEET__DOMAINS", "fleet-customers")];
    assert_says(&run(&["check-config"], &needed(), &alone), 0, &["valid"]);
}

#[test]
fn unknown_variables_of_ours_are_refused_and_others_ignored() {
    let unknown = [("FLEET__HTTP__LISEN", "127.0.0.1:1"), ("FLEET__DATABSE__URL", "x")];
    let said = ["http.lisen: unknown key; did you mean `listen`?", "databse: unknown key"];
    assert_says(&run(&["check-config"], "", &unknown), 1, &said);
    let others = [("FLEET_TEST_DATABASE_URL", "x"), ("FLEETING", "x"), ("HTTP__LISEN", "x")];
    assert_says(&run(&["check-config"], &needed(), &others), 0, &["valid"]);
    let domains = [("FLEET__DOMAINS", "fleet-customers")];
    assert_says(&run(&["check-config"], "", &domains), 0, &["valid"]);
    let domains = [("FLEET__DOMAINS", "fleet-costumers")];
    assert_says(&run(&["check-config"], "", &domains), 1, &["domains: "]);
}

/// Secrets where they belong, and where people put them by mistake.
fn misplaced() -> Vec<(&'static str, String)> {
    let url = format!("postgres://fleet:{SECRET}@127.0.0.1:9/fleet");
    vec![
        (
            "in their places",
            format!("[database]\nurl = '{url}'\n[upstreams.personal]\ntoken = '{SECRET}'\n"),
        ),
        (
            "under a misspelt key",
            format!(
                "[database]\npasword = '{SECRET}'\nurll = '{url}'\n[upstreams.personal]\ntokn = '{SECRET}'\n"
            ),
        ),
        (
            "in a misspelt section",
            format!("[databse]\nurl = '{url}'\n[upstream]\ntoken = '{SECRET}'\n"),
        ),
        ("at the top", format!("url = '{url}'\ntoken = '{SECRET}'\npassword = '{SECRET}'\n")),
        ("with the wrong scheme", format!("[database]\nurl = 'postgre://fleet:{SECRET}@h/d'\n")),
        ("without a scheme", format!("[database]\nurl = 'fleet:{SECRET}@h/d'\n")),
        (
            "in an address that cannot be read",
            format!("[database]\nurl = 'postgres://fleet:{SECRET}@h:port/d'\n"),
        ),
        ("in the place of a number", format!("[database]\npool_size = '{SECRET}'\n")),
        ("in the place of a list", format!("[auth]\ncallers = '{SECRET}'\n")),
        ("in the place of a flag", format!("[database]\nmigrate_at_start = '{SECRET}'\n")),
        ("in the place of an address", format!("[http]\nlisten = '{url}'\n")),
        ("in the place of a filter", format!("[telemetry]\nlog = '{SECRET}=[{url}'\n")),
        ("in the place of a collector", format!("[telemetry]\notlp_endpoint = '{url}'\n")),
        (
            "in the address of a service",
            format!("[upstreams.personal]\nbase_url = 'http://user:{SECRET}@h'\n"),
        ),
        (
            "in the place of a digest",
            format!(
                "[[auth.callers]]\nname = 'a'\ntoken_sha256 = '{SECRET}'\naudiences = ['internal']\n"
            ),
        ),
        (
            "under a caller's misspelt key",
            format!("[[auth.callers]]\nname = 'a'\ntoken = '{SECRET}'\naudiences = ['internal']\n"),
        ),
        (
            "in the place of an audience",
            format!(
                "[[auth.callers]]\nname = 'a'\ntoken_sha256 = '{}'\naudiences = ['{SECRET}']\n",
                "a".repeat(64)
            ),
        ),
        ("without quotes", format!("[database]\nurl = {url}\n")),
        ("without the closing quote", format!("[upstreams.personal]\ntoken = '{SECRET}\n")),
        ("in the place of a section", format!("database = '{url}'\nupstreams = '{SECRET}'\n")),
        (
            "in a list",
            format!("[upstreams.personal]\ntoken = ['{SECRET}']\n[database]\nurl = ['{url}']\n"),
        ),
        ("in a token of two lines", format!("[upstreams.personal]\ntoken = \"a\\n{SECRET}\"\n")),
    ]
}

#[test]
fn secrets_are_never_shown_wherever_they_were_put() {
    // Side by side, for `doctor` mostly waits.
    let tried: Vec<_> = misplaced()
        .into_iter()
        .map(|(place, config)| {
            std::thread::spawn(move || {
                ["check-config", "doctor", "migrate"].map(|command| {
                    let ended = run(&[command], &config, &[]);
                    (format!("{place}, by {command}: {}", ended.output()), ended.output())
                })
            })
        })
        .collect();
    let said = tried.into_iter().flat_map(|thread| thread.join().expect("it ran"));
    let mut shown: Vec<String> =
        said.filter(|(_, output)| output.contains(SECRET)).map(|(shown, _)| shown).collect();
    for (name, place) in [
        ("FLEET__DATABASE__PASSWORD", "misspelt variable"),
        ("FLEET__DATABASE__POOL_SIZE", "variable of a number"),
        ("FLEET__UPSTREAMS__PERSONAL__TOKN", "misspelt token"),
        ("FLEET__DATABASE", "variable of a section"),
    ] {
        let ended = run(&["check-config"], "", &[(name, SECRET)]);
        assert_eq!(ended.code(), Some(1), "{place}: {ended:?}");
        if ended.output().contains(SECRET) {
            shown.push(format!("{place}: {}", ended.output()));
        }
    }
    assert!(shown.is_empty(), "{}", shown.join("\n"));
}

#[actix_web::test]
async fn a_server_that_cannot_start_with_its_secrets_does_not_log_them() {
    let (_database, _sandbox, config) = world();
    let log = ("FLEET__TELEMETRY__LOG", "debug");
    for url in [
        format!("postgres://fleet:{SECRET}@127.0.0.1:9/fleet"),
        format!("postgres://fleet:{SECRET}@127.0.0.1:port/fleet"),
        format!("postgres://fleet:{SECRET}@no-such-host.invalid/fleet"),
    ] {
        let token = ("FLEET__UPSTREAMS__PERSONAL__TOKEN", SECRET);
        let alone = ("FLEET__DOMAINS", DOMAIN);
        let url_of_it = ("FLEET__DATABASE__URL", url.as_str());
        let mut server = Server::spawn(&config, &[alone, url_of_it, token, log]);
        server.wait_for("readyz", 503).await;
        let told = async || server.output().contains("the domain cannot start");
        crate::support::eventually("it says that it cannot start", told).await;
        assert!(!server.output().contains(SECRET), "{url}: {}", server.output());
    }
}

#[test]
fn the_api_document_is_printed() {
    let ended = run(&["openapi"], "", &[]);
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    let document: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert!(document["openapi"].as_str().expect("a version").starts_with("3.1"), "{ended:?}");
    let path = "/fleet-customers/internal/v1/customers/upsert";
    assert!(document["paths"][path]["post"].is_object());
}

#[test]
fn a_reader_that_has_seen_enough_is_no_trouble() {
    for arguments in [&["openapi"][..], &["check-config"], &["doctor"]] {
        let ended = run_unread(arguments, &needed(), &[]);
        assert_eq!(ended.stderr, "", "{arguments:?}");
        // The stand-ins that doctor looks for are not there.
        let code = i32::from(arguments == ["doctor"]);
        assert_eq!(ended.code(), Some(code), "{arguments:?}");
    }
}

/// Where a broker is, and who we are there.
fn at(broker: &Mosquitto, password: &str) -> [(&'static str, String); 3] {
    [
        ("FLEET__MQTT__URL", broker.url()),
        ("FLEET__MQTT__USERNAME", SERVER.to_owned()),
        ("FLEET__MQTT__PASSWORD", password.to_owned()),
    ]
}

fn borrowed<'v>(variables: &'v [(&'static str, String)]) -> Vec<(&'static str, &'v str)> {
    variables.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

#[actix_web::test]
async fn the_doctor_finds_nothing_where_all_is_well() {
    let (_database, _sandbox, config) = world();
    let broker = Mosquitto::start(&[]).await;
    let ended = run(&["doctor"], &config, &borrowed(&at(&broker, SERVER_PASSWORD)));
    assert_says(
        &ended,
        0,
        &["ok       configuration", "ok       postgresql", "ok       mqtt", "ok       upstreams"],
    );
    assert!(!ended.output().contains("TROUBLE"), "{ended:?}");
}

#[actix_web::test]
async fn the_doctor_tells_the_trouble_of_each_dependency_and_what_to_do() {
    let (_database, _sandbox, config) = world();
    let nobody = format!("127.0.0.1:{}", free_port());
    let (database, personal) = (format!("postgres://a:b@{nobody}/c"), format!("http://{nobody}"));
    let mqtt = format!("mqtt://{nobody}");
    let both = [
        ("FLEET__DATABASE__URL", database.as_str()),
        ("FLEET__MQTT__URL", mqtt.as_str()),
        ("FLEET__UPSTREAMS__PERSONAL__BASE_URL", personal.as_str()),
    ];
    let said = ["ok       configuration", "TROUBLE  postgresql: ", "TROUBLE  upstreams.personal: "];
    assert_says(&run(&["doctor"], &config, &both), 1, &said);
    let ended = run(&["doctor"], &config, &both[..2]);
    assert_says(
        &ended,
        1,
        &["TROUBLE  postgresql: ", "ok       upstreams.personal: it answers (the token"],
    );
    let broker = Mosquitto::start(&[]).await;
    let ended = run(&["doctor"], &config, &borrowed(&at(&broker, "wrong")));
    assert_says(&ended, 1, &["TROUBLE  mqtt: refused; are username and password right?"]);
    drop(broker);
    assert_says(&run(&["doctor"], &config, &both), 1, &["TROUBLE  mqtt: unreachable; does it run"]);
    let wrong = [("FLEET__HTTP__WORKERS", "many")];
    assert_says(&run(&["doctor"], &config, &wrong), 1, &["TROUBLE  configuration: http.workers"]);
}

#[actix_web::test]
async fn the_doctor_tells_pending_migrations_and_migrate_applies_them_once() {
    let (database, _sandbox, config) = world();
    database
        .execute(
            "DROP SCHEMA fleet_customers, fleet_communications, fleet_platform, task_queue CASCADE",
        )
        .await;
    let ended = run(&["doctor"], &config, &[]);
    assert_says(
        &ended,
        1,
        &["TROUBLE  postgresql: ", "migrations are pending; run: fleet migrate"],
    );
    let ended = run(&["migrate"], &config, &[]);
    assert_says(&ended, 0, &["fleet_platform: ", "fleet_customers: "]);
    for dropped in ["fleet_platform: 0 applied", "fleet_customers: 0 applied"] {
        assert!(!ended.stdout.contains(dropped), "{ended:?}");
    }
    let ended = run(&["migrate"], &config, &[]);
    assert_says(&ended, 0, &["fleet_platform: 0 applied", "fleet_customers: 0 applied"]);
    let broker = Mosquitto::start(&[]).await;
    let ended = run(&["doctor"], &config, &borrowed(&at(&broker, SERVER_PASSWORD)));
    assert_says(&ended, 0, &["ok       postgresql"]);
}

#[actix_web::test]
async fn without_migrating_at_start_a_process_waits_until_somebody_did() {
    let (database, _sandbox, config) = world();
    database
        .execute(
            "DROP SCHEMA fleet_customers, fleet_communications, fleet_platform, task_queue CASCADE",
        )
        .await;
    let mut server = Server::spawn(&config, &[("FLEET__DATABASE__MIGRATE_AT_START", "false")]);
    crate::support::eventually("/readyz says why", async || {
        let reply = server.anonymous().try_send(Method::GET, "readyz", None).await;
        reply.is_ok_and(|reply| reply.text().contains("schema_not_migrated"))
    })
    .await;
    assert_says(&run(&["migrate"], &config, &[]), 0, &["fleet_customers: "]);
    server.wait_for("readyz", 200).await;
}

#[test]
fn a_command_without_its_database_fails_clearly() {
    let (_database, _sandbox, config) = world();
    let url = format!("postgres://a:b@127.0.0.1:{}/c", free_port());
    let ended = run(&["migrate"], &config, &[("FLEET__DATABASE__URL", &url)]);
    assert_says(&ended, 1, &["The database cannot be reached"]);
}

#[actix_web::test]
async fn a_port_that_is_taken_is_told_with_its_number() {
    let (_database, _sandbox, config) = world();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr: SocketAddr = taken.local_addr().unwrap();
    let mut server = Server::spawn_at(addr, &config, &[]);
    let ended = server.wait(PATIENCE).await.expect("it ends");
    assert_eq!(ended.code(), Some(1));
    let said = server.output();
    assert!(said.contains(&format!("cannot listen on {addr}")), "{said}");
}

#[test]
fn stand_ins_whose_port_is_taken_say_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let ended = run(&["sandbox", "--listen", &addr], "", &[]);
    assert_says(&ended, 1, &[&format!("cannot listen on {addr}; `--listen` takes another")]);
}

#[actix_web::test]
async fn a_server_with_a_wrong_configuration_tells_all_of_it_and_ends() {
    let mut server = Server::spawn("[http]\nlisen = 'x'\nworkers = -1\n", &[]);
    let ended = server.wait(PATIENCE).await.expect("it ends");
    assert_eq!(ended.code(), Some(1));
    let said = server.output();
    assert!(said.contains("http.lisen: ") && said.contains("http.workers: "), "{said}");
}
