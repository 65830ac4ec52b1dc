//! `[deptrans_driver_status_integration]`.

use secrecy::SecretString;
use serde::Deserialize;

use super::check::CheckSettings;
use super::directory::DirectorySettings;
use super::feeds::FeedsSettings;
use super::intake::IntakeSettings;
use super::regions::{self, RegionSettings};
use super::sending::SendingSettings;
use super::supply::SupplySettings;
use crate::platform::config::{Faults, Section};
use crate::upstreams::krt::KrtPaths;

const MOST_CATEGORIES: usize = 32;

/// What an operator may set.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeptransSettings {
    /// Where the regulator's rules hold.
    pub regions: Vec<RegionSettings>,
    /// Who works in one of these categories is reported.
    pub categories: Vec<String>,
    /// The caches of drivers.
    pub directory: DirectorySettings,
    /// What drivers do comes in.
    pub intake: IntakeSettings,
    /// How the regulator's system is called.
    pub krt: KrtSettings,
    /// What pollers follow.
    pub feeds: FeedsSettings,
    /// Whether drivers may take orders.
    pub check: CheckSettings,
    /// How statuses are sent.
    pub sending: SendingSettings,
    /// How often supply at risk is counted.
    pub supply: SupplySettings,
    /// What fails for shorter is no outage.
    pub outage_after_ms: u64,
    /// For how long states of shifts are kept: those before the last, and one of which nothing was heard
    /// since.
    pub history_days: u8,
}

/// How the regulator's system is called.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KrtSettings {
    /// Whom it gives a token to.
    pub login: String,
    /// Proof of that.
    pub password: SecretString,
    /// Where it gives tokens, below its base URL.
    pub token_path: String,
    /// Where it compares an id with a licence number.
    pub check_path: String,
    /// Where it takes one status.
    pub status_path: String,
    /// Where it takes many.
    pub bulk_path: String,
    /// Whether it takes many at once.
    pub bulk: bool,
    /// Calls a second of all instances together.
    pub calls_per_second: u32,
    /// Of them, those that may leave at once after a pause.
    pub burst: u32,
    /// Reports of this process in flight.
    pub concurrency: usize,
    /// How often it is tried while it is down.
    pub probe_ms: u64,
    /// So long before a token ends it is replaced.
    pub replace_token_before_ms: u64,
}

impl KrtSettings {
    /// Where its methods are.
    pub fn paths(&self) -> KrtPaths {
        KrtPaths {
            token: self.token_path.clone(),
            check: self.check_path.clone(),
            status: self.status_path.clone(),
            bulk: self.bulk_path.clone(),
        }
    }

    fn check(&self, faults: &mut Faults) {
        for (key, path) in [
            ("krt.token_path", &self.token_path),
            ("krt.check_path", &self.check_path),
            ("krt.status_path", &self.status_path),
            ("krt.bulk_path", &self.bulk_path),
        ] {
            let is_path = path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic());
            faults.require(is_path, key, "must be a path: `/` and visible ASCII characters");
        }
        for (key, holds, range) in [
            ("calls_per_second", (1..=100_000).contains(&self.calls_per_second), "1..=100000"),
            ("burst", (1..=10_000).contains(&self.burst), "1..=10000"),
            ("concurrency", (1..=10_000).contains(&self.concurrency), "1..=10000"),
            ("probe_ms", (10..=600_000).contains(&self.probe_ms), "10..=600000"),
            (
                "replace_token_before_ms",
                (100..=86_400_000).contains(&self.replace_token_before_ms),
                "100..=86400000",
            ),
        ] {
            faults.require(holds, &format!("krt.{key}"), &format!("must be in {range}"));
        }
    }
}

impl Section for DeptransSettings {
    fn check(&self, faults: &mut Faults) {
        regions::check(&self.regions, faults);
        faults.require(
            (1..=MOST_CATEGORIES).contains(&self.categories.len())
                && self.categories.iter().all(|name| !name.is_empty()),
            "categories",
            "must be 1 to 32 names",
        );
        self.directory.check(faults);
        self.intake.check(faults);
        self.krt.check(faults);
        self.feeds.check(faults);
        self.check.check(faults);
        self.sending.check(faults);
        self.supply.check(faults);
        faults.require(
            (100..=3_600_000).contains(&self.outage_after_ms),
            "outage_after_ms",
            "must be in 100..=3600000",
        );
        faults.require((1..=30).contains(&self.history_days), "history_days", "must be in 1..=30");
    }
}
