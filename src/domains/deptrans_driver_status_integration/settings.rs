//! `[deptrans_driver_status_integration]`.

use secrecy::SecretString;
use serde::Deserialize;

use super::directory::DirectorySettings;
use super::regions::{self, RegionSettings};
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
    /// How the regulator's system is called.
    pub krt: KrtSettings,
}

/// How the regulator's system is called.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "login, password and bulk are for the gateway that sends")]
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
        self.krt.check(faults);
    }
}
