//! The services outside that the domain calls.

use super::directory::{Directory, Sources};
use super::settings::DeptransSettings;
use crate::platform::domain::Platform;
use crate::platform::error::Result;
use crate::platform::readiness::ReadinessRow;
use crate::platform::upstream::UpstreamSettings;
use crate::upstreams::driver_categories::DriverCategories;
use crate::upstreams::driver_profiles::DriverProfiles;
use crate::upstreams::driver_trackstory::DriverTrackstory;
use crate::upstreams::krt::Krt;
use crate::upstreams::personal::Personal;

/// Their names under `upstreams` in the configuration.
pub(super) const NAMES: [&str; 5] =
    ["krt", "personal", "driver_profiles", "driver_categories", "driver_trackstory"];

/// A client of each. Cheap to clone.
#[derive(Clone)]
pub(super) struct Outside {
    pub(super) krt: Krt,
    pub(super) personal: Personal,
    pub(super) sources: Sources,
    pub(super) trackstory: DriverTrackstory,
}

impl Outside {
    /// # Errors
    /// A section is not valid.
    pub(super) fn open(platform: &Platform, settings: &DeptransSettings) -> Result<Self> {
        let section = |name: &str| -> Result<UpstreamSettings> {
            platform.section(&format!("upstreams.{name}"))
        };
        let metrics = platform.upstream_metrics();
        let (profiles, categories) = (section("driver_profiles")?, section("driver_categories")?);
        let sources = Sources {
            profiles: DriverProfiles::new(&profiles, metrics)?,
            categories: DriverCategories::new(&categories, metrics)?,
            origin: format!("{} {}", profiles.base_url, categories.base_url),
        };
        Ok(Self {
            krt: Krt::new(&section("krt")?, settings.krt.paths(), metrics)?,
            personal: Personal::new(&section("personal")?, metrics)?,
            sources,
            trackstory: DriverTrackstory::new(&section("driver_trackstory")?, metrics)?,
        })
    }

    /// How each is, as far as calls have shown.
    pub(super) fn rows(&self, directory: &Directory) -> Vec<ReadinessRow> {
        let profiles = self.sources.profiles.trouble().or(directory.profiles_trouble());
        let categories = self.sources.categories.trouble().or(directory.categories_trouble());
        vec![
            ReadinessRow::of("krt", self.krt.trouble()),
            ReadinessRow::of("personal", self.personal.trouble()),
            ReadinessRow::of("driver-profiles", profiles),
            ReadinessRow::of("driver-categories-api", categories),
            ReadinessRow::of("driver-trackstory", self.trackstory.trouble()),
        ]
    }
}
