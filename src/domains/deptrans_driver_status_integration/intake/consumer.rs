//! Takes what Kafka brings.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::event::{self, StatusEvent, Unreadable};
use super::metrics::{IntakeMetrics, Source};
use super::{letters, service};
use crate::platform::context::Context;
use crate::platform::database::Database;
use crate::platform::error::Result;
use crate::platform::kafka::{Batch, BatchHandler, Record};
use crate::platform::seal::Seal;

/// How long a batch's transaction may take before it is tried again.
const PATIENCE: Duration = Duration::from_secs(10);

/// Handles batches of the topic.
pub(super) struct Events {
    pub database: Database,
    pub seal: Arc<Seal>,
    pub metrics: IntakeMetrics,
    pub topic: String,
}

impl BatchHandler for Events {
    fn handle<'a>(
        &'a self,
        batch: &'a Batch,
    ) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>> {
        Box::pin(self.keep(batch))
    }
}

impl Events {
    async fn keep(&self, batch: &Batch) -> Result<()> {
        let now = Timestamp::now();
        let mut events: Vec<StatusEvent> = Vec::with_capacity(batch.len());
        let mut unreadable: Vec<(Unreadable, Record<'_>)> = Vec::new();
        for record in batch.records() {
            match event::read(record.value, now) {
                Ok(event) => events.push(event),
                Err(why) => unreadable.push((why, record)),
            }
        }
        let letters: Vec<_> = unreadable
            .iter()
            .map(|(why, record)| {
                letters::write(&self.seal, why, (record.partition, record.offset), record.value)
            })
            .collect::<Result<_>>()?;
        let context = Context::background("kafka", PATIENCE);
        let recorded =
            service::record(&self.database, &context, &events, &self.topic, &letters).await?;
        self.metrics.recorded(Source::Kafka, recorded.accepted, recorded.superseded);
        self.tell(&unreadable);
        Ok(())
    }

    /// Of many that come together only the first is named.
    fn tell(&self, unreadable: &[(Unreadable, Record<'_>)]) {
        for (why, _) in unreadable {
            self.metrics.unreadable(Source::Kafka, why);
        }
        let Some((why, first)) = unreadable.first() else { return };
        let (reason, partition, offset) = (why.reason, first.partition, first.offset);
        let messages = unreadable.len();
        tracing::warn!(
            reason,
            partition,
            offset,
            messages,
            "events could not be read; they are kept"
        );
    }
}
