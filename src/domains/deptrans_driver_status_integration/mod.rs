//! Tells the city's regulator (its system KRT) when drivers go on and off line, and what it answers
//! about their shifts. (Seed: `deptrans-driver-status-integration`.)

mod bindings;
mod check;
pub mod directory;
mod feeds;
mod intake;
mod krt;
mod outages;
mod outside;
mod regions;
mod retention;
mod sending;
mod settings;
mod supply;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web;
use diesel_migrations::{EmbeddedMigrations, embed_migrations};

use self::bindings::{Bindings, BindingsMetrics};
use self::check::{CheckMetrics, Checks};
use self::directory::{Directory, DirectoryMetrics};
use self::feeds::{Feeds, FeedsMetrics};
pub use self::intake::letters as dead_letters;
use self::intake::{Intake, IntakeMetrics};
use self::krt::Gateway;
use self::outages::Outages;
use self::outside::Outside;
use self::regions::Regions;
use self::sending::{Drivers, Rest, Sender, SendingMetrics};
use self::settings::DeptransSettings;
use self::supply::SupplyMetrics;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use self::{feeds::fuzz as fuzz_cursor, intake::fuzz as fuzz_event};
use crate::platform::config::{Config, Fault};
use crate::platform::database::migrations::Migrations;
use crate::platform::domain::{Domain, Platform, Slot};
use crate::platform::error::{Error, Result};
use crate::platform::http::routes::Routes;
use crate::platform::readiness::ReadinessRow;
use crate::platform::telemetry::metrics::Metrics;

/// Feature, route prefix and metric label.
pub const NAME: &str = "deptrans-driver-status-integration";

const SECTION: &str = "deptrans_driver_status_integration";

static EMBEDDED: EmbeddedMigrations = embed_migrations!("migrations/deptrans");

/// The domain.
pub struct Deptrans {
    directory_metrics: DirectoryMetrics,
    directory: Slot<Directory>,
    outside: Slot<Outside>,
    feeds: Slot<Feeds>,
    feeds_metrics: FeedsMetrics,
    bindings: Slot<Bindings>,
    bindings_metrics: BindingsMetrics,
    checks: Slot<Checks>,
    check_metrics: CheckMetrics,
    intake: Slot<Intake>,
    intake_metrics: IntakeMetrics,
    outages: Slot<Outages>,
    sending_metrics: SendingMetrics,
    supply_metrics: SupplyMetrics,
}

impl Deptrans {
    /// Makes the domain; nothing is opened yet.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            directory_metrics: DirectoryMetrics::register(metrics),
            directory: Slot::default(),
            outside: Slot::default(),
            feeds: Slot::default(),
            feeds_metrics: FeedsMetrics::register(metrics),
            bindings: Slot::default(),
            bindings_metrics: BindingsMetrics::register(metrics),
            checks: Slot::default(),
            check_metrics: CheckMetrics::register(metrics),
            intake: Slot::default(),
            intake_metrics: IntakeMetrics::register(metrics),
            outages: Slot::default(),
            sending_metrics: SendingMetrics::register(metrics),
            supply_metrics: SupplyMetrics::register(metrics),
        }
    }

    /// The caches, brought up by the first attempt to start that gets so far.
    async fn directory(
        &self,
        platform: &Platform,
        outside: &Outside,
        settings: &DeptransSettings,
    ) -> Result<Directory> {
        if let Some(directory) = self.directory.get() {
            return Ok(Directory::clone(directory));
        }
        let directory = Directory::start(
            outside.sources.clone(),
            settings.directory.clone(),
            &settings.categories,
            &self.directory_metrics,
            platform.background(),
        )
        .await?;
        self.directory.fill(directory.clone());
        Ok(directory)
    }

    /// Begins what runs beside the requests: senders, on a thread of their own, and what watches and
    /// cleans. Comes last in a start: it is done once.
    fn send(
        &self,
        platform: &Platform,
        settings: &DeptransSettings,
        outside: &Outside,
        directory: Directory,
        krt: Arc<Gateway>,
        regions: Arc<Regions>,
    ) -> Result<()> {
        let database = platform.database()?;
        let background = platform.background();
        let sender = Sender {
            database: database.clone(),
            drivers: Drivers::new(directory, &settings.categories),
            trackstory: outside.trackstory.clone(),
            personal: outside.personal.clone(),
            krt: Arc::clone(&krt),
            regions: Arc::clone(&regions),
            settings: settings.sending.clone(),
            metrics: self.sending_metrics.clone(),
            rest: Rest::default(),
        };
        background
            .spawn_thread("senders", move |stop| sender.run(stop))
            .map_err(Error::internal)?;

        let after = Duration::from_millis(settings.outage_after_ms);
        let watched = database.clone();
        background.spawn(move |stop| Outages::watch(watched, krt, after, stop));
        let supply = settings.supply.clone();
        let metrics = self.supply_metrics.clone();
        background.spawn(move |stop| supply::run(database, regions, supply, metrics, stop));
        platform.clean(retention::cleanings(settings.history_days))
    }
}

impl Domain for Deptrans {
    fn name(&self) -> &'static str {
        NAME
    }

    fn mount(&self, routes: &mut Routes<'_>) {
        routes.app_data(web::Data::new(self.feeds.clone()));
        routes.app_data(web::Data::new(self.bindings.clone()));
        routes.app_data(web::Data::new(self.checks.clone()));
        feeds::mount(routes);
        bindings::mount(routes);
        check::mount(routes);
        routes.app_data(web::Data::new(self.intake.clone()));
        routes.app_data(web::Data::new(self.outages.clone()));
        intake::mount(routes);
        outages::mount(routes);
    }

    fn migrations(&self) -> Option<Migrations> {
        Some(Migrations { schema: "deptrans", embedded: &EMBEDDED })
    }

    fn uses_kafka(&self) -> bool {
        true
    }

    fn uses_secrets(&self) -> bool {
        true
    }

    fn upstreams(&self, _: &Config) -> Vec<&'static str> {
        outside::NAMES.to_vec()
    }

    fn check(&self, config: &Config) -> Vec<Fault> {
        config.section::<DeptransSettings>(SECTION).err().unwrap_or_default()
    }

    fn start<'a>(
        &'a self,
        platform: &'a Platform,
    ) -> Pin<Box<dyn Future<Output = Result<()>> + 'a>> {
        Box::pin(async move {
            let settings: DeptransSettings = platform.section(SECTION)?;
            let outside = Outside::open(platform, &settings)?;
            let database = platform.database()?;
            let gateway = Arc::new(Gateway::new(
                &settings.krt,
                outside.krt.clone(),
                database.clone(),
                platform.seal()?,
            ));
            let regions = Arc::new(Regions::new(&settings.regions));
            let directory = self.directory(platform, &outside, &settings).await?;
            // What it does beside the requests is begun once, also when a later step of a start fails.
            if self.feeds.get().is_none() {
                let metrics = self.feeds_metrics.clone();
                let feeds = Feeds::start(platform, &settings.feeds, directory.clone(), metrics)?;
                self.feeds.fill(feeds);
            }
            self.checks.fill(Checks::new(
                &settings.check,
                database.clone(),
                directory.clone(),
                outside.trackstory.clone(),
                Arc::clone(&regions),
                self.check_metrics.clone(),
            ));
            self.bindings.fill(Bindings {
                database: database.clone(),
                directory: directory.clone(),
                personal: outside.personal.clone(),
                krt: Arc::clone(&gateway),
                metrics: self.bindings_metrics.clone(),
            });
            if self.intake.get().is_none() {
                let metrics = self.intake_metrics.clone();
                self.intake.fill(Intake::start(platform, &settings.intake, metrics)?);
            }
            self.outages.fill(Outages::new(database));
            self.send(platform, &settings, &outside, directory, gateway, regions)?;
            self.outside.fill(outside);
            Ok(())
        })
    }

    fn dependencies(&self) -> Vec<ReadinessRow> {
        let mut rows = Vec::new();
        if let (Some(outside), Some(directory)) = (self.outside.get(), self.directory.get()) {
            rows = outside.rows(directory);
        }
        rows.extend(self.intake.get().and_then(|intake| intake.row()));
        rows
    }
}
