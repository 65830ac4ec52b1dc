//! `[scooter_accumulator]`.

use std::time::Duration;

use serde::Deserialize;

use super::cabinets::near::MAX_RADIUS_M;
use super::commands::CommandSettings;
use crate::platform::config::{Faults, Section};

/// What an operator may set.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScooterSettings {
    /// How long a booking keeps its cells.
    pub booking_ttl_ms: u64,
    /// How far a cabinet may be that is named in place of one that cannot be booked, in metres.
    pub alternatives_radius_m: f64,
    /// From this charge on (percent) an accumulator that a person puts into a cell counts as charged,
    /// until the cabinet says what it is.
    pub charged_from: i16,
    /// How often bookings that have expired are written down as such.
    pub sweep_ms: u64,
    /// How often the gauges are read from the database.
    pub gauges_ms: u64,
    /// How long moves, commands and ended bookings are kept.
    pub history_days: i32,
    /// How cabinets are spoken to.
    pub commands: CommandSettings,
}

impl ScooterSettings {
    pub(super) fn booking_ttl(&self) -> Duration {
        Duration::from_millis(self.booking_ttl_ms)
    }

    pub(super) fn sweep(&self) -> Duration {
        Duration::from_millis(self.sweep_ms)
    }

    pub(super) fn gauges(&self) -> Duration {
        Duration::from_millis(self.gauges_ms)
    }
}

impl Section for ScooterSettings {
    fn check(&self, faults: &mut Faults) {
        let mut within = |holds: bool, key: &str, range: &str| {
            faults.require(holds, key, &format!("must be in {range}"));
        };
        let day = 86_400_000;
        within((100..=day).contains(&self.booking_ttl_ms), "booking_ttl_ms", "100..=86400000");
        let radius = (0.0..=MAX_RADIUS_M).contains(&self.alternatives_radius_m);
        within(radius, "alternatives_radius_m", "0..=20100000");
        within((0..=100).contains(&self.charged_from), "charged_from", "0..=100");
        within((50..=60_000).contains(&self.sweep_ms), "sweep_ms", "50..=60000");
        within((50..=600_000).contains(&self.gauges_ms), "gauges_ms", "50..=600000");
        within((1..=3650).contains(&self.history_days), "history_days", "1..=3650");
        self.commands.check(faults);
    }
}
