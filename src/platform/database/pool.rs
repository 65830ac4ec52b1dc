//! The shared pool, and transactions on it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool::managed::{Object, PoolError as DeadpoolError, QueueMode, TimeoutType, Timeouts};
use diesel_async::pooled_connection::deadpool::Pool;
use diesel_async::pooled_connection::{
    AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod,
};
use diesel_async::{AnsiTransactionManager, AsyncPgConnection, RunQueryDsl, TransactionManager};
use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio::task::JoinError;

use super::Connection;
use super::abandoned::Abandoned;
use super::connector::{Connector, Purpose};
use super::error::unavailable;
use super::listen::Listeners;
use super::metrics::DatabaseMetrics;
use super::shares::{Place, Share};
use crate::platform::config::database::DatabaseSettings;
use crate::platform::context::{Context, Deadline};
use crate::platform::error::{Error, Kind, Result};
use crate::platform::telemetry::metrics::Metrics;

/// One PostgreSQL database, as one of its users has it: the pool with the user's share of it, and what
/// lanes need to open connections of their own. Cheap to clone.
#[derive(Clone)]
pub struct Database(pub(super) Arc<Inner>, Arc<Share>);

pub(super) struct Inner {
    pool: Pool<AsyncPgConnection>,
    pub(super) settings: DatabaseSettings,
    pub(super) connector: Arc<Connector>,
    pub(super) metrics: DatabaseMetrics,
    pub(super) listeners: Arc<Listeners>,
    shares: Vec<Arc<Share>>,
    abandoned: Abandoned,
    /// Outlives every worker: what it drives is not lost when a worker ends.
    runtime: Handle,
}

type Manager = AsyncDieselConnectionManager<AsyncPgConnection>;

impl Database {
    /// A database whose pool is not divided.
    ///
    /// # Errors
    /// As [`Database::divided`].
    pub fn new(settings: DatabaseSettings, metrics: &Metrics, runtime: Handle) -> Result<Self> {
        Self::divided(settings, &[], metrics, runtime)
    }

    /// Prepares the pool, which is divided among these domains and the platform; connects to nothing
    /// yet. `runtime` must be a multi-thread one that lives as long as the process: it drives the
    /// pool's connections. What is returned has the platform's share.
    ///
    /// # Errors
    /// The CA file cannot be read.
    pub fn divided(
        settings: DatabaseSettings,
        domains: &[&'static str],
        metrics: &Metrics,
        runtime: Handle,
    ) -> Result<Self> {
        let connector = Connector::new(settings.clone()).map_err(|error| {
            let detail = "The configuration is not valid.";
            Error::new(Kind::Internal, "invalid_configuration", detail).with_source(error)
        })?;
        let connector = Arc::new(connector);
        let mut config = ManagerConfig::default();
        // The default asks the server at each checkout, which costs a round trip; a connection
        // that is closed is noticed without.
        config.recycling_method = RecyclingMethod::Fast;
        let (setup, home) = (Arc::clone(&connector), runtime.clone());
        config.custom_setup = Box::new(move |_| {
            let (connector, home) = (Arc::clone(&setup), home.clone());
            async move {
                let connecting = home.spawn(async move { connector.connect(Purpose::Pool).await });
                let failed =
                    |error: JoinError| diesel::ConnectionError::BadConnection(error.to_string());
                Ok(connecting.await.map_err(failed)??.connection)
            }
            .boxed()
        });
        let manager = Manager::new_with_config("", config);
        let shares = Share::divide(settings.pool_size, domains, metrics);
        let own_share = shares.as_slice().first().cloned();
        let own_share = own_share.ok_or_else(|| Error::internal("nobody's pool"))?;
        let timeouts = Timeouts {
            wait: Some(settings.acquire_timeout()),
            create: Some(settings.connect_timeout()),
            recycle: Some(settings.connect_timeout()),
        };
        let pool = Pool::builder(manager)
            .max_size(settings.pool_size)
            // The last one given back is the next one taken: it has prepared most, and its server
            // process is still in the processor's caches.
            .queue_mode(QueueMode::Lifo)
            .timeouts(timeouts)
            .runtime(deadpool::Runtime::Tokio1)
            .build()
            .map_err(Error::internal)?;
        let own = DatabaseMetrics::register(metrics);
        metrics.limit("database_pool_in_use", settings.pool_size);
        let (watched, idle, in_use) = (pool.weak(), own.idle.clone(), own.in_use.clone());
        metrics.before_render(move || {
            let Some(pool) = watched.upgrade() else { return };
            let status = pool.status();
            idle.set(signed(status.available));
            in_use.set(signed(status.size.saturating_sub(status.available)));
        });
        let abandoned = Abandoned::new(
            Arc::clone(&connector),
            runtime.clone(),
            settings.pool_size,
            own.cancelled.clone(),
        );
        let listeners = Arc::default();
        let metrics = own;
        let inner =
            Inner { pool, settings, connector, metrics, listeners, shares, abandoned, runtime };
        Ok(Self(Arc::new(inner), own_share))
    }

    /// The same database for another user, with that one's share of the pool; a user without a share
    /// has the one that this has.
    #[must_use]
    pub fn of(&self, user: &str) -> Self {
        let share = self.0.shares.iter().find(|share| share.user() == user).unwrap_or(&self.1);
        Self(Arc::clone(&self.0), Arc::clone(share))
    }

    /// Runs `work` in a transaction and commits it. PostgreSQL itself gives up on each statement and lock
    /// after the time that the caller had left when the transaction began. When the deadline passes here,
    /// or this future is dropped, the statement that is under way is cancelled and the connection not used
    /// again: it closes, which rolls the transaction back.
    ///
    /// # Errors
    /// Those of `work`; `database_unavailable`; `overloaded` when no connection came free in time;
    /// `deadline_exceeded`, after which it is not known whether a commit under way took effect.
    pub async fn transaction<T>(
        &self,
        context: &Context,
        work: impl AsyncFnOnce(&mut Connection) -> Result<T>,
    ) -> Result<T> {
        let mut lease = self.lease(context.deadline).await?;
        let connection = lease.connection()?;
        let begin = begin_sql(context.deadline, &self.0.settings);
        let run = async {
            AnsiTransactionManager::begin_transaction_sql(connection, &begin).await?;
            match work(connection).await {
                Ok(value) => {
                    AnsiTransactionManager::commit_transaction(connection).await?;
                    Ok(value)
                }
                Err(error) => {
                    AnsiTransactionManager::rollback_transaction(connection).await?;
                    Err(error)
                }
            }
        };
        let outcome = context.deadline.run(run).await?;
        lease.give_back();
        outcome
    }

    /// Runs statements that are each a transaction of their own: a read, a write of one statement, or
    /// several that do not need each other. It costs two round trips less than [`Database::transaction`].
    /// When the deadline passes, or this future is dropped, what is under way is cancelled; PostgreSQL
    /// itself gives up at `statement_timeout_ms`.
    ///
    /// # Errors
    /// As [`Database::transaction`]; after `deadline_exceeded` it is not known whether a write took effect.
    pub async fn statement<T>(
        &self,
        context: &Context,
        work: impl AsyncFnOnce(&Connection) -> Result<T>,
    ) -> Result<T> {
        let mut lease = self.lease(context.deadline).await?;
        let outcome = context.deadline.run(work(lease.connection()?)).await?;
        lease.give_back();
        outcome
    }

    /// Asks the database whether it answers. Half of the time is for the answer: who waited in vain for a
    /// connection knows nothing of the database, and is told `overloaded`.
    ///
    /// # Errors
    /// As [`Database::transaction`].
    pub async fn ping(&self, deadline: Deadline) -> Result<()> {
        let patience = self.0.settings.acquire_timeout().min(deadline.remaining() / 2);
        let mut lease = self.lease_within(deadline, patience).await?;
        let asked = diesel::sql_query("SELECT 1").execute(lease.connection()?);
        let answer = deadline.run(asked).await?;
        lease.give_back();
        answer?;
        Ok(())
    }

    /// Whether it was made of these settings.
    #[must_use]
    pub fn is_of(&self, settings: &DatabaseSettings) -> bool {
        self.0.settings == *settings
    }

    /// Whether both are the same one, opened once, whoever uses them.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Closes the pool: waiting and later requests fail; subscriptions end.
    pub fn close(&self) {
        self.0.shares.iter().for_each(|share| share.close());
        self.0.pool.close();
        self.0.listeners.close();
    }

    /// Opens a connection beside the pool, driven by the long-lived runtime.
    pub(super) async fn connect_aside(&self, purpose: Purpose) -> Result<AsyncPgConnection> {
        let connector = Arc::clone(&self.0.connector);
        let connecting = self.0.runtime.spawn(async move { connector.connect(purpose).await });
        let opened = connecting.await.map_err(Error::internal)?.map_err(unavailable)?;
        Ok(opened.connection)
    }

    pub(super) fn runtime(&self) -> &Handle {
        &self.0.runtime
    }

    /// Who this is for, where others have a share of their own: lanes are not shared either.
    pub(super) fn user(&self) -> &'static str {
        self.1.user()
    }

    async fn lease(&self, deadline: Deadline) -> Result<Lease<'_>> {
        self.lease_within(deadline, self.0.settings.acquire_timeout()).await
    }

    /// Waits for a connection to come free for no longer than `patience`.
    async fn lease_within(&self, deadline: Deadline, patience: Duration) -> Result<Lease<'_>> {
        let metrics = &self.0.metrics;
        let started = Instant::now();
        let (place, object) = {
            let _waiting = metrics.waiting_one();
            let place = deadline.run(self.place(patience)).await??;
            (place, deadline.run(self.0.pool.get()).await?.map_err(from_pool)?)
        };
        metrics.acquire.observe(started.elapsed().as_secs_f64());
        Ok(Lease { object: Some(object), abandoned: &self.0.abandoned, _place: place })
    }

    async fn place(&self, patience: Duration) -> Result<Place<'_>> {
        match tokio::time::timeout(patience, self.1.place()).await {
            Ok(Some(place)) => Ok(place),
            Ok(None) => Err(unavailable("the pool was closed")),
            Err(_) => Err(overloaded()),
        }
    }
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Opens the transaction and hands the deadline to PostgreSQL in the same round trip.
fn begin_sql(deadline: Deadline, settings: &DatabaseSettings) -> String {
    let left = deadline.remaining().as_millis().max(1);
    let statement = left.min(u128::from(settings.statement_timeout_ms));
    let lock = statement.min(u128::from(settings.lock_timeout_ms));
    format!("BEGIN; SET LOCAL statement_timeout = {statement}; SET LOCAL lock_timeout = {lock}")
}

fn from_pool(error: DeadpoolError<diesel_async::pooled_connection::PoolError>) -> Error {
    match error {
        DeadpoolError::Timeout(TimeoutType::Wait) => overloaded(),
        DeadpoolError::Backend(error) => unavailable(error),
        error => unavailable(error),
    }
}

fn overloaded() -> Error {
    let detail = "No database connection came free in time; try again soon.";
    Error::unavailable("overloaded", detail).with_retry_after(Duration::from_secs(1))
}

/// A pooled connection that is closed, not given back, when its user is dropped in mid-statement: back
/// in the pool it would hold its transaction's locks until somebody took it, and who took it could have
/// his own statement cancelled.
struct Lease<'a> {
    object: Option<Object<Manager>>,
    abandoned: &'a Abandoned,
    _place: Place<'a>,
}

impl Lease<'_> {
    fn connection(&mut self) -> Result<&mut AsyncPgConnection> {
        self.object.as_deref_mut().ok_or_else(|| Error::internal("the lease has ended"))
    }

    /// The user is done. The pool itself sees whether the connection is still fit.
    fn give_back(mut self) {
        self.object = None;
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if let Some(object) = self.object.take() {
            self.abandoned.end(Object::take(object));
        }
    }
}
