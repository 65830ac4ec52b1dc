//! `[deptrans_driver_status_integration.check]`.

use std::time::Duration;

use serde::Deserialize;

use crate::platform::config::Faults;

/// What an operator may set.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckSettings {
    /// How long before its end a shift's end is told.
    pub shift_warning_minutes: u32,
    /// For how long a driver's position is good enough to know his region.
    pub position_ms: u64,
    /// How long driver-trackstory may take to tell positions; then the region is that of the last status.
    pub position_wait_ms: u64,
}

impl CheckSettings {
    pub(super) fn warning(&self) -> Duration {
        Duration::from_mins(u64::from(self.shift_warning_minutes))
    }

    pub(super) fn position(&self) -> Duration {
        Duration::from_millis(self.position_ms)
    }

    pub(super) fn position_wait(&self) -> Duration {
        Duration::from_millis(self.position_wait_ms)
    }

    pub(in super::super) fn check(&self, faults: &mut Faults) {
        let mut within = |holds: bool, key: &str, range: &str| {
            faults.require(holds, &format!("check.{key}"), &format!("must be in {range}"));
        };
        within(
            (0..=1_440).contains(&self.shift_warning_minutes),
            "shift_warning_minutes",
            "0..=1440",
        );
        within((100..=600_000).contains(&self.position_ms), "position_ms", "100..=600000");
        within((10..=60_000).contains(&self.position_wait_ms), "position_wait_ms", "10..=60000");
    }
}
