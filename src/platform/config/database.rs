//! `[database]`: PostgreSQL, read only by processes whose domains need it.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::{Faults, Section};

/// Where the database is and what bounds our use of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseSettings {
    /// `postgres://USER:PASSWORD@HOST:PORT/NAME`.
    pub url: SecretString,
    /// PEM file with the CA that signed the server's certificate. Given: TLS or no connection.
    pub tls_ca_file: Option<PathBuf>,
    /// Connections shared by all domains.
    pub pool_size: usize,
    /// How long opening a connection may take.
    pub connect_timeout_ms: u64,
    /// How long a request waits for a free connection.
    pub acquire_timeout_ms: u64,
    /// The longest any statement runs.
    pub statement_timeout_ms: u64,
    /// The longest any statement waits for a lock.
    pub lock_timeout_ms: u64,
    /// The longest a statement on a lane runs.
    pub lane_statement_timeout_ms: u64,
    /// The longest a statement on a lane waits for a lock.
    pub lane_lock_timeout_ms: u64,
    /// Migrate at start.
    pub migrate_at_start: bool,
}

impl DatabaseSettings {
    /// How long opening a connection may take.
    #[must_use]
    pub fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    /// How long a request waits for a free connection.
    #[must_use]
    pub fn acquire_timeout(&self) -> Duration {
        Duration::from_millis(self.acquire_timeout_ms)
    }

    /// The longest a statement on a lane runs.
    #[must_use]
    pub fn lane_statement_timeout(&self) -> Duration {
        Duration::from_millis(self.lane_statement_timeout_ms)
    }
}

impl PartialEq for DatabaseSettings {
    fn eq(&self, other: &Self) -> bool {
        let plain = |settings: &Self| {
            (
                settings.url.expose_secret().to_owned(),
                settings.tls_ca_file.clone(),
                settings.pool_size,
                [
                    settings.connect_timeout_ms,
                    settings.acquire_timeout_ms,
                    settings.statement_timeout_ms,
                    settings.lock_timeout_ms,
                    settings.lane_statement_timeout_ms,
                    settings.lane_lock_timeout_ms,
                ],
                settings.migrate_at_start,
            )
        };
        plain(self) == plain(other)
    }
}

impl Section for DatabaseSettings {
    fn check(&self, faults: &mut Faults) {
        let url = self.url.expose_secret();
        let scheme = url.starts_with("postgres://") || url.starts_with("postgresql://");
        faults.require(scheme, "url", "must begin with postgres:// or postgresql://");
        #[cfg(feature = "database")]
        faults.require(
            !scheme || url.parse::<tokio_postgres::Config>().is_ok(),
            "url",
            "must be of the form postgres://USER:PASSWORD@HOST:PORT/NAME",
        );
        faults.require(
            self.tls_ca_file.as_ref().is_none_or(|file| file.is_file()),
            "tls_ca_file",
            "there is no such file",
        );
        faults.require(
            (1..=1000).contains(&self.pool_size),
            "pool_size",
            "must be between 1 and 1000",
        );
        for (key, value) in [
            ("connect_timeout_ms", self.connect_timeout_ms),
            ("acquire_timeout_ms", self.acquire_timeout_ms),
            ("statement_timeout_ms", self.statement_timeout_ms),
            ("lock_timeout_ms", self.lock_timeout_ms),
            ("lane_statement_timeout_ms", self.lane_statement_timeout_ms),
            ("lane_lock_timeout_ms", self.lane_lock_timeout_ms),
        ] {
            faults.require((1..=600_000).contains(&value), key, "must be between 1 and 600000");
        }
    }
}
