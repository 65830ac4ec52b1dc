//! `[deptrans_driver_status_integration.feeds]`.

use std::time::Duration;

use serde::Deserialize;

use crate::platform::config::Faults;

/// What an operator may set.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedsSettings {
    /// How often the database is asked for changes that no notification told of.
    pub look_ms: u64,
    /// For how long what was seen then is good enough to say that nothing changed.
    pub fresh_ms: u64,
    /// How long removed items are kept to tell pollers of it.
    pub tombstone_days: u32,
    /// How often those that are older are looked for.
    pub clean_ms: u64,
}

impl FeedsSettings {
    pub(super) fn look(&self) -> Duration {
        Duration::from_millis(self.look_ms)
    }

    pub(super) fn fresh(&self) -> Duration {
        Duration::from_millis(self.fresh_ms)
    }

    pub(super) fn clean(&self) -> Duration {
        Duration::from_millis(self.clean_ms)
    }

    pub(in super::super) fn check(&self, faults: &mut Faults) {
        let mut within = |holds: bool, key: &str, range: &str| {
            faults.require(holds, &format!("feeds.{key}"), &format!("must be in {range}"));
        };
        within((50..=10_000).contains(&self.look_ms), "look_ms", "50..=10000");
        within((self.look_ms..=30_000).contains(&self.fresh_ms), "fresh_ms", "look_ms..=30000");
        within((100..=86_400_000).contains(&self.clean_ms), "clean_ms", "100..=86400000");
        within((1..=365).contains(&self.tombstone_days), "tombstone_days", "1..=365");
    }
}
