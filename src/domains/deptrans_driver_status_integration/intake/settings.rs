//! `[deptrans_driver_status_integration.intake]`.

use serde::Deserialize;

use crate::platform::config::Faults;

/// What an operator may set.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntakeSettings {
    /// For how long a status that was sent stays, so that an older event changes nothing.
    pub status_hours: u16,
    /// For how long messages that are no events are kept.
    pub dead_letter_days: u16,
}

impl IntakeSettings {
    pub(in crate::domains::deptrans_driver_status_integration) fn check(
        &self,
        faults: &mut Faults,
    ) {
        faults.require(
            (1..=720).contains(&self.status_hours),
            "intake.status_hours",
            "must be in 1..=720",
        );
        faults.require(
            (1..=365).contains(&self.dead_letter_days),
            "intake.dead_letter_days",
            "must be in 1..=365",
        );
    }
}
