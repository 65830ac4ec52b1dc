//! Opens connections: settings, time-outs, and which runtime drives them.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use diesel::{ConnectionError, ConnectionResult};
use diesel_async::AsyncPgConnection;
use secrecy::ExposeSecret;
use tokio_postgres::NoTls;

use crate::platform::config::database::DatabaseSettings;

/// After an attempt that timed out, further attempts fail at once for this long: when the
/// database is unreachable, callers get their answer without each waiting for the time-out.
const HOLD_OFF: Duration = Duration::from_secs(1);

/// What a connection is for; it becomes its `application_name`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// One of the shared pool.
    Pool,
    /// A worker's own.
    Lane,
    /// Migrations: no time-out on statements.
    Migration,
}

/// Opens connections to one database.
pub(super) struct Connector {
    settings: DatabaseSettings,
    timed_out_at: Mutex<Option<Instant>>,
}

impl Connector {
    pub fn new(settings: DatabaseSettings) -> Self {
        Self { settings, timed_out_at: Mutex::new(None) }
    }

    /// Opens a connection. The task that drives it lives on the runtime this is called on, and the
    /// connection dies with that runtime.
    pub async fn connect(&self, purpose: Purpose) -> ConnectionResult<AsyncPgConnection> {
        if self.holds_off() {
            return Err(ConnectionError::BadConnection("the last attempt timed out".to_owned()));
        }
        let config = self.config(purpose)?;
        let connect = async {
            let (client, connection) = config
                .connect(NoTls)
                .await
                .map_err(|error| ConnectionError::BadConnection(chain(&error)))?;
            AsyncPgConnection::try_from_client_and_connection(client, connection).await
        };
        tokio::time::timeout(self.settings.connect_timeout(), connect).await.unwrap_or_else(|_| {
            self.note_timeout();
            Err(ConnectionError::BadConnection("connecting timed out".to_owned()))
        })
    }

    fn config(&self, purpose: Purpose) -> ConnectionResult<tokio_postgres::Config> {
        let mut config: tokio_postgres::Config = self
            .settings
            .url
            .expose_secret()
            .parse()
            .map_err(|_| ConnectionError::InvalidConnectionUrl("database.url".to_owned()))?;
        let settings = &self.settings;
        let (name, statement, lock, further) = match purpose {
            Purpose::Pool => {
                ("fleet pool", settings.statement_timeout_ms, settings.lock_timeout_ms, "")
            }
            // A lane runs the same few statements over and over, with arrays of any length:
            // planned once, whatever the lengths.
            Purpose::Lane => (
                "fleet lane",
                settings.lane_statement_timeout_ms,
                settings.lane_lock_timeout_ms,
                " -c plan_cache_mode=force_generic_plan",
            ),
            Purpose::Migration => ("fleet migration", 0, settings.lock_timeout_ms, ""),
        };
        config
            .application_name(name)
            .options(format!(
                "-c statement_timeout={statement} -c lock_timeout={lock} \
                 -c idle_in_transaction_session_timeout=60000{further}"
            ))
            .connect_timeout(self.settings.connect_timeout())
            .keepalives_idle(Duration::from_secs(30))
            .tcp_user_timeout(Duration::from_secs(15));
        Ok(config)
    }

    fn holds_off(&self) -> bool {
        let timed_out_at =
            self.timed_out_at.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        timed_out_at.is_some_and(|at| at.elapsed() < HOLD_OFF)
    }

    fn note_timeout(&self) {
        let mut at = self.timed_out_at.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *at = Some(Instant::now());
    }
}

/// tokio-postgres keeps the interesting part in the source.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
