//! What drivers do comes in, from Kafka or over HTTP, and the newest of each waits to be sent
//! (docs/decisions/deptrans-status-queue.md).

mod cleaning;
mod consumer;
mod event;
pub mod letters;
mod metrics;
mod model;
mod routes;
mod service;
mod settings;
mod store;

use std::sync::Arc;

use jiff::Timestamp;

use self::consumer::Events;
use self::event::StatusEvent;
#[cfg(any(test, feature = "fuzzing"))]
pub use self::event::fuzz;
pub(crate) use self::metrics::IntakeMetrics;
use self::metrics::Source;
use self::model::{RejectedEvent, StatusEvents, StatusEventsOutcome};
pub use self::settings::IntakeSettings;
use crate::platform::config::kafka::KafkaSettings;
use crate::platform::context::Context;
use crate::platform::database::Database;
use crate::platform::domain::Platform;
use crate::platform::error::Result;
use crate::platform::http::routes::Routes;
use crate::platform::kafka::Consumer;
use crate::platform::readiness::ReadinessRow;

/// Mounts the routes of the intake; they need an [`Intake`] in its slot.
pub(super) fn mount(routes: &mut Routes<'_>) {
    routes::mount(routes);
}

/// Takes events in.
pub struct Intake {
    database: Database,
    metrics: IntakeMetrics,
    /// Where there is a Kafka.
    consumer: Option<Arc<Consumer>>,
}

impl Intake {
    /// Begins to consume and to clean; to be called once.
    ///
    /// # Errors
    /// A section is not valid.
    pub(super) fn start(
        platform: &Platform,
        settings: &IntakeSettings,
        metrics: IntakeMetrics,
    ) -> Result<Self> {
        let database = platform.database()?;
        let kafka: KafkaSettings = platform.section("kafka")?;
        let events = Events {
            database: database.clone(),
            seal: Arc::new(platform.seal()?),
            metrics: metrics.clone(),
            topic: kafka.topic,
        };
        let consumer = platform.consume(Arc::new(events))?;
        platform.clean(cleaning::cleanings(settings))?;
        Ok(Self { database, metrics, consumer })
    }

    /// How Kafka is, where there is one. Without it the rest works.
    pub(super) fn row(&self) -> Option<ReadinessRow> {
        self.consumer.as_ref().map(|consumer| consumer.row())
    }

    /// Takes what came over HTTP. What cannot be read is told, and not kept: its sender has it.
    async fn take(&self, context: &Context, request: &StatusEvents) -> Result<StatusEventsOutcome> {
        let now = Timestamp::now();
        let mut events: Vec<StatusEvent> = Vec::with_capacity(request.events.len());
        let mut rejected = Vec::new();
        for (index, body) in request.events.iter().enumerate() {
            match event::read(body.get().as_bytes(), now) {
                Ok(event) => events.push(event),
                Err(why) => {
                    self.metrics.unreadable(Source::Http, &why);
                    rejected.push(RejectedEvent { index, detail: why.detail.into_owned() });
                }
            }
        }
        let recorded = service::record(&self.database, context, &events, "", &[]).await?;
        self.metrics.recorded(Source::Http, recorded.accepted, recorded.superseded);
        let (accepted, superseded) = (recorded.accepted, recorded.superseded);
        Ok(StatusEventsOutcome { accepted, superseded, rejected })
    }
}
