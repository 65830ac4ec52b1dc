//! Every migration can be undone and done again, and processes that start together do not stumble
//! over each other.

use std::path::Path;
use std::thread;

use fleet::domains::COMPILED;
use fleet::platform::config::ConfigSource;
use fleet::platform::database::Database;
use fleet::platform::database::migrations::Migrations;
use fleet::platform::telemetry::metrics::Metrics;
use fleet::wiring;
use tokio::runtime::Runtime;

use crate::support::app::{PATIENT, configuration, start_sandbox};
use crate::support::database::TestDatabase;
use crate::support::process::{Ended, run};

/// What the catalogs know of a schema, a line each. diesel's own table is left out.
const SNAPSHOT: &str = "
    SELECT format('column %s.%s %s %s null:%s default:%s generated:%s', c.relname, a.attname,
        a.attnum, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull,
        pg_get_expr(d.adbin, d.adrelid), a.attgenerated)
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE c.relnamespace = $1::text::regnamespace AND a.attnum > 0 AND NOT a.attisdropped
        AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relname <> '__diesel_schema_migrations'
    UNION ALL
    SELECT format('%s %s options:%s', c.relkind, c.relname, c.reloptions) FROM pg_class c
    WHERE c.relnamespace = $1::text::regnamespace
        AND c.relname NOT LIKE '\\_\\_diesel\\_schema\\_migrations%'
    UNION ALL
    SELECT pg_get_indexdef(i.indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
    WHERE c.relnamespace = $1::text::regnamespace AND c.relname <> '__diesel_schema_migrations'
    UNION ALL
    SELECT format('constraint %s on %s: %s', conname, conrelid::regclass, pg_get_constraintdef(oid))
    FROM pg_constraint WHERE connamespace = $1::text::regnamespace
        AND conname NOT LIKE '\\_\\_diesel\\_schema\\_migrations%'
    UNION ALL
    SELECT pg_get_functiondef(oid) FROM pg_proc
    WHERE pronamespace = $1::text::regnamespace AND prokind <> 'a'
    UNION ALL
    SELECT pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    WHERE c.relnamespace = $1::text::regnamespace AND NOT t.tgisinternal
    UNION ALL
    SELECT format('type %s %s %s', typname, typtype,
        (SELECT string_agg(enumlabel, ',' ORDER BY enumsortorder) FROM pg_enum
         WHERE enumtypid = t.oid))
    FROM pg_type t WHERE typnamespace = $1::text::regnamespace AND typtype IN ('e', 'd', 'r')
    ORDER BY 1";

/// The schemas of this binary: the platform's parts and each domain's.
fn schemas() -> Vec<Migrations> {
    fleet::app::schemas(&wiring::make(COMPILED, &Metrics::default()))
}

async fn snapshot(database: &TestDatabase, schema: &str) -> Vec<String> {
    let rows = database.query(SNAPSHOT, &[&schema]).await;
    rows.iter().map(|row| row.get(0)).collect()
}

fn open(url: &str, runtime: &Runtime) -> Database {
    let config =
        ConfigSource::texts(vec![format!("[database]\nurl = '{url}'\n{PATIENT}")]).load().unwrap();
    let settings = config.section("database").unwrap();
    Database::new(settings, &Metrics::default(), runtime.handle().clone()).unwrap()
}

#[actix_web::test]
async fn what_was_migrated_can_be_undone_and_done_again() {
    let test = TestDatabase::create();
    let runtime = Runtime::new().unwrap();
    let database = open(&test.url(), &runtime);
    for migrations in schemas() {
        let schema = migrations.schema;
        let before = snapshot(&test, schema).await;
        assert!(before.len() > 5, "{schema}: {before:?}");
        let reverted = database.revert_all(migrations).await.unwrap();
        assert!(reverted > 0, "{schema}");
        let left = snapshot(&test, schema).await;
        assert!(left.is_empty(), "{schema}: left after down: {left:#?}");
        assert_eq!(database.pending(migrations).await.unwrap(), reverted, "{schema}");
        assert_eq!(database.migrate(migrations).await.unwrap(), reverted, "{schema}");
        assert_eq!(database.pending(migrations).await.unwrap(), 0, "{schema}");
        assert_eq!(snapshot(&test, schema).await, before, "{schema}: after up again");
    }
    runtime.shutdown_background();
}

#[actix_web::test]
async fn everything_can_be_undone_in_the_reverse_order_of_the_schemas() {
    let test = TestDatabase::create();
    let runtime = Runtime::new().unwrap();
    let database = open(&test.url(), &runtime);
    for migrations in schemas().into_iter().rev() {
        assert!(database.revert_all(migrations).await.unwrap() > 0);
    }
    for migrations in schemas() {
        assert_eq!(snapshot(&test, migrations.schema).await, Vec::<String>::new());
        assert!(database.migrate(migrations).await.unwrap() > 0);
    }
    runtime.shutdown_background();
}

#[actix_web::test]
async fn processes_that_migrate_at_the_same_time_all_succeed_and_apply_once() {
    let test = TestDatabase::create();
    let drop: String = schemas()
        .iter()
        .map(|migrations| format!("DROP SCHEMA {} CASCADE;", migrations.schema))
        .collect();
    test.execute(&drop).await;
    let sandbox = start_sandbox();
    let config = configuration(&test.url(), &sandbox);
    let ended: Vec<Ended> = thread::scope(|scope| {
        let start = || scope.spawn(|| run(&["migrate"], &config, &[]));
        let running: Vec<_> = (0..3).map(|_| start()).collect();
        running.into_iter().map(|process| process.join().expect("it ends")).collect()
    });
    for migrations in schemas() {
        let applied: usize = ended
            .iter()
            .map(|ended| {
                assert_eq!(ended.code(), Some(0), "{ended:?}");
                let line = format!("{}: ", migrations.schema);
                let rest = ended.stdout.lines().find_map(|said| said.strip_prefix(&line));
                let count = rest.and_then(|rest| rest.strip_suffix(" applied")).expect("a count");
                count.parse::<usize>().expect("a number")
            })
            .sum();
        let schema = migrations.schema;
        let listed = format!("SELECT count(*) FROM {schema}.__diesel_schema_migrations");
        let listed = usize::try_from(test.count(&listed).await).unwrap();
        assert!(listed > 0 && listed == applied, "{schema}: {listed} listed, {applied} applied");
    }
}

#[actix_web::test]
async fn an_index_whose_building_broke_off_is_built_again() {
    const SCHEMA: &str = "fleet_communications";
    let test = TestDatabase::create();
    let state = "SELECT count(*) FROM pg_index WHERE indisvalid AND NOT indisunique \
         AND indexrelid = to_regclass('fleet_communications.messages_created')";
    assert_eq!(test.count(state).await, 1);
    let undo = "DROP INDEX fleet_communications.messages_created; \
         DELETE FROM fleet_communications.__diesel_schema_migrations \
           WHERE version = '20261126000003'; \
         INSERT INTO fleet_communications.conversations VALUES ('p', 'd', 2, 2, 0); \
         INSERT INTO fleet_communications.messages (park_id, contractor_id, seq, id, to_park, text, created_at) \
           SELECT 'p', 'd', n, gen_random_uuid(), true, 'x', now() FROM generate_series(1, 2) n";
    test.execute(undo).await;
    // No two are to be of one time: it breaks off, and leaves what is half built.
    let broken = "CREATE UNIQUE INDEX CONCURRENTLY messages_created \
         ON fleet_communications.messages (created_at)";
    test.connect().await.batch_execute(broken).await.unwrap_err();
    let left = "SELECT count(*) FROM pg_index WHERE NOT indisvalid";
    assert_eq!(test.count(left).await, 1);

    let runtime = Runtime::new().unwrap();
    let database = open(&test.url(), &runtime);
    let migrations = schemas().into_iter().find(|migrations| migrations.schema == SCHEMA);
    assert_eq!(database.migrate(migrations.expect("its schema")).await.unwrap(), 1);
    assert_eq!(test.count(left).await, 0);
    assert_eq!(test.count(state).await, 1);
    runtime.shutdown_background();
}

#[test]
fn every_migration_can_be_undone() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let folders = |path: &Path| -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.is_dir()).collect()
    };
    let schemas = folders(&folder);
    assert!(schemas.len() >= 2, "{schemas:?}");
    for migration in schemas.iter().flat_map(|schema| folders(schema)) {
        for file in ["up.sql", "down.sql"] {
            let text = std::fs::read_to_string(migration.join(file)).unwrap_or_default();
            assert!(!text.trim().is_empty(), "{} has no {file}", migration.display());
        }
    }
}
