//! What a domain hands over to the process, and what it is given.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
#[cfg(any(feature = "database", feature = "mqtt"))]
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use tokio::runtime::Handle;

use super::background::Background;
#[cfg(feature = "database")]
use super::config::database::DatabaseSettings;
use super::config::{Config, Fault};
use super::error::{Error, Kind, Result};
use super::http::routes::Routes;
use super::readiness::ReadinessRow;
use super::shutdown::Shutdown;
use super::telemetry::metrics::Metrics;

/// One of the product's services. A domain is made once, at start, before anything is opened: its
/// routes can be mounted and documented even when it never comes up.
pub trait Domain: Send + Sync {
    /// Feature, route prefix and metric label.
    fn name(&self) -> &'static str;

    /// Mounts its routes; they are already below its prefix.
    fn mount(&self, routes: &mut Routes<'_>);

    /// Its schema, if it has one; migrated before [`Domain::start`].
    #[cfg(feature = "database")]
    fn migrations(&self) -> Option<super::database::migrations::Migrations> {
        None
    }

    /// Whether it enqueues or runs background tasks: then the queue's schema is migrated with its own.
    fn uses_tasks(&self) -> bool {
        false
    }

    /// Whether it consumes Kafka's topic.
    fn uses_kafka(&self) -> bool {
        false
    }

    /// Whether it seals with `secrets.token_key`.
    fn uses_secrets(&self) -> bool {
        false
    }

    /// Whether it speaks MQTT: then the broker is checked and diagnosed with it.
    fn uses_mqtt(&self) -> bool {
        false
    }

    /// The outside services it would call with this configuration, by their names under
    /// `upstreams`.
    fn upstreams(&self, _: &Config) -> Vec<&'static str> {
        Vec::new()
    }

    /// Its routes whose answers may take longer than `http.default_timeout_ms`.
    fn slow_routes(&self) -> Vec<SlowRoute> {
        Vec::new()
    }

    /// Everything that is wrong with its own section.
    fn check(&self, config: &Config) -> Vec<Fault>;

    /// Opens what it needs and begins to serve. Called again, after a pause, until it succeeds.
    fn start<'a>(
        &'a self,
        platform: &'a Platform,
    ) -> Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

    /// What it depends on beside the database, and how that is; without calling out.
    fn dependencies(&self) -> Vec<ReadinessRow> {
        Vec::new()
    }
}

/// What a domain is given to start with. It opens things on demand, so that a process opens only
/// what its domains ask for.
pub struct Platform {
    /// The configuration as it is now.
    pub config: Config,
    /// Where metrics are registered.
    pub metrics: Metrics,
    /// Says when the process stops.
    pub shutdown: Shutdown,
    /// A multi-thread runtime that lives as long as the process.
    pub runtime: Handle,
    /// Whose start it is.
    #[cfg_attr(
        not(feature = "database"),
        allow(dead_code, reason = "what is divided is the pool")
    )]
    domain: &'static str,
    shared: Arc<Shared>,
}

/// What the domains of one process share, opened when the first of them asks for it.
#[derive(Default)]
pub struct Shared {
    background: Background,
    /// The domains that use the database.
    #[cfg(feature = "database")]
    users: Vec<&'static str>,
    #[cfg(feature = "database")]
    database: Mutex<Option<super::database::Database>>,
    #[cfg(feature = "mqtt")]
    mqtt: Mutex<Option<super::mqtt::Mqtt>>,
    #[cfg(feature = "tasks")]
    tasks: Mutex<Option<super::tasks::Tasks>>,
    #[cfg(feature = "upstream")]
    upstreams: OnceLock<super::upstream::UpstreamMetrics>,
}

impl Platform {
    /// What one domain of a process is given; `shared` is the same for all.
    #[must_use]
    pub fn new(
        config: Config,
        metrics: Metrics,
        shutdown: Shutdown,
        runtime: Handle,
        domain: &'static str,
        shared: Arc<Shared>,
    ) -> Self {
        Self { config, metrics, shutdown, runtime, domain, shared }
    }

    /// The shared database, with the domain's share of its pool.
    ///
    /// # Errors
    /// Its section is not valid.
    #[cfg(feature = "database")]
    pub fn database(&self) -> Result<super::database::Database> {
        let settings: DatabaseSettings = self.section("database")?;
        let mut shared = self.shared.database.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(database) = shared.as_ref().filter(|database| database.is_of(&settings)) {
            return Ok(database.of(self.domain));
        }
        // The section was mended: domains that have not started yet get what it says now.
        let (users, runtime) = (&self.shared.users, self.runtime.clone());
        let opened = super::database::Database::divided(settings, users, &self.metrics, runtime)?;
        *shared = Some(opened.clone());
        Ok(opened.of(self.domain))
    }

    /// Removes what becomes too old, with the domain's share of the pool, until the process stops. Comes
    /// last in a start: it is done once.
    ///
    /// # Errors
    /// As [`Platform::database`].
    #[cfg(feature = "database")]
    pub fn clean(&self, cleanings: Vec<super::database::Cleaning>) -> Result<()> {
        let (database, stop) = (self.database()?, self.shutdown.clone());
        self.runtime.spawn(super::database::clean(database, self.metrics.clone(), cleanings, stop));
        Ok(())
    }

    /// What seals with the configured key.
    ///
    /// # Errors
    /// Its section is not valid.
    #[cfg(feature = "seal")]
    pub fn seal(&self) -> Result<super::seal::Seal> {
        super::seal::Seal::new(&self.section("secrets")?)
    }

    /// Begins to consume Kafka's topic; `None` where the configuration says that there is no Kafka. It
    /// stops with the process, and finishes what it has.
    ///
    /// # Errors
    /// Its section is not valid.
    #[cfg(feature = "kafka")]
    pub fn consume(
        &self,
        handler: Arc<dyn super::kafka::BatchHandler>,
    ) -> Result<Option<Arc<super::kafka::Consumer>>> {
        let settings = super::config::kafka::KafkaSettings::read(&self.config)
            .map_err(|faults| invalid_configuration(&faults))?;
        if !settings.is_on() {
            return Ok(None);
        }
        let runtime = self.runtime.clone();
        let consumer = super::kafka::Consumer::start(settings, &self.metrics, runtime, handler)?;
        let consumer = Arc::new(consumer);
        let (running, shutdown) = (Arc::clone(&consumer), self.shutdown.clone());
        self.background().spawn(|_| async move {
            shutdown.wait().await;
            running.stop();
            running.ended().await;
        });
        Ok(Some(consumer))
    }

    /// The task queue, in the shared database.
    ///
    /// # Errors
    /// Its section, or the database's, is not valid.
    #[cfg(feature = "tasks")]
    pub fn tasks(&self) -> Result<super::tasks::Tasks> {
        let database = self.database()?.of(super::database::TASKS);
        let settings = self.section("tasks")?;
        let mut shared = self.shared.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tasks) = shared.as_ref().filter(|tasks| tasks.is_of(&database)) {
            return Ok(tasks.clone());
        }
        let (shutdown, runtime) = (self.shutdown.clone(), self.runtime.clone());
        let opened = super::tasks::Tasks::new(settings, database, &self.metrics, shutdown, runtime);
        *shared = Some(opened.clone());
        Ok(opened)
    }

    /// The connection to the broker, begun by whoever asks first.
    ///
    /// # Errors
    /// Its section is not valid, or it cannot be begun.
    #[cfg(feature = "mqtt")]
    pub fn mqtt(&self) -> Result<super::mqtt::Mqtt> {
        let settings = self.section("mqtt")?;
        let mut shared = self.shared.mqtt.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mqtt) = shared.as_ref().filter(|mqtt| mqtt.is_of(&settings)) {
            return Ok(mqtt.clone());
        }
        let opened = super::mqtt::Mqtt::open(settings, &self.metrics, &self.runtime)?;
        if let Some(of_old_settings) = shared.replace(opened.clone()) {
            self.runtime.spawn(async move { of_old_settings.close(Duration::ZERO).await });
        }
        Ok(opened)
    }

    /// Metrics that all upstreams share.
    #[cfg(feature = "upstream")]
    #[must_use]
    pub fn upstream_metrics(&self) -> &super::upstream::UpstreamMetrics {
        let register = || super::upstream::UpstreamMetrics::register(&self.metrics);
        self.shared.upstreams.get_or_init(register)
    }

    /// Where work runs beside the requests.
    #[must_use]
    pub fn background(&self) -> &Background {
        self.shared.background()
    }

    /// A section of the configuration.
    ///
    /// # Errors
    /// `invalid_configuration` with every fault in the cause.
    pub fn section<T: super::config::Section>(&self, path: &str) -> Result<T> {
        self.config.section(path).map_err(|faults| invalid_configuration(&faults))
    }
}

impl Shared {
    /// What these domains share.
    #[must_use]
    #[allow(unused_variables, reason = "what is shared depends on the features")]
    pub fn of(domains: &[Box<dyn Domain>]) -> Self {
        #[cfg(feature = "database")]
        let users = domains
            .iter()
            .filter(|domain| domain.migrations().is_some())
            .map(|domain| domain.name())
            .collect();
        Self {
            #[cfg(feature = "database")]
            users,
            ..Self::default()
        }
    }

    /// What runs beside the requests.
    #[must_use]
    pub fn background(&self) -> &Background {
        &self.background
    }

    /// Waits until background tasks have ended or were handed back.
    #[cfg(feature = "tasks")]
    pub async fn tasks_stopped(&self) {
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(tasks) = tasks {
            tasks.stopped().await;
        }
    }

    /// The connection to the broker, if a domain asked for it.
    #[cfg(feature = "mqtt")]
    #[must_use]
    pub fn opened_mqtt(&self) -> Option<super::mqtt::Mqtt> {
        self.mqtt.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The database with the platform's share, if a domain opened it.
    #[cfg(feature = "database")]
    #[must_use]
    pub fn opened_database(&self) -> Option<super::database::Database> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn invalid_configuration(faults: &[Fault]) -> Error {
    let all: Vec<String> = faults.iter().map(ToString::to_string).collect();
    Error::new(Kind::Internal, "invalid_configuration", "The configuration is not valid.")
        .with_source(all.join("; "))
}

/// The place of a domain's service, empty until the domain has started.
pub struct Slot<T>(Arc<OnceLock<Arc<T>>>);

impl<T> Slot<T> {
    /// Fills the place; the first filling stays.
    pub fn fill(&self, service: T) {
        let _ = self.0.set(Arc::new(service));
    }

    /// The service, once there is one.
    #[must_use]
    pub fn get(&self) -> Option<&Arc<T>> {
        self.0.get()
    }
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Clone for Slot<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// A route whose answer may take longer than `http.default_timeout_ms`: a caller who does not say how long
/// he waits is given what it needs.
pub struct SlowRoute {
    /// Its template, with the domain's prefix.
    pub route: &'static str,
    /// How long its answer may take, known once the domain has started.
    pub needs: Slot<Duration>,
}

/// A started domain's service, as a handler's argument; 503 `domain_unavailable` before that.
pub struct Live<T>(pub Arc<T>);

impl<T: 'static> FromRequest for Live<T> {
    type Error = Error;
    type Future = std::future::Ready<Result<Self>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let service = request.app_data::<web::Data<Slot<T>>>().and_then(|slot| slot.get().cloned());
        std::future::ready(service.map(Self).ok_or_else(|| {
            Error::unavailable("domain_unavailable", "This service has not started; see /readyz.")
                .with_retry_after(Duration::from_secs(5))
        }))
    }
}
