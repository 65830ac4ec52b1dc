//! Who leaves in mid-statement leaves no work behind in PostgreSQL, and disturbs nobody who comes after.

use std::time::{Duration, Instant};

use diesel::QueryResult;
use fleet::platform::config::ConfigSource;
use fleet::platform::context::{Context, Deadline};
use fleet::platform::database::{Connection, Database};
use fleet::platform::error::Result;
use fleet::platform::telemetry::metrics::Metrics;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::support::database::TestDatabase;
use crate::support::eventually;

/// After so long the user's deadline passes; and as long as a test needs who stays.
const SOON: Duration = Duration::from_secs(2);
const PATIENT: Duration = Duration::from_secs(20);
/// Nothing here ends by itself while a test runs, and what ends within the half of it was cancelled.
const LONG: &str = "SELECT pg_sleep(60)";
const BY_ITSELF: Duration = Duration::from_secs(30);
/// Sleeps again as often as it is cancelled, up to so many times.
const STUBBORN: &str = "DO $$ BEGIN FOR n IN 1..ROUNDS LOOP \
     BEGIN PERFORM pg_sleep(60); EXCEPTION WHEN query_canceled THEN NULL; END; \
     END LOOP; END $$";
const AT_WORK: &str = "SELECT count(*) FROM pg_stat_activity \
     WHERE datname = current_database() AND application_name = 'fleet pool' AND state <> 'idle'";
/// Those that are where they were to get: a transaction is at work from its BEGIN on.
const ASLEEP: &str = "SELECT count(*) FROM pg_stat_activity \
     WHERE datname = current_database() AND application_name = 'fleet pool' \
     AND wait_event = 'PgSleep'";

/// A pool, mostly of one connection, on a database whose statements may take their time.
pub(super) struct World {
    pub database: Database,
    metrics: Metrics,
    runtime: Option<Runtime>,
}

impl World {
    pub fn on(url: &str, pool_size: usize, further: &str) -> Self {
        let text = format!(
            "[database]\nurl = '{url}'\npool_size = {pool_size}\nstatement_timeout_ms = 60000\n\
             acquire_timeout_ms = 20000\nconnect_timeout_ms = 5000\n{further}"
        );
        let config = ConfigSource::texts(vec![text]).load().unwrap();
        let (runtime, metrics) = (Runtime::new().unwrap(), Metrics::default());
        let settings = config.section("database").unwrap();
        let database = Database::new(settings, &metrics, runtime.handle().clone()).unwrap();
        Self { database, metrics, runtime: Some(runtime) }
    }

    /// Runs a statement that is a transaction of its own.
    pub async fn run(&self, patience: Duration, sql: &str) -> Result<()> {
        let context = Context::background("test", patience);
        self.database.statement(&context, async |connection| execute(connection, sql).await).await
    }

    /// Runs it in a transaction, in which PostgreSQL's own time-out is not the caller's patience.
    async fn run_in_transaction(&self, patience: Duration, sql: &str) -> Result<()> {
        let context = Context::background("test", patience);
        let work = async |connection: &mut Connection| {
            execute(connection, "SET LOCAL statement_timeout = 60000").await?;
            execute(connection, sql).await
        };
        self.database.transaction(&context, work).await
    }

    /// Which session the next user gets.
    async fn session(&self) -> i32 {
        #[derive(diesel::QueryableByName)]
        struct Session {
            #[diesel(sql_type = diesel::sql_types::Integer)]
            pid: i32,
        }
        let context = Context::background("test", PATIENT);
        let work = async |mut connection: &Connection| {
            let sql = "SELECT pg_backend_pid() AS pid ";
            let session: QueryResult<Session> =
                diesel_async::RunQueryDsl::get_result(diesel::sql_query(sql), &mut connection)
                    .await;
            Ok(session?.pid)
        };
        self.database.statement(&context, work).await.expect("a session")
    }

    /// How many had to be cancelled. One that stands still for as long as it is asked is told as left.
    pub fn asked(&self) -> u64 {
        self.cancelled("ended") + self.cancelled("left")
    }

    pub fn cancelled(&self, outcome: &str) -> u64 {
        let series = format!("database_cancelled_total{{outcome=\"{outcome}\"}} ");
        let text = self.metrics.render();
        let line = text.lines().find_map(|line| line.strip_prefix(&series));
        line.expect("the metric").parse().expect("a count")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn execute(mut connection: &Connection, sql: &str) -> Result<()> {
    // Brought in for all of the file, it would hide `TestDatabase::execute`.
    diesel_async::RunQueryDsl::execute(diesel::sql_query(sql), &mut connection).await?;
    Ok(())
}

/// Leaves when so many statements sleep, this one among them.
async fn left<T>(test: &TestDatabase, asleep: i64, statement: impl Future<Output = T>) {
    let begun = eventually("it sleeps", async || test.count(ASLEEP).await == asleep);
    tokio::select! {
        _ = statement => panic!("it takes longer"),
        () = begun => {}
    }
}

async fn nothing_is_at_work(test: &TestDatabase) {
    let since = Instant::now();
    eventually("no session is left at work", async || test.count(AT_WORK).await == 0).await;
    assert!(since.elapsed() < BY_ITSELF, "{:?}", since.elapsed());
}

async fn has_ended(test: &TestDatabase, pid: i32) {
    let count = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}");
    eventually("the session has ended", async || test.count(&count).await == 0).await;
}

#[actix_web::test]
async fn a_statement_whose_callers_deadline_passed_is_cancelled() {
    let test = TestDatabase::create();
    let world = World::on(&test.url(), 1, "");
    for _ in 1..=3 {
        let former = world.session().await;
        let error = world.run(SOON, LONG).await.expect_err("too late");
        assert_eq!(error.code(), "deadline_exceeded");
        // At once, and in no way cut short by the requests that are on their way.
        world.run(PATIENT, "SELECT pg_sleep(1)").await.expect("the next one is served");
        assert_ne!(world.session().await, former);
        has_ended(&test, former).await;
        nothing_is_at_work(&test).await;
    }
    // Hardly ever, a deadline passes before the statement is on its way: nothing is cancelled then.
    eventually("it is counted", async || world.asked() > 0).await;
}

#[actix_web::test]
async fn a_statement_whose_future_was_dropped_is_cancelled() {
    let test = TestDatabase::create();
    let world = World::on(&test.url(), 1, "");
    let former = world.session().await;
    left(&test, 1, world.run(PATIENT, LONG)).await;
    world.run(PATIENT, "SELECT pg_sleep(1)").await.expect("the next one is served");
    assert_ne!(world.session().await, former);
    has_ended(&test, former).await;
    nothing_is_at_work(&test).await;
}

#[actix_web::test]
async fn a_statement_that_is_hardly_on_its_way_is_cancelled_as_well() {
    let test = TestDatabase::create();
    // A place for each: where all are taken, a statement is left to itself.
    let world = World::on(&test.url(), 40, "");
    for wait in (0..40).map(|number| Duration::from_micros(number * 100)) {
        // A connection is at hand.
        world.session().await;
        let _ = timeout(wait, world.run(PATIENT, LONG)).await;
    }
    nothing_is_at_work(&test).await;
}

#[actix_web::test]
async fn a_transaction_that_was_left_is_cancelled_and_rolled_back() {
    let test = TestDatabase::create();
    test.execute("CREATE TABLE public.kept (n bigint)").await;
    let world = World::on(&test.url(), 1, "");
    let insert = "WITH added AS (INSERT INTO public.kept VALUES (1) RETURNING n) \
         SELECT pg_sleep(60) FROM added";
    // A connection is at hand.
    world.session().await;
    let error = world.run_in_transaction(SOON, insert).await.expect_err("too late");
    assert_eq!(error.code(), "deadline_exceeded");
    nothing_is_at_work(&test).await;
    // That one may not be counted, if its deadline passed between two statements.
    let world = World::on(&test.url(), 1, "");
    left(&test, 1, world.run_in_transaction(PATIENT, insert)).await;
    world.run_in_transaction(PATIENT, "SELECT pg_sleep(1)").await.expect("the next one is served");
    nothing_is_at_work(&test).await;
    assert_eq!(test.count("SELECT count(*) FROM public.kept").await, 0);
    eventually("it is counted", async || world.asked() == 1).await;
}

#[actix_web::test]
async fn a_transaction_that_was_left_between_statements_ends_without_being_cancelled() {
    let test = TestDatabase::create();
    let world = World::on(&test.url(), 1, "");
    // A session that does not say in 20 ms that it is idle is sent a cancel request: so try again.
    for round in 0.. {
        let before = (world.cancelled("ended"), world.cancelled("left"));
        let context = Context::background("test", SOON / 4);
        let idle = async |connection: &mut Connection| {
            execute(connection, "SELECT 1").await?;
            std::future::pending::<Result<()>>().await
        };
        world.database.transaction(&context, idle).await.expect_err("too late");
        nothing_is_at_work(&test).await;
        if (world.cancelled("ended"), world.cancelled("left")) == before {
            return;
        }
        assert!(round < 10, "each is cancelled");
    }
}

#[actix_web::test]
async fn an_error_of_the_statement_gives_the_connection_back() {
    let test = TestDatabase::create();
    let world = World::on(&test.url(), 1, "");
    let former = world.session().await;
    for sql in ["SELECT 1 / 0", "SELECT nothing FROM nowhere"] {
        world.run(PATIENT, sql).await.expect_err("an error");
        world.run_in_transaction(PATIENT, sql).await.expect_err("an error");
        world.database.ping(Deadline::after(PATIENT)).await.expect("an answer");
    }
    assert_eq!(world.session().await, former);
    assert_eq!((world.cancelled("ended"), world.cancelled("left")), (0, 0));
}

#[actix_web::test]
async fn a_statement_that_outlives_one_request_is_asked_again() {
    let test = TestDatabase::create();
    let world = World::on(&test.url(), 1, "");
    left(&test, 1, world.run(PATIENT, &STUBBORN.replace("ROUNDS", "2"))).await;
    nothing_is_at_work(&test).await;
    eventually("it is counted", async || world.asked() == 1).await;
}

#[actix_web::test]
async fn no_more_than_the_pools_size_are_asked_at_once_and_none_for_ever() {
    // The second must be left while the first is being asked, which a stall may prevent; and a request that
    // comes between two sleeps ends the first after all.
    for _ in 0..5 {
        if the_second_had_no_place().await {
            return;
        }
    }
    panic!("the first is never asked for long enough");
}

async fn the_second_had_no_place() -> bool {
    let test = TestDatabase::create();
    let world = World::on(&test.url(), 1, "");
    let stubborn = STUBBORN.replace("ROUNDS", "100");
    left(&test, 1, world.run(PATIENT, &stubborn)).await;
    let since = Instant::now();
    let both = async || test.count(ASLEEP).await == 2 || world.cancelled("ended") > 0;
    tokio::select! {
        _ = world.run(PATIENT, LONG) => panic!("it takes longer"),
        () = eventually("both sleep", both) => {}
    }
    if since.elapsed() > Duration::from_secs(2) || world.cancelled("ended") > 0 {
        return false;
    }
    assert_eq!(world.cancelled("left"), 1);
    eventually("the first is given up", async || world.asked() == 2).await;
    if world.cancelled("ended") == 1 {
        return false;
    }
    assert!(since.elapsed() < BY_ITSELF, "{:?}", since.elapsed());
    assert_eq!(test.count(AT_WORK).await, 2);
    // And the place is free again.
    left(&test, 3, world.run(PATIENT, LONG)).await;
    eventually("the third is cancelled", async || world.cancelled("ended") == 1).await;
    assert_eq!(test.count(AT_WORK).await, 2);
    true
}
