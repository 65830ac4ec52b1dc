//! Battery cabinets over MQTT: which have charged accumulators, who took them, where they are now.
//! (Seed: `scooter-accumulator`.)
#![allow(dead_code, unused_imports, reason = "the rooms are being furnished")]

mod accumulators;
mod bookings;
mod cabinets;
mod ids;
mod keeping;
mod metrics;
mod places;
mod settings;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use actix_web::web;
use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use utoipa_actix_web::service_config::ServiceConfig;

use self::accumulators::Accumulators;
use self::bookings::Bookings;
use self::cabinets::Cabinets;
use self::metrics::ScooterMetrics;
use self::settings::ScooterSettings;
use crate::platform::config::{Config, Fault};
use crate::platform::database::Database;
use crate::platform::database::migrations::Migrations;
use crate::platform::domain::{Domain, Platform, Slot};
use crate::platform::error::Result;
use crate::platform::readiness::ReadinessRow;
use crate::platform::telemetry::metrics::Metrics;

/// Feature, route prefix and metric label.
pub const NAME: &str = "scooter-accumulator";

const SECTION: &str = "scooter_accumulator";

static EMBEDDED: EmbeddedMigrations = embed_migrations!("migrations/scooter_accumulator");

/// The domain.
pub struct ScooterAccumulator {
    metrics: ScooterMetrics,
    cabinets: Slot<Cabinets>,
    accumulators: Slot<Accumulators>,
    bookings: Slot<Bookings>,
}

/// What all rooms work with.
struct Tools {
    database: Database,
    settings: ScooterSettings,
    metrics: ScooterMetrics,
}

impl ScooterAccumulator {
    /// Makes the domain; nothing is opened yet.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            metrics: ScooterMetrics::register(metrics),
            cabinets: Slot::default(),
            accumulators: Slot::default(),
            bookings: Slot::default(),
        }
    }
}

impl Domain for ScooterAccumulator {
    fn name(&self) -> &'static str {
        NAME
    }

    fn mount(&self, routes: &mut ServiceConfig<'_>) {
        routes.app_data(web::Data::new(self.cabinets.clone()));
        routes.app_data(web::Data::new(self.accumulators.clone()));
        routes.app_data(web::Data::new(self.bookings.clone()));
        cabinets::mount(routes);
        accumulators::mount(routes);
        bookings::mount(routes);
    }

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
            let tools = Arc::new(Tools {
                database: platform.database()?,
                settings: platform.section(SECTION)?,
                metrics: self.metrics.clone(),
            });
            self.cabinets.fill(Cabinets { tools: Arc::clone(&tools) });
            self.accumulators.fill(Accumulators { tools: Arc::clone(&tools) });
            self.bookings.fill(Bookings { tools: Arc::clone(&tools) });
            let stop = platform.shutdown.clone();
            platform.background().spawn(move |_| keeping::run(tools, stop));
            Ok(())
        })
    }

    fn dependencies(&self) -> Vec<ReadinessRow> {
        Vec::new()
    }
}
