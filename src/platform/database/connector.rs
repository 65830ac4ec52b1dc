//! Opens connections: settings, time-outs, and which runtime drives them.

use std::future::poll_fn;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use diesel::{ConnectionError, ConnectionResult};
use diesel_async::AsyncPgConnection;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use secrecy::ExposeSecret;
use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::TlsStream;
use tokio_postgres::{AsyncMessage, CancelToken, Client, Connection as Driver, NoTls, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::platform::config::database::DatabaseSettings;

/// After an attempt that timed out, further attempts fail at once for this long: when the
/// database is unreachable, callers get their answer without each waiting for the time-out.
const HOLD_OFF: Duration = Duration::from_secs(1);

/// What a connection is for; it becomes its `application_name`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// One of the shared pool.
    Pool,
    /// A worker's own, with further session settings.
    Lane { options: &'static str },
    /// Notifications.
    Listen,
    /// Migrations: no time-out on statements.
    Migration,
}

/// Opens connections to one database.
pub(super) struct Connector {
    settings: DatabaseSettings,
    tls: Option<MakeRustlsConnect>,
    timed_out_at: Mutex<Option<Instant>>,
}

impl Connector {
    /// # Errors
    /// The CA file cannot be read.
    pub fn new(settings: DatabaseSettings) -> Result<Self, TlsError> {
        let tls = settings.tls_ca_file.as_deref().map(tls_trusting).transpose()?;
        Ok(Self { settings, tls, timed_out_at: Mutex::new(None) })
    }

    /// Opens a connection. The task that drives it lives on the runtime this is called on, and the
    /// connection dies with that runtime.
    pub async fn connect(&self, purpose: Purpose) -> ConnectionResult<Opened> {
        if self.holds_off() {
            return Err(ConnectionError::BadConnection("the last attempt timed out".to_owned()));
        }
        let config = self.config(purpose)?;
        let connect = async {
            let bad = |error| ConnectionError::BadConnection(chain(&error));
            if let Some(tls) = self.tls.clone() {
                let (client, connection) = config.connect(tls).await.map_err(bad)?;
                Opened::new(client, connection).await
            } else {
                let (client, connection) = config.connect(NoTls).await.map_err(bad)?;
                Opened::new(client, connection).await
            }
        };
        tokio::time::timeout(self.settings.connect_timeout(), connect).await.unwrap_or_else(|_| {
            self.note_timeout();
            Err(ConnectionError::BadConnection("connecting timed out".to_owned()))
        })
    }

    /// Opens a connection for notifications. Each goes to `sink`, as (channel, payload), from the task
    /// that drives the connection; that task ends with the connection.
    pub async fn listen(
        &self,
        sink: impl Fn(&str, &str) + Send + 'static,
    ) -> ConnectionResult<(Client, JoinHandle<()>)> {
        let config = self.config(Purpose::Listen)?;
        let connect = async {
            let bad = |error| ConnectionError::BadConnection(chain(&error));
            Ok(if let Some(tls) = self.tls.clone() {
                let (client, driver) = config.connect(tls).await.map_err(bad)?;
                (client, tokio::spawn(drive(driver, sink)))
            } else {
                let (client, driver) = config.connect(NoTls).await.map_err(bad)?;
                (client, tokio::spawn(drive(driver, sink)))
            })
        };
        let timed_out = |_| Err(ConnectionError::BadConnection("connecting timed out".to_owned()));
        tokio::time::timeout(self.settings.connect_timeout(), connect)
            .await
            .unwrap_or_else(timed_out)
    }

    /// Asks PostgreSQL to end what runs in a session. It does not tell whether anything did.
    pub async fn cancel(&self, token: &CancelToken) {
        let asked = match self.tls.clone() {
            Some(tls) => token.cancel_query(tls).await,
            None => token.cancel_query(NoTls).await,
        };
        if let Err(error) = asked {
            tracing::debug!(cause = chain(&error), "a statement could not be cancelled");
        }
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
            Purpose::Lane { options } => (
                "fleet lane",
                settings.lane_statement_timeout_ms,
                settings.lane_lock_timeout_ms,
                options,
            ),
            Purpose::Listen => {
                ("fleet listen", settings.statement_timeout_ms, settings.lock_timeout_ms, "")
            }
            Purpose::Migration => ("fleet migration", 0, settings.lock_timeout_ms, ""),
        };
        // A lane runs the same few statements over and over, with arrays of any length: planned
        // once, whatever the lengths.
        let planned = match purpose {
            Purpose::Lane { .. } => " -c plan_cache_mode=force_generic_plan",
            _ => "",
        };
        // What the URL gives is kept; what stands later wins.
        let given = config.get_options().unwrap_or_default().to_owned();
        config
            .application_name(name)
            .options(format!(
                "{given} -c statement_timeout={statement} -c lock_timeout={lock} \
                 -c idle_in_transaction_session_timeout=60000{planned}{further}"
            ))
            .connect_timeout(self.settings.connect_timeout())
            .keepalives_idle(Duration::from_secs(30))
            .tcp_user_timeout(Duration::from_secs(15));
        if self.tls.is_some() {
            config.ssl_mode(SslMode::Require);
        }
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

/// An open connection and whether it still is.
pub(super) struct Opened {
    pub connection: AsyncPgConnection,
    closed: Arc<AtomicBool>,
}

impl Opened {
    async fn new<S>(client: Client, driver: Driver<Socket, S>) -> ConnectionResult<Self>
    where
        S: TlsStream + Unpin + Send + 'static,
    {
        let closed = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&closed);
        tokio::spawn(async move {
            if let Err(error) = driver.await {
                tracing::debug!(cause = chain(&error), "a database connection ended");
            }
            ended.store(true, Ordering::Release);
        });
        Ok(Self { connection: AsyncPgConnection::try_from(client).await?, closed })
    }

    /// Whether it is known to be closed. What is sent on it then reaches nobody.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

/// Drives a connection to its end and hands on what is notified.
async fn drive<S>(mut driver: Driver<Socket, S>, sink: impl Fn(&str, &str))
where
    S: TlsStream + Unpin,
{
    while let Some(message) = poll_fn(|context| driver.poll_message(context)).await {
        match message {
            Ok(AsyncMessage::Notification(told)) => sink(told.channel(), told.payload()),
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(cause = chain(&error), "a listening connection ended");
                return;
            }
        }
    }
}

/// Why no TLS client could be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    #[error("database.tls_ca_file cannot be read: {0}")]
    CaFile(#[from] rustls::pki_types::pem::Error),
    #[error("database.tls_ca_file: {0}")]
    Tls(#[from] rustls::Error),
}

/// A TLS client that trusts the CAs in `file` and nobody else.
fn tls_trusting(file: &Path) -> Result<MakeRustlsConnect, TlsError> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file)? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
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
