//! `[deptrans_driver_status_integration.supply]`.

use std::time::Duration;

use serde::Deserialize;

use crate::platform::config::Faults;

/// What an operator may set.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SupplySettings {
    /// How often each instance counts the queue.
    pub queue_ms: u64,
    /// How often it counts the drivers at risk; that reads the table of statuses.
    pub supply_ms: u64,
}

impl SupplySettings {
    pub(super) fn queue(&self) -> Duration {
        Duration::from_millis(self.queue_ms)
    }

    pub(super) fn supply(&self) -> Duration {
        Duration::from_millis(self.supply_ms)
    }

    pub(in super::super) fn check(&self, faults: &mut Faults) {
        for (key, value) in [("queue_ms", self.queue_ms), ("supply_ms", self.supply_ms)] {
            let holds = (10..=3_600_000).contains(&value);
            faults.require(holds, &format!("supply.{key}"), "must be in 10..=3600000");
        }
    }
}
