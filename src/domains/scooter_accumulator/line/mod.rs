//! What the rooms that speak with cabinets work with.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::commands::{CommandSettings, Find, Topics, Wakes};
use super::metrics::CabinetMetrics;
use crate::platform::database::Database;
use crate::platform::mqtt::Mqtt;
use crate::platform::shutdown::Shutdown;

/// What they share.
pub struct Tools {
    pub database: Database,
    pub mqtt: Mqtt,
    pub topics: Topics,
    pub settings: CommandSettings,
    pub metrics: CabinetMetrics,
    pub wakes: Arc<Wakes>,
    /// Wakes the polling: a cabinet is to be asked soon.
    pub ask: Notify,
    pub stop: Shutdown,
    /// Where work runs that no caller may drop.
    pub runtime: Handle,
}

impl Tools {
    /// Looks for commands.
    pub fn find(&self) -> Find {
        Find { answer: self.settings.answer() }
    }
}
