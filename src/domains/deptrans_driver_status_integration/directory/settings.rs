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
    /// A full read that names less than this share of what is known is not believed at once.
    pub least_share: f64,
    /// How long it must have named no more to be believed, in milliseconds.
    pub shrunken_ms: u64,
}

impl DirectorySettings {
    pub(super) fn refresh(&self) -> Duration {
        Duration::from_millis(self.refresh_ms)
    }

    pub(super) fn dump_pause(&self) -> Duration {
        Duration::from_millis(self.dump_ms)
    }

    /// What is asked of a full read.
    pub(super) fn caution(&self) -> Caution {
        let believed_after = Duration::from_millis(self.shrunken_ms);
        Caution { least_share: self.least_share, believed_after }
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
        faults.require(
            (0.0..=1.0).contains(&self.least_share),
            "directory.least_share",
            "must be in 0..=1",
        );
        faults.require(
            (1_000..=86_400_000).contains(&self.shrunken_ms),
            "directory.shrunken_ms",
            "must be in 1000..=86400000",
        );
    }
}

/// When a full read is believed that names much less than is known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caution {
    least_share: f64,
    /// It must have named no more for so long.
    pub(super) believed_after: Duration,
}

impl Caution {
    /// Whether it is too little to be believed at once that `named` are left of `known`.
    pub(super) fn is_too_little(self, named: usize, known: usize) -> bool {
        #[allow(clippy::cast_precision_loss, reason = "a share needs no more")]
        let (named, known) = (named as f64, known as f64);
        named < known * self.least_share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_what_is_known_is_asked_for() {
        let caution = |least_share| Caution { least_share, believed_after: Duration::ZERO };
        for (named, known, too_little) in
            [(0, 0, false), (0, 1, true), (49, 100, true), (50, 100, false), (200, 100, false)]
        {
            assert_eq!(caution(0.5).is_too_little(named, known), too_little, "{named} of {known}");
            assert!(!caution(0.0).is_too_little(named, known));
        }
    }
}
