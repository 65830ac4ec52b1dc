//! Migrations: each domain, and the platform, has its own folder and its own schema, in which its
//! own list of applied migrations stands. So processes with different domains can share a database
//! or have one each.

use std::time::Duration;

use diesel::migration::{Migration, MigrationSource};
use diesel::pg::Pg;
use diesel::sql_types::{BigInt, Bool, Text};
use diesel_async::{AsyncMigrationHarness, RunQueryDsl, SimpleAsyncConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::connector::Purpose;
use super::{Connection, Database};
use crate::platform::context::Deadline;
use crate::platform::error::{Error, Result};

static EMBEDDED: EmbeddedMigrations = embed_migrations!("migrations/platform");

/// The platform's own tables.
pub const PLATFORM: Migrations = Migrations { schema: "fleet_platform", embedded: &EMBEDDED };

/// How long a process waits for another that migrates, and the pauses between its looks, which double.
const LOCK_PATIENCE: Duration = Duration::from_mins(1);
const FIRST_LOOK: Duration = Duration::from_millis(5);
const LAST_LOOK: Duration = Duration::from_millis(200);

/// Held while migrating, so that of several instances that start together one migrates.
const ADVISORY_LOCK: i64 = 0x666c_6565_7400;

/// Indices that were being built beside those who write when that broke off: they are built again.
/// Those of a REINDEX are somebody else's.
const HALF_BUILT: &str = "SELECT format('DROP INDEX %I.%I', n.nspname, c.relname) AS sql \
     FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
     JOIN pg_namespace n ON n.oid = c.relnamespace \
     WHERE n.nspname = $1 AND NOT i.indisvalid AND c.relname !~ '_cc(new|old)[0-9]*$'";

/// The migrations of one schema.
#[derive(Clone, Copy)]
pub struct Migrations {
    /// The schema; made when it is missing.
    pub schema: &'static str,
    /// The folder, built in.
    pub embedded: &'static EmbeddedMigrations,
}

impl Database {
    /// Applies what is pending and returns how many that was.
    ///
    /// # Errors
    /// The database is unavailable, or a migration failed; those before it stay applied.
    pub async fn migrate(&self, migrations: Migrations) -> Result<usize> {
        self.with_migration_lock(migrations, |harness, embedded| {
            Ok(harness.run_pending_migrations(embedded)?.len())
        })
        .await
    }

    /// Brings the platform's and a domain's schema up to date, or, where migrating at start is
    /// switched off, makes sure that they are.
    ///
    /// # Errors
    /// `schema_not_migrated` when migrations are pending that this process may not run, and those
    /// of [`Database::migrate`].
    pub async fn prepare_schema(&self, migrations: Migrations) -> Result<()> {
        for migrations in [PLATFORM, migrations] {
            // Most starts find nothing to do, and need not wait for a neighbour that looks too.
            if self.pending(migrations).await? == 0 {
                continue;
            }
            if !self.0.settings.migrate_at_start {
                let detail = "Migrations are pending; run `fleet migrate`.";
                return Err(Error::unavailable("schema_not_migrated", detail));
            }
            let applied = self.migrate(migrations).await?;
            if applied > 0 {
                tracing::info!(schema = migrations.schema, applied, "migrated");
            }
        }
        Ok(())
    }

    /// How many migrations are not applied yet. Only reads: a role that may not change the schema
    /// can ask too.
    ///
    /// # Errors
    /// The database is unavailable.
    pub async fn pending(&self, migrations: Migrations) -> Result<usize> {
        let mut connection = self.connect_aside(Purpose::Pool).await?;
        let known: Vec<Box<dyn Migration<Pg>>> =
            migrations.embedded.migrations().map_err(|error| Error::internal(error.to_string()))?;
        let list = format!("{}.__diesel_schema_migrations", migrations.schema);
        let exists = diesel::select(
            diesel::dsl::sql::<Bool>("to_regclass(").bind::<Text, _>(&list).sql(") IS NOT NULL"),
        );
        if !exists.get_result::<bool>(&mut connection).await? {
            return Ok(known.len());
        }
        let applied: Vec<Applied> =
            diesel::sql_query(format!("SELECT version FROM {list}")).load(&mut connection).await?;
        let is_applied = |migration: &dyn Migration<Pg>| {
            let version = migration.name().version().to_string();
            applied.iter().any(|applied| applied.version == version)
        };
        Ok(known.iter().filter(|migration| !is_applied(migration.as_ref())).count())
    }

    /// Reverts everything that is applied, newest first, and returns how many that was.
    ///
    /// # Errors
    /// As [`Database::migrate`].
    pub async fn revert_all(&self, migrations: Migrations) -> Result<usize> {
        self.with_migration_lock(migrations, |harness, embedded| {
            Ok(harness.revert_all_migrations(embedded)?.len())
        })
        .await
    }

    async fn with_migration_lock(
        &self,
        migrations: Migrations,
        work: fn(&mut Harness, Ref) -> Outcome,
    ) -> Result<usize> {
        let mut connection = self.connect_aside(Purpose::Migration).await?;
        let schema = migrations.schema;
        lock(&mut connection).await?;
        connection
            .batch_execute(&format!(
                "CREATE SCHEMA IF NOT EXISTS {schema}; SET search_path = {schema}"
            ))
            .await?;
        let half_built = diesel::sql_query(HALF_BUILT).bind::<Text, _>(schema);
        for index in half_built.load::<Statement>(&mut connection).await? {
            connection.batch_execute(&index.sql).await?;
        }
        // The harness blocks; it needs the multi-thread runtime, which the server's workers are
        // not. The lock goes with the connection.
        let run = self.runtime().spawn(async move {
            let mut harness = AsyncMigrationHarness::new(connection);
            work(&mut harness, Ref(migrations.embedded))
                .map_err(|error| Error::internal(error.to_string()))
        });
        run.await.map_err(Error::internal)?
    }
}

/// Looks again and again rather than waits in PostgreSQL: whoever builds an index beside those who write
/// waits for all statements that are under way, and a waiting one would wait for it in turn.
async fn lock(connection: &mut Connection) -> Result<()> {
    let patience = Deadline::after(LOCK_PATIENCE);
    let mut pause = FIRST_LOOK;
    loop {
        let lock = diesel::select(
            diesel::dsl::sql::<Bool>("pg_try_advisory_lock(")
                .bind::<BigInt, _>(ADVISORY_LOCK)
                .sql(")"),
        );
        if lock.get_result(connection).await? {
            return Ok(());
        }
        if patience.has_passed() {
            let detail = "Another process has been migrating for a minute.";
            return Err(Error::unavailable("migration_in_progress", detail));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LAST_LOOK);
    }
}

#[derive(diesel::QueryableByName)]
struct Statement {
    #[diesel(sql_type = Text)]
    sql: String,
}

#[derive(diesel::QueryableByName)]
struct Applied {
    #[diesel(sql_type = Text)]
    version: String,
}

type Harness = AsyncMigrationHarness<Connection>;
type Outcome = std::result::Result<usize, Box<dyn std::error::Error + Send + Sync>>;

/// The harness takes its source by value; the embedded one is static.
struct Ref(&'static EmbeddedMigrations);

impl MigrationSource<Pg> for Ref {
    fn migrations(&self) -> diesel::migration::Result<Vec<Box<dyn Migration<Pg>>>> {
        self.0.migrations()
    }
}
