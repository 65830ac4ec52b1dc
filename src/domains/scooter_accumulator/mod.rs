//! Battery cabinets over MQTT: which have charged accumulators, who took them, where they are now.
//! (Seed: `scooter-accumulator`.)
#![allow(dead_code, unused_imports, reason = "the rooms are being furnished")]

mod bookings;
mod cabinets;
mod ids;
mod places;
mod settings;

use std::future::Future;
use std::pin::Pin;

use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use utoipa_actix_web::service_config::ServiceConfig;

use self::settings::ScooterSettings;
use crate::platform::config::{Config, Fault};
use crate::platform::database::migrations::Migrations;
use crate::platform::domain::{Domain, Platform};
use crate::platform::error::Result;
use crate::platform::readiness::ReadinessRow;
use crate::platform::telemetry::metrics::Metrics;

/// Feature, route prefix and metric label.
pub const NAME: &str = "scooter-accumulator";

const SECTION: &str = "scooter_accumulator";

static EMBEDDED: EmbeddedMigrations = embed_migrations!("migrations/scooter_accumulator");

/// The domain.
pub struct ScooterAccumulator {}

impl ScooterAccumulator {
    /// Makes the domain; nothing is opened yet.
    #[must_use]
    pub fn new(_metrics: &Metrics) -> Self {
        Self {}
    }
}

impl Domain for ScooterAccumulator {
    fn name(&self) -> &'static str {
        NAME
    }

    fn mount(&self, _routes: &mut ServiceConfig<'_>) {}

    fn migrations(&self) -> Option<Migrations> {
        Some(Migrations { schema: "scooter_accumulator", embedded: &EMBEDDED })
    }

    fn check(&self, config: &Config) -> Vec<Fault> {
        config.section::<ScooterSettings>(SECTION).err().unwrap_or_default()
    }

    fn start<'a>(
        &'a self,
        platform: &'a Platform,
    ) -> Pin<Box<dyn Future<Output = Result<()>> + 'a>> {
        Box::pin(async move {
            let _settings: ScooterSettings = platform.section(SECTION)?;
            Ok(())
        })
    }

    fn dependencies(&self) -> Vec<ReadinessRow> {
        Vec::new()
    }
}
