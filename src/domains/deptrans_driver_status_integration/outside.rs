//! The services outside that the domain calls.

use super::directory::Sources;
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
    pub(super) fn rows(&self) -> Vec<ReadinessRow> {
        vec![
            ReadinessRow::of("krt", self.krt.trouble()),
            ReadinessRow::of("personal", self.personal.trouble()),
            ReadinessRow::of("driver-profiles", self.sources.profiles.trouble()),
            ReadinessRow::of("driver-categories-api", self.sources.categories.trouble()),
            ReadinessRow::of("driver-trackstory", self.trackstory.trouble()),
        ]
    }
}
