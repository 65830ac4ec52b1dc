//! Tells the city's regulator (its system KRT) when drivers go on and off line, and what it answers
//! about their shifts. (Seed: `deptrans-driver-status-integration`.)

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

use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use utoipa_actix_web::service_config::ServiceConfig;

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
    outside: Slot<Outside>,
}

impl Deptrans {
    /// Makes the domain; nothing is opened yet.
    #[must_use]
    pub fn new(_metrics: &Metrics) -> Self {
        Self { outside: Slot::default() }
    }
}

impl Domain for Deptrans {
    fn name(&self) -> &'static str {
        NAME
    }

    fn mount(&self, _routes: &mut ServiceConfig<'_>) {}

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
            Ok(())
        })
    }

    fn dependencies(&self) -> Vec<ReadinessRow> {
        self.outside.get().map(|outside| outside.rows()).unwrap_or_default()
    }
}
