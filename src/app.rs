//! The composition root: reading this file shows everything that runs.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::{rt, web};
use anyhow::Context as _;
use tokio::runtime::Runtime;

use crate::domains;
use crate::platform::config::telemetry::TelemetrySettings;
use crate::platform::config::{ConfigSource, CoreSettings, KnownNames};
use crate::platform::domain::{Domain, Platform, Shared};
use crate::platform::error::{Error, Result};
use crate::platform::http::{self, HttpState, Mount};
use crate::platform::readiness::{Readiness, ReadinessRow, ReadinessSource};
use crate::platform::shutdown::{self, Shutdown, ShutdownTrigger};
use crate::platform::telemetry::metrics::Metrics;
use crate::platform::telemetry::otlp;
use crate::{upstreams, wiring};

/// Pauses between attempts to start a domain: they double from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LAST_PAUSE: Duration = Duration::from_secs(10);
/// A domain that starts for longer holds up the readiness of the others no more.
const LONG_START: Duration = Duration::from_secs(10);
/// How long taking leave of the broker may take.
#[cfg(feature = "mqtt")]
const MQTT_CLOSE: Duration = Duration::from_secs(1);
/// Threads of the runtime that outlives the workers: it drives pooled connections and maintenance.
const BACKGROUND_THREADS: usize = 2;

/// A process that serves.
pub struct App {
    core: CoreSettings,
    process: Arc<Process>,
    state: web::Data<HttpState>,
    listener: TcpListener,
    trigger: ShutdownTrigger,
    runtime: Runtime,
}

/// What supervisors and probes share.
struct Process {
    source: ConfigSource,
    metrics: Metrics,
    shutdown: Shutdown,
    runtime: tokio::runtime::Handle,
    domains: Domains,
    statuses: Vec<Mutex<Status>>,
    shared: Arc<Shared>,
    #[cfg(feature = "database")]
    maintained: std::sync::Once,
    #[cfg(feature = "database")]
    probe: crate::platform::database::Probe,
}

type Domains = Arc<[Box<dyn Domain>]>;

/// How far a domain has come.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Status {
    Starting,
    Serving,
    /// The code of the last attempt's failure.
    Failed(String),
}

/// The names that may stand in a configuration.
pub const KNOWN: KnownNames = KnownNames {
    compiled: domains::COMPILED,
    sections: domains::SECTIONS,
    upstreams: upstreams::NAMES,
};

/// The schemas that these domains need, in the order in which they are migrated.
#[cfg(feature = "database")]
#[must_use]
pub fn schemas(
    domains: &[Box<dyn Domain>],
) -> Vec<crate::platform::database::migrations::Migrations> {
    let owned: Vec<_> = domains.iter().filter_map(|domain| domain.migrations()).collect();
    let mut schemas = Vec::new();
    if !owned.is_empty() {
        schemas.push(crate::platform::database::migrations::PLATFORM);
    }
    #[cfg(feature = "tasks")]
    if domains.iter().any(|domain| domain.uses_tasks()) {
        schemas.push(crate::platform::tasks::MIGRATIONS);
    }
    schemas.extend(owned);
    schemas
}

/// Mounts each domain below its own prefix.
#[must_use]
pub fn mount(domains: Arc<[Box<dyn Domain>]>) -> Mount {
    Arc::new(move |routes| {
        for domain in domains.iter() {
            let prefix = format!("/{}", domain.name());
            routes.scope(&prefix, |routes| domain.mount(routes));
        }
    })
}

impl App {
    /// Reads the configuration and takes the port. Nothing else is opened yet.
    ///
    /// # Errors
    /// Every fault in the sections that no single domain answers for; the port is taken.
    pub fn build(source: ConfigSource) -> anyhow::Result<Self> {
        let core = CoreSettings::read(&source.load()?, &KNOWN).map_err(|faults| {
            let lines: Vec<String> = faults.iter().map(|fault| format!("  {fault}")).collect();
            anyhow::anyhow!("the configuration is not valid:\n{}", lines.join("\n"))
        })?;
        let listener = TcpListener::bind(core.http.listen)
            .with_context(|| format!("cannot listen on {}", core.http.listen))?;
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(BACKGROUND_THREADS)
            .thread_name("background")
            .enable_all()
            .build()?;
        let metrics = Metrics::with_process();
        let domains: Domains = wiring::make(&core.domains, &metrics).into();
        let (trigger, shutdown) = shutdown::channel();
        let process = Arc::new(Process {
            source,
            metrics: metrics.clone(),
            shutdown,
            runtime: runtime.handle().clone(),
            statuses: domains.iter().map(|_| Mutex::new(Status::Starting)).collect(),
            domains: Arc::clone(&domains),
            shared: Arc::new(Shared::of(&domains)),
            #[cfg(feature = "database")]
            maintained: std::sync::Once::new(),
            #[cfg(feature = "database")]
            probe: crate::platform::database::Probe::default(),
        });
        let slow_routes = domains.iter().flat_map(|domain| domain.slow_routes()).collect();
        let mount = mount(domains);
        let readiness: Arc<dyn ReadinessSource> = process.clone();
        let (http, auth) = (core.http.clone(), &core.auth);
        let state = HttpState::new(http, auth, metrics, core.domains.clone(), readiness, mount);
        let state = web::Data::new(state.with_slow_routes(slow_routes));
        Ok(Self { core, process, state, listener, trigger, runtime })
    }

    /// How it logs.
    #[must_use]
    pub fn telemetry(&self) -> &TelemetrySettings {
        &self.core.telemetry
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The operating system does not say.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` ends, then stops in order and within the configured bounds. Must run in
    /// an actix system.
    ///
    /// # Errors
    /// The server cannot use its listener.
    pub async fn run(self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        let server = http::serve(self.listener, self.state.clone())?;
        let handle = server.handle();
        let serving = rt::spawn(server);
        for index in 0..self.process.domains.len() {
            rt::spawn(Arc::clone(&self.process).supervise(index));
        }
        tracing::info!(listen = %self.core.http.listen, domains = ?self.core.domains, "serving");

        stop.await;
        tracing::info!("stopping");
        self.state.begin_stopping();
        tokio::time::sleep(Duration::from_millis(self.core.http.drain_ms)).await;
        self.trigger.fire();
        handle.stop(true).await;
        let _ = serving.await;
        let finish = self.process.shared.background().finish(self.core.http.finish());
        #[cfg(feature = "tasks")]
        let finish = futures_util::future::join(finish, self.process.shared.tasks_stopped());
        finish.await;
        // After the last that might publish.
        #[cfg(feature = "mqtt")]
        if let Some(mqtt) = self.process.shared.opened_mqtt() {
            mqtt.close(MQTT_CLOSE).await;
        }
        let _ = rt::task::spawn_blocking(otlp::flush).await;
        #[cfg(feature = "database")]
        if let Some(database) = self.process.shared.opened_database() {
            database.close();
        }
        self.runtime.shutdown_background();
        tracing::info!("stopped");
        Ok(())
    }
}

impl Process {
    /// Starts one domain, again and again until it runs or the process stops. A domain that cannot
    /// start does not concern its neighbours.
    async fn supervise(self: Arc<Self>, index: usize) {
        let Some(domain) = self.domains.get(index) else { return };
        let mut pause = FIRST_PAUSE;
        loop {
            match self.start_watched(index, domain.as_ref()).await {
                Ok(()) => {
                    self.set_status(index, Status::Serving);
                    tracing::info!(domain = domain.name(), "the domain serves");
                    return;
                }
                Err(error) => {
                    self.set_status(index, Status::Failed(error.code().to_owned()));
                    let (code, cause) = (error.code(), error.chain());
                    tracing::error!(domain = domain.name(), code, cause, "the domain cannot start");
                }
            }
            if self.shutdown.wait_or(pause).await {
                return;
            }
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    /// One attempt; when it takes long (a migration waits its turn), neighbours do not wait for it.
    async fn start_watched(self: &Arc<Self>, index: usize, domain: &dyn Domain) -> Result<()> {
        let mut start = std::pin::pin!(self.start(domain));
        if let Ok(ended) = tokio::time::timeout(LONG_START, &mut start).await {
            return ended;
        }
        self.set_status(index, Status::Failed("still_starting".to_owned()));
        tracing::warn!(domain = domain.name(), "the domain takes long to start");
        start.await
    }

    /// One attempt, with the configuration as it is now.
    async fn start(self: &Arc<Self>, domain: &dyn Domain) -> Result<()> {
        let config = self.source.load().map_err(Error::internal)?;
        let platform = Platform::new(
            config,
            self.metrics.clone(),
            self.shutdown.clone(),
            self.runtime.clone(),
            domain.name(),
            Arc::clone(&self.shared),
        );
        #[cfg(feature = "database")]
        if let Some(migrations) = domain.migrations() {
            let database = platform.database()?;
            #[cfg(feature = "tasks")]
            if domain.uses_tasks() {
                database.prepare_schema(crate::platform::tasks::MIGRATIONS).await?;
            }
            database.prepare_schema(migrations).await?;
            self.maintain(&database);
        }
        domain.start(&platform).await
    }

    /// Begins the maintenance of the database, once.
    #[cfg(feature = "database")]
    fn maintain(&self, database: &crate::platform::database::Database) {
        use crate::platform::database::{PLATFORM, maintain};
        let schemas = schemas(&self.domains).iter().map(|migrations| migrations.schema).collect();
        let work =
            maintain(database.of(PLATFORM), self.metrics.clone(), schemas, self.shutdown.clone());
        self.maintained.call_once(|| {
            self.runtime.spawn(work);
        });
    }

    fn set_status(&self, index: usize, status: Status) {
        if let Some(place) = self.statuses.get(index) {
            *place.lock().unwrap_or_else(PoisonError::into_inner) = status;
        }
    }

    /// The row of PostgreSQL, if a domain needs it.
    #[cfg(feature = "database")]
    async fn database_row(&self) -> Option<ReadinessRow> {
        self.domains.iter().find(|domain| domain.migrations().is_some())?;
        Some(match self.shared.opened_database() {
            Some(database) => self.probe.row(&database).await,
            None => ReadinessRow::unavailable("postgresql", "not_opened"),
        })
    }

    /// The row of the broker, if a domain needs it.
    #[cfg(feature = "mqtt")]
    fn mqtt_row(&self) -> Option<ReadinessRow> {
        self.domains.iter().find(|domain| domain.uses_mqtt())?;
        Some(match self.shared.opened_mqtt() {
            Some(mqtt) => mqtt.row(),
            None => ReadinessRow::unavailable("mqtt", "not_opened"),
        })
    }

    fn domain_row(&self, index: usize, domain: &dyn Domain, database_ok: bool) -> ReadinessRow {
        let status = self
            .statuses
            .get(index)
            .map(|status| status.lock().unwrap_or_else(PoisonError::into_inner).clone());
        #[cfg(feature = "database")]
        let database_ok = database_ok || domain.migrations().is_none();
        match status {
            Some(Status::Serving) if database_ok => ReadinessRow::ok(domain.name()),
            Some(Status::Serving) => {
                ReadinessRow::unavailable(domain.name(), "database_unavailable")
            }
            Some(Status::Failed(code)) => ReadinessRow::unavailable(domain.name(), &code),
            Some(Status::Starting) | None => ReadinessRow::starting(domain.name()),
        }
    }
}

impl ReadinessSource for Process {
    fn readiness(&self) -> std::pin::Pin<Box<dyn Future<Output = Readiness> + '_>> {
        Box::pin(async move {
            let mut dependencies = Vec::new();
            #[cfg(feature = "database")]
            dependencies.extend(self.database_row().await);
            let database_ok = dependencies.iter().all(ReadinessRow::is_ok);
            #[cfg(feature = "mqtt")]
            dependencies.extend(self.mqtt_row());
            let domains = self.domains.iter().enumerate();
            let domains: Vec<ReadinessRow> = domains
                .map(|(index, domain)| self.domain_row(index, domain.as_ref(), database_ok))
                .collect();
            for domain in self.domains.iter() {
                for dependency in domain.dependencies() {
                    if !dependencies.iter().any(|known| known.name == dependency.name) {
                        dependencies.push(dependency);
                    }
                }
            }
            Readiness::of(domains, dependencies)
        })
    }
}
