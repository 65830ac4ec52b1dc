//! The line to the cabinets: what the rooms share that speak with them.

mod metrics;

use std::future::Future;
use std::sync::Arc;

use futures_util::future::join_all;
use tokio::runtime::Handle;
use tokio::sync::Notify;

pub use self::metrics::{LineMetrics, UNREAD};
use super::commands::{CommandSettings, Drains, Find, Topics, Wakes};
use super::metrics::ScooterMetrics;
use super::{events, polling, settling};
use crate::platform::database::Database;
use crate::platform::error::Result;
use crate::platform::mqtt::Mqtt;
use crate::platform::shutdown::Shutdown;

/// What they share.
pub struct Line {
    pub database: Database,
    pub mqtt: Mqtt,
    pub topics: Topics,
    pub settings: CommandSettings,
    pub metrics: LineMetrics,
    /// What becomes of bookings.
    pub outcomes: ScooterMetrics,
    pub wakes: Arc<Wakes>,
    pub drains: Drains,
    /// Wakes the polling: a cabinet is to be asked soon.
    pub ask: Notify,
    /// The process stops: nothing new is begun.
    pub closing: Shutdown,
    /// The last request was answered: what was begun ends.
    pub stop: Shutdown,
    /// Where work runs that no caller may drop.
    pub runtime: Handle,
}

impl Line {
    /// Looks for commands.
    pub fn find(&self) -> Find {
        Find { answer: self.settings.answer() }
    }

    /// Subscribes to what cabinets say, and looks after commands and bookings until the process stops;
    /// what is awaited ends with that.
    ///
    /// # Errors
    /// The topic cannot be subscribed to.
    pub fn open(self: &Arc<Self>) -> Result<impl Future<Output = ()> + use<>> {
        let messages = self.mqtt.subscribe(&self.topics.events.filter())?;
        let waking = Arc::clone(&self.wakes).run(self.database.clone(), self.stop.clone());
        let work = [
            self.runtime.spawn(waking),
            self.runtime.spawn(events::run(Arc::clone(self), messages)),
            self.runtime.spawn(settling::sweep(Arc::clone(self))),
            self.runtime.spawn(polling::run(Arc::clone(self))),
        ];
        Ok(async move {
            join_all(work).await;
        })
    }
}
