//! A database for each test, cloned from a template that the product's own migrations made.

use std::path::{Path, PathBuf};
use std::process;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use fleet::commands;
use fleet::platform::config::ConfigSource;
use sha2::{Digest, Sha256};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls, Row};

use super::aside;

const URL: &str = "FLEET_TEST_DATABASE_URL";
/// Names of clones: `fleet_test_SECONDS_PID_N`, by which leftovers are told from what is in use.
const CLONE: &str = "fleet_test_";
const TEMPLATE: &str = "fleet_test_template_";
/// Held while a template is looked for and built: test processes may start together.
const LOCK: i64 = 0x7465_7374;
/// What a crashed run left is removed when it is older than this, in seconds.
const LEFTOVER: u64 = 24 * 60 * 60;

/// A database with the current schema, empty; dropped with this value.
pub struct TestDatabase {
    name: String,
}

impl TestDatabase {
    /// Clones the template.
    pub fn create() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{CLONE}{}_{}_{number}", seconds(), process::id());
        let create = format!("CREATE DATABASE {name} TEMPLATE {}", template());
        // Commits need not survive a crash of the server: that is tried elsewhere.
        let hasten = format!("ALTER DATABASE {name} SET synchronous_commit = off");
        aside(async move {
            let admin = connect(&server()).await;
            for sql in [create, hasten] {
                run(&admin, &sql).await;
            }
        });
        Self { name }
    }

    /// Where it is.
    pub fn url(&self) -> String {
        url_of(&self.name)
    }

    /// A connection of the test's own.
    pub async fn connect(&self) -> Client {
        connect(&self.url()).await
    }

    /// Runs statements.
    pub async fn execute(&self, sql: &str) {
        run(&self.connect().await, sql).await;
    }

    /// Runs a query.
    pub async fn query(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Vec<Row> {
        let rows = self.connect().await.query(sql, parameters).await;
        rows.unwrap_or_else(|error| panic!("{sql}: {error:?}"))
    }

    /// The one number that a query gives.
    pub async fn count(&self, sql: &str) -> i64 {
        let rows = self.query(sql, &[]).await;
        rows.first().unwrap_or_else(|| panic!("{sql}: no row")).get(0)
    }

    /// Every value of every column of every schema but `public`, where tests keep things of their own,
    /// as text (ids as they read, too), in one piece: for looking for what must not be there.
    pub async fn dump(&self) -> String {
        let client = self.connect().await;
        let tables = "SELECT format('%I.%I', table_schema, table_name) FROM information_schema.tables \
             WHERE table_schema NOT IN ('public', 'pg_catalog', 'information_schema') \
             AND table_type = 'BASE TABLE' ORDER BY 1";
        let tables = client.query(tables, &[]).await.expect("the tables");
        let mut text = String::new();
        for table in &tables {
            let table: &str = table.get(0);
            let columns = client.prepare(&format!("SELECT * FROM {table}")).await.expect("columns");
            for column in columns.columns() {
                let name = format!("\"{}\"", column.name());
                // Bytes twice: as digits, and as the characters they may stand for.
                let shown = match column.type_().name() {
                    "bytea" => format!("{name}::text || ' ' || encode({name}, 'escape')"),
                    _ => format!("{name}::text"),
                };
                let values = format!("SELECT {shown} FROM {table} WHERE {name} IS NOT NULL");
                for row in client.query(&values, &[]).await.expect("the values") {
                    text.push_str(&format!(
                        "{table}.{}: {}\n",
                        column.name(),
                        row.get::<_, &str>(0)
                    ));
                }
            }
        }
        text
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        aside(async move {
            // A server that is gone (a test stopped it) leaves nothing to drop.
            if let Ok((admin, connection)) = tokio_postgres::connect(&server(), NoTls).await {
                tokio::spawn(connection);
                let _ = admin.batch_execute(&drop).await;
            }
        });
    }
}

/// The URL of the server that the tests may use.
pub fn server() -> String {
    std::env::var(URL).unwrap_or_else(|_| {
        panic!("these tests need a PostgreSQL: run `make test`, or set {URL} to one's URL")
    })
}

fn url_of(database: &str) -> String {
    let server = server();
    let (authority, _) =
        server.rsplit_once('/').unwrap_or_else(|| panic!("{URL} names no database"));
    format!("{authority}/{database}")
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls)
        .await
        .unwrap_or_else(|error| panic!("cannot connect to the tests' PostgreSQL: {error:?}"));
    tokio::spawn(connection);
    client
}

async fn run(client: &Client, sql: &str) {
    client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_secs()
}

/// The template's name; it is made when no earlier run of the same migrations made it.
fn template() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let name = format!("{TEMPLATE}{}", hash_of_migrations());
        let made = name.clone();
        aside(async move { make_template(&made).await });
        name
    })
}

async fn make_template(name: &str) {
    let admin = connect(&server()).await;
    run(&admin, &format!("SELECT pg_advisory_lock({LOCK})")).await;
    remove_leftovers(&admin, name).await;
    let exists = "SELECT 1 FROM pg_database WHERE datname = $1";
    if admin.query_opt(exists, &[&name]).await.expect("the databases").is_none() {
        // Renamed when it is whole: a crash leaves no half template.
        let draft = format!("{CLONE}{}_{}_draft", seconds(), process::id());
        run(&admin, &format!("CREATE DATABASE {draft}")).await;
        let source = ConfigSource::texts(vec![format!("[database]\nurl = '{}'", url_of(&draft))]);
        commands::migrate(&source).await.expect("the migrations");
        let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1";
        admin.query(others, &[&draft]).await.expect("to end its sessions");
        run(&admin, &format!("ALTER DATABASE {draft} RENAME TO {name}")).await;
    }
    // By this a template that is no longer used is told.
    run(&admin, &format!("COMMENT ON DATABASE {name} IS '{}'", seconds())).await;
}

async fn remove_leftovers(admin: &Client, current: &str) {
    let all = "SELECT datname::text, shobj_description(oid, 'pg_database') FROM pg_database \
         WHERE datname LIKE 'fleet\\_test\\_%'";
    let now = seconds();
    for row in admin.query(all, &[]).await.expect("the databases") {
        let (name, comment): (String, Option<String>) = (row.get(0), row.get(1));
        let used = match name.strip_prefix(TEMPLATE) {
            Some(_) => comment.and_then(|seconds| seconds.parse().ok()),
            None => name.strip_prefix(CLONE).and_then(|rest| rest.split('_').next()?.parse().ok()),
        };
        let old = used.is_some_and(|used: u64| now.saturating_sub(used) > LEFTOVER);
        if old && name != current {
            // Somebody else may be dropping it too.
            let _ = admin.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await;
        }
    }
}

/// Changes whenever a migration does.
fn hash_of_migrations() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let mut files = Vec::new();
    collect(&folder, &mut files);
    files.sort();
    let mut hasher = Sha256::new();
    for file in files {
        hasher.update(file.strip_prefix(&folder).expect("below it").to_string_lossy().as_bytes());
        hasher.update(std::fs::read(&file).expect("a migration"));
    }
    hasher.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("the migrations") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { collect(&path, files) } else { files.push(path) }
    }
}
