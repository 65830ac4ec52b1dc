//! What is too old goes, in batches, by one instance at a time.

use std::collections::BTreeSet;
use std::time::Duration;

use fleet::platform::config::ConfigSource;
use fleet::platform::database::{Cleaning, Database, clean};
use fleet::platform::shutdown::{self, ShutdownTrigger};
use fleet::platform::telemetry::metrics::Metrics;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::support::app::{PATIENT, TestApp};
use crate::support::database::TestDatabase;
use crate::support::{PATIENCE, eventually};

const FIRST: &str = "DELETE FROM public.first WHERE n IN (SELECT n FROM public.first \
     WHERE at < now() - make_interval(days => $1) ORDER BY at LIMIT $2)";
const SECOND: &str = "DELETE FROM public.second WHERE n IN (SELECT n FROM public.second \
     WHERE at < now() - make_interval(days => $1) ORDER BY at LIMIT $2)";
const SOON: Duration = Duration::from_millis(50);

/// Two tables with so many rows of ten days and five of today, and an instance that cleans them, the first
/// one first.
struct World {
    test: TestDatabase,
    database: Database,
    metrics: Metrics,
    trigger: ShutdownTrigger,
    cleaning: Option<JoinHandle<()>>,
    runtime: Runtime,
}

impl World {
    async fn of_old_rows(count: usize) -> Self {
        Self::with(PATIENT, count).await
    }

    /// With a section `[database]` of a test's own.
    async fn with(database: &str, count: usize) -> Self {
        let test = TestDatabase::create();
        for table in ["first", "second"] {
            let fill = format!(
                "CREATE TABLE public.{table} (n bigint PRIMARY KEY, at timestamptz NOT NULL); \
                 INSERT INTO public.{table} SELECT n, now() - interval '10 days' \
                   FROM generate_series(1, {count}) n; \
                 INSERT INTO public.{table} SELECT -n, now() FROM generate_series(1, 5) n"
            );
            test.execute(&fill).await;
        }
        let runtime = Runtime::new().unwrap();
        let text = format!("[database]\nurl = '{}'\n{database}", test.url());
        let config = ConfigSource::texts(vec![text]).load().unwrap();
        let settings = config.section("database").unwrap();
        let metrics = Metrics::default();
        let database = Database::new(settings, &metrics, runtime.handle().clone()).unwrap();
        let trigger = shutdown::channel().0;
        Self { test, database, metrics, trigger, cleaning: None, runtime }
    }

    fn clean(mut self) -> Self {
        let cleanings = vec![
            Cleaning::by_statement("first", FIRST, 7).every(SOON),
            Cleaning::by_statement("second", SECOND, 7).every(SOON).in_batches_of(50),
        ];
        let (trigger, stop) = shutdown::channel();
        self.trigger = trigger;
        let work = clean(self.database.clone(), self.metrics.clone(), cleanings, stop);
        self.cleaning = Some(self.runtime.spawn(work));
        self
    }

    async fn left(&self, table: &str) -> i64 {
        self.test.count(&format!("SELECT count(*) FROM public.{table}")).await
    }

    /// A metric of what is cleaned.
    fn value(&self, name: &str, what: &str) -> i64 {
        let series = format!("fleet_cleaning_{name}{{what=\"{what}\"}} ");
        let rendered = self.metrics.render();
        let line = rendered.lines().find_map(|line| line.strip_prefix(&series));
        line.unwrap_or_else(|| panic!("no {series} in {rendered}")).parse().expect("a number")
    }

    async fn stop(mut self) {
        self.trigger.fire();
        let cleaning = self.cleaning.take().expect("it runs");
        timeout(PATIENCE, cleaning).await.expect("it stops").expect("without a panic");
        self.runtime.shutdown_background();
    }
}

#[actix_web::test]
async fn old_rows_go_in_batches_and_are_counted() {
    let world = World::of_old_rows(2_500).await;
    let note = "CREATE TABLE public.batches (of text, rows bigint, begun timestamptz, ended timestamptz); \
         CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS \
           $$ BEGIN INSERT INTO public.batches \
             SELECT TG_TABLE_NAME, count(*), statement_timestamp(), clock_timestamp() FROM gone; \
             RETURN NULL; END $$; \
         CREATE TRIGGER note AFTER DELETE ON public.first REFERENCING OLD TABLE AS gone \
           FOR EACH STATEMENT EXECUTE FUNCTION public.note(); \
         CREATE TRIGGER note AFTER DELETE ON public.second REFERENCING OLD TABLE AS gone \
           FOR EACH STATEMENT EXECUTE FUNCTION public.note()";
    world.test.execute(note).await;
    let world = world.clean();
    eventually("only new rows are left", async || {
        (world.left("first").await, world.left("second").await) == (5, 5)
    })
    .await;
    eventually("the round has ended", async || {
        world.value("last_success_timestamp_seconds", "second") > 0
    })
    .await;
    for what in ["first", "second"] {
        assert_eq!(world.value("rows_total", what), 2_500);
        assert_eq!(world.value("failures_total", what), 0);
        let last = world.value("last_success_timestamp_seconds", what);
        assert!((jiff::Timestamp::now().as_second() - last).abs() < 60, "{last}");
    }
    let batches = "SELECT rows FROM public.batches WHERE of = 'first' AND rows > 0 ORDER BY rows";
    let batches = world.test.query(batches, &[]).await;
    let batches: Vec<i64> = batches.iter().map(|row| row.get(0)).collect();
    assert_eq!(batches, [500, 1_000, 1_000]);
    // So many that a machine that is busy by chance makes no pause of each.
    let hasty = "SELECT count(*) FROM (SELECT begun - lag(ended) OVER (ORDER BY begun) AS pause \
         FROM public.batches WHERE of = 'second') b WHERE pause < interval '19 milliseconds'";
    assert_eq!(world.test.count(hasty).await, 0, "others have their turn between two batches");
    world.stop().await;
}

#[actix_web::test]
async fn what_another_instance_cleans_is_left_to_it() {
    let world = World::of_old_rows(10).await;
    let other = world.test.connect().await;
    let lock = "BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('fleet cleaning first', 0))";
    other.batch_execute(lock).await.unwrap();
    let world = world.clean();
    // Behind the first one.
    eventually("the second is cleaned", async || world.left("second").await == 5).await;
    assert_eq!(world.left("first").await, 15);
    assert_eq!(world.value("last_success_timestamp_seconds", "first"), 0);
    assert_eq!(world.value("failures_total", "first"), 0);
    other.batch_execute("COMMIT").await.unwrap();
    eventually("the first is cleaned", async || world.left("first").await == 5).await;
    world.stop().await;
}

#[actix_web::test]
async fn one_that_cannot_be_cleaned_is_told_holds_up_no_other_and_is_tried_again() {
    let world = World::with("lock_timeout_ms = 100\n", 10).await;
    let other = world.test.connect().await;
    other.batch_execute("BEGIN; LOCK TABLE public.first").await.unwrap();
    let world = world.clean();
    eventually("the second is cleaned", async || world.left("second").await == 5).await;
    eventually("it is tried again", async || world.value("failures_total", "first") >= 2).await;
    assert_eq!(world.value("last_success_timestamp_seconds", "first"), 0);
    other.batch_execute("COMMIT").await.unwrap();
    eventually("the first is cleaned", async || world.left("first").await == 5).await;
    world.stop().await;
}

/// What a heading of the operations' handbook says behind each `what`.
fn documented() -> BTreeSet<String> {
    let handbook = include_str!("../../../docs/operations.md");
    let (_, kept) = handbook.split_once("\n## How long data is kept\n").expect("the heading");
    let (kept, _) = kept.split_once("\n## ").expect("the next");
    let rows = kept.lines().filter_map(|line| line.strip_suffix(" |")?.rsplit_once("| "));
    let labels = rows.flat_map(|(_, labels)| labels.split(", "));
    let label = |text: &str| Some(text.strip_prefix('`')?.strip_suffix('`')?.to_owned());
    labels.filter_map(label).collect()
}

#[actix_web::test]
async fn what_is_cleaned_is_in_the_handbook() {
    let app = TestApp::builder().start().await;
    let documented = documented();
    let is_told = |what: &str| what.split_once('.').is_some_and(|(schema, _)| !schema.is_empty());
    assert!(documented.len() > 10 && documented.iter().all(|what| is_told(what)), "{documented:?}");
    eventually("metrics and handbook name the same", async || {
        let metrics = app.anonymous().get("metrics").await.text();
        let series = metrics.lines().filter_map(|line| {
            let (_, what) = line.split_once("fleet_cleaning_rows_total{what=\"")?;
            Some(what.split_once('"')?.0.to_owned())
        });
        series.collect::<BTreeSet<String>>() == documented
    })
    .await;
}
