//! Tells the city's regulator (its system KRT) when drivers go on and off line, and what it answers
//! about their shifts. (Seed: `deptrans-driver-status-integration`.)

mod bindings;
mod check;
pub mod directory;
mod feeds;
#[allow(dead_code, reason = "their users come next")]
mod intake;
#[allow(dead_code, reason = "their users come next")]
mod krt;
mod outside;
#[allow(dead_code, reason = "their users come next")]
mod regions;
mod settings;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use actix_web::web;
use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use utoipa_actix_web::service_config::ServiceConfig;

use self::bindings::{Bindings, BindingsMetrics};
use self::check::{CheckMetrics, Checks};
use self::directory::{Directory, DirectoryMetrics};
use self::feeds::{Feeds, FeedsMetrics};
use self::outside::Outside;
use self::regions::Regions;
use self::settings::DeptransSettings;
use crate::platform::config::{Config, Fault};
use crate::platform::database::migrations::Migrations;
use crate::platform::domain::{Domain, Platform, Slot};
use crate::platform::error::Result;
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
}

impl Domain for Deptrans {
    fn name(&self) -> &'static str {
        NAME
    }

    fn mount(&self, routes: &mut ServiceConfig<'_>) {
        routes.app_data(web::Data::new(self.feeds.clone()));
        routes.app_data(web::Data::new(self.bindings.clone()));
        routes.app_data(web::Data::new(self.checks.clone()));
        feeds::mount(routes);
        bindings::mount(routes);
        check::mount(routes);
    }

    fn migrations(&self) -> Option<Migrations> {
        Some(Migrations { schema: "deptrans", embedded: &EMBEDDED })
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
            self.outside.fill(outside.clone());
            let database = platform.database()?;
            let regions = Arc::new(Regions::new(&settings.regions));
            let directory = Directory::empty(&self.directory_metrics);
            let krt = Arc::new(krt::Gateway {});
            self.checks.fill(Checks::new(
                &settings.check,
                database.clone(),
                directory.clone(),
                outside.trackstory.clone(),
                regions,
                self.check_metrics.clone(),
            ));
            self.bindings.fill(Bindings {
                database: database.clone(),
                directory: directory.clone(),
                personal: outside.personal.clone(),
                krt,
                metrics: self.bindings_metrics.clone(),
            });
            let metrics = self.feeds_metrics.clone();
            self.feeds.fill(Feeds::start(platform, &settings.feeds, directory, metrics)?);
            Ok(())
        })
    }

    fn dependencies(&self) -> Vec<ReadinessRow> {
        self.outside.get().map(|outside| outside.rows()).unwrap_or_default()
    }
}
