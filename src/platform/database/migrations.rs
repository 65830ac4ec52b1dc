//! Migrations: each domain, and the platform, has its own folder and its own schema, in which its
//! own list of applied migrations stands. So processes with different domains can share a database
//! or have one each.

use diesel::migration::{Migration, MigrationSource};
use diesel::pg::Pg;
use diesel_async::{AsyncMigrationHarness, SimpleAsyncConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::connector::Purpose;
use super::{Connection, Database};
use crate::platform::error::{Error, Result};

static EMBEDDED: EmbeddedMigrations = embed_migrations!("migrations/platform");

/// The platform's own tables.
pub const PLATFORM: Migrations = Migrations { schema: "fleet_platform", embedded: &EMBEDDED };

/// Held while migrating, so that of several instances that start together one migrates.
const ADVISORY_LOCK: i64 = 0x666c_6565_7400;

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
            if self.0.settings.migrate_at_start {
                let applied = self.migrate(migrations).await?;
                if applied > 0 {
                    tracing::info!(schema = migrations.schema, applied, "migrated");
                }
            } else if self.pending(migrations).await? > 0 {
                let detail = "Migrations are pending; run `fleet migrate`.";
                return Err(Error::unavailable("schema_not_migrated", detail));
            }
        }
        Ok(())
    }

    /// How many migrations are not applied yet.
    ///
    /// # Errors
    /// As [`Database::migrate`].
    pub async fn pending(&self, migrations: Migrations) -> Result<usize> {
        self.with_migration_lock(migrations, |harness, embedded| {
            Ok(harness.pending_migrations(embedded)?.len())
        })
        .await
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
        connection
            .batch_execute(&format!(
                "SET statement_timeout = '60s'; SELECT pg_advisory_lock({ADVISORY_LOCK}); \
                 SET statement_timeout = 0; \
                 CREATE SCHEMA IF NOT EXISTS {schema}; SET search_path = {schema}"
            ))
            .await?;
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

type Harness = AsyncMigrationHarness<Connection>;
type Outcome = std::result::Result<usize, Box<dyn std::error::Error + Send + Sync>>;

/// The harness takes its source by value; the embedded one is static.
struct Ref(&'static EmbeddedMigrations);

impl MigrationSource<Pg> for Ref {
    fn migrations(&self) -> diesel::migration::Result<Vec<Box<dyn Migration<Pg>>>> {
        self.0.migrations()
    }
}
