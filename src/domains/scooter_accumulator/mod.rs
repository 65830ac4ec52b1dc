//! Battery cabinets over MQTT: which have charged accumulators, who took them, where they are now.
//! (Seed: `scooter-accumulator`.)

mod accumulators;
mod bookings;
mod cabinets;
mod cleaning;
mod commands;
mod events;
mod execute;
mod ids;
mod keeping;
mod line;
mod metrics;
mod places;
mod polling;
mod settings;
mod settling;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web;
use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use tokio::sync::Notify;

use self::accumulators::Accumulators;
use self::bookings::Bookings;
use self::cabinets::Cabinets;
use self::commands::{Commands, Drains, Wakes};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use self::events::fuzz as fuzz_event;
use self::execute::Execution;
use self::line::{Line, LineMetrics};
use self::metrics::ScooterMetrics;
use self::settings::ScooterSettings;
use crate::platform::config::{Config, Fault};
use crate::platform::database::Database;
use crate::platform::database::migrations::Migrations;
use crate::platform::domain::{Domain, Platform, Slot, SlowRoute};
use crate::platform::error::{Error, Kind, Result};
use crate::platform::http::routes::Routes;
use crate::platform::readiness::ReadinessRow;
use crate::platform::telemetry::metrics::Metrics;

/// Feature, route prefix and metric label.
pub const NAME: &str = "scooter-accumulator";

const SECTION: &str = "scooter_accumulator";

static EMBEDDED: EmbeddedMigrations = embed_migrations!("migrations/scooter_accumulator");

/// The domain.
pub struct ScooterAccumulator {
    metrics: ScooterMetrics,
    line_metrics: LineMetrics,
    line: Slot<Arc<Line>>,
    commands: Slot<Commands>,
    execution: Slot<Execution>,
    execution_needs: Slot<Duration>,
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
            line_metrics: LineMetrics::register(metrics),
            line: Slot::default(),
            commands: Slot::default(),
            execution: Slot::default(),
            execution_needs: Slot::default(),
            cabinets: Slot::default(),
            accumulators: Slot::default(),
            bookings: Slot::default(),
        }
    }
}

impl ScooterAccumulator {
    fn open_line(&self, platform: &Platform, tools: &Tools) -> Result<Arc<Line>> {
        let settings = tools.settings.commands.clone();
        let topics = settings.topics().map_err(|(key, fault)| {
            let detail = "The configuration is not valid.";
            Error::new(Kind::Internal, "invalid_configuration", detail)
                .with_source(format!("commands.{key}: {fault}"))
        })?;
        let mqtt = platform.mqtt()?;
        let mut opened = Err(Error::internal("the line to the cabinets was not opened"));
        // Answers are heard until the last request has its own.
        platform.background().spawn(|stop| {
            let line = Arc::new(Line {
                database: tools.database.clone(),
                mqtt,
                topics,
                settings,
                metrics: self.line_metrics.clone(),
                outcomes: self.metrics.clone(),
                wakes: Arc::new(Wakes::default()),
                drains: Drains::default(),
                ask: Notify::new(),
                closing: platform.shutdown.clone(),
                stop,
                runtime: platform.runtime.clone(),
            });
            let mut work = None;
            opened = line.open().map(|running| {
                work = Some(running);
                line
            });
            async move {
                if let Some(work) = work {
                    work.await;
                }
            }
        });
        opened
    }
}

impl Domain for ScooterAccumulator {
    fn name(&self) -> &'static str {
        NAME
    }

    fn mount(&self, routes: &mut Routes<'_>) {
        routes.app_data(web::Data::new(self.cabinets.clone()));
        routes.app_data(web::Data::new(self.accumulators.clone()));
        routes.app_data(web::Data::new(self.bookings.clone()));
        routes.app_data(web::Data::new(self.commands.clone()));
        routes.app_data(web::Data::new(self.execution.clone()));
        cabinets::mount(routes);
        commands::mount(routes);
        accumulators::mount(routes);
        bookings::mount(routes);
        execute::mount(routes);
    }

    fn migrations(&self) -> Option<Migrations> {
        Some(Migrations { schema: "scooter_accumulator", embedded: &EMBEDDED })
    }

    fn uses_mqtt(&self) -> bool {
        true
    }

    fn slow_routes(&self) -> Vec<SlowRoute> {
        vec![SlowRoute { route: execute::ROUTE, needs: self.execution_needs.clone() }]
    }

    fn check(&self, config: &Config) -> Vec<Fault> {
        match config.section::<ScooterSettings>(SECTION) {
            Ok(settings) => settings.contradictions(SECTION, config),
            Err(faults) => faults,
        }
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
            let line = self.open_line(platform, &tools)?;
            self.commands.fill(Commands::new(Arc::clone(&line)));
            self.execution_needs.fill(line.settings.execution());
            self.execution.fill(Execution::new(Arc::clone(&line)));
            self.line.fill(line);
            self.cabinets.fill(Cabinets { tools: Arc::clone(&tools) });
            self.accumulators.fill(Accumulators { tools: Arc::clone(&tools) });
            self.bookings.fill(Bookings { tools: Arc::clone(&tools) });
            let cleanings = cleaning::cleanings(&tools.settings);
            let stop = platform.shutdown.clone();
            platform.background().spawn(move |_| keeping::run(tools, stop));
            platform.clean(cleanings)
        })
    }

    fn dependencies(&self) -> Vec<ReadinessRow> {
        self.line.get().map(|line| vec![line.mqtt.row()]).unwrap_or_default()
    }
}
