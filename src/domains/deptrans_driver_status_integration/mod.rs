//! Tells the city's regulator (its system KRT) when drivers go on and off line, and what it answers
//! about their shifts. (Seed: `deptrans-driver-status-integration`.)

pub mod directory;
mod feeds;
#[allow(dead_code, reason = "Kafka comes next")]
mod intake;
#[allow(dead_code, reason = "their users come next")]
mod krt;
mod outside;
#[allow(dead_code, reason = "their users come next")]
mod regions;
mod settings;

use std::future::Future;
use std::pin::Pin;

use actix_web::web;
use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use utoipa_actix_web::service_config::ServiceConfig;

use self::directory::{Directory, DirectoryMetrics};
use self::intake::{Intake, IntakeMetrics};
use self::outside::Outside;
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
    intake: Slot<Intake>,
    intake_metrics: IntakeMetrics,
}

impl Deptrans {
    /// Makes the domain; nothing is opened yet.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            directory_metrics: DirectoryMetrics::register(metrics),
            directory: Slot::default(),
            outside: Slot::default(),
            intake: Slot::default(),
            intake_metrics: IntakeMetrics::register(metrics),
        }
    }

    #[allow(dead_code, reason = "started as soon as there are stand-ins to read from")]
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
        routes.app_data(web::Data::new(self.intake.clone()));
        intake::mount(routes);
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
            self.outside.fill(Outside::open(platform, &settings)?);
            self.intake.fill(Intake::start(platform, self.intake_metrics.clone())?);
            Ok(())
        })
    }

    fn dependencies(&self) -> Vec<ReadinessRow> {
        self.outside.get().map(|outside| outside.rows()).unwrap_or_default()
    }
}
