//! `[deptrans_driver_status_integration.directory]`.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::platform::config::Faults;

/// What an operator may set of the caches.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirectorySettings {
    /// Pause between two looks for changes, in milliseconds.
    pub refresh_ms: u64,
    /// Changes in one answer.
    pub page: usize,
    /// Where the dump is kept; empty: there is none.
    pub dump_dir: PathBuf,
    /// Pause between two dumps, in milliseconds.
    pub dump_ms: u64,
}

impl DirectorySettings {
    pub(super) fn refresh(&self) -> Duration {
        Duration::from_millis(self.refresh_ms)
    }

    pub(super) fn dump_pause(&self) -> Duration {
        Duration::from_millis(self.dump_ms)
    }

    /// Where the dump is, if there is to be one.
    pub(super) fn dump_file(&self) -> Option<PathBuf> {
        let dir = &self.dump_dir;
        (!dir.as_os_str().is_empty()).then(|| dir.join("directory.dump"))
    }

    /// Notes what is out of range, below `directory.`.
    pub fn check(&self, faults: &mut Faults) {
        faults.require(
            (10..=3_600_000).contains(&self.refresh_ms),
            "directory.refresh_ms",
            "must be in 10..=3600000",
        );
        faults.require((1..=50_000).contains(&self.page), "directory.page", "must be in 1..=50000");
        faults.require(
            (1_000..=86_400_000).contains(&self.dump_ms),
            "directory.dump_ms",
            "must be in 1000..=86400000",
        );
    }
}
