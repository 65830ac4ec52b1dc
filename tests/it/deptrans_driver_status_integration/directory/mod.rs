//! The caches over driver-profiles and driver-categories-api, as the domain uses them.

mod dumps;
mod following;
mod shrinking;
mod starting;

use std::path::{Path, PathBuf};
use std::time::Duration;

use fleet::domains::deptrans_driver_status_integration::directory::{
    CategorySet, Directory, DirectoryMetrics, DirectorySettings, License, Sources,
};
use fleet::platform::background::Background;
use fleet::platform::error::Result;
use fleet::platform::telemetry::metrics::Metrics;
use fleet::platform::upstream::{UpstreamMetrics, UpstreamSettings};
use fleet::sandbox::{Sandbox, SandboxDriver};
use fleet::upstreams::driver_categories::DriverCategories;
use fleet::upstreams::driver_profiles::DriverProfiles;

/// In milliseconds: longer than a test takes.
const NEVER: u64 = 3_600_000;

/// A directory with what it runs on; the services outside are given.
struct Caches {
    directory: Directory,
    background: Background,
    metrics: Metrics,
}

/// A folder that is gone with this value.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("fleet-dump-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn dump(&self) -> PathBuf {
        self.0.join("directory.dump")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Caches {
    async fn start(sandbox: &Sandbox) -> Self {
        Self::try_start(sandbox, Path::new(""), NEVER).await.unwrap()
    }

    /// With full reads that are believed after so many milliseconds, however little they name.
    async fn believing_after(sandbox: &Sandbox, shrunken_ms: u64) -> Self {
        Self::try_start(sandbox, Path::new(""), shrunken_ms).await.unwrap()
    }

    async fn with_dump(sandbox: &Sandbox, folder: &Folder) -> Self {
        Self::try_start(sandbox, &folder.0, NEVER).await.unwrap()
    }

    async fn try_start(sandbox: &Sandbox, dump_dir: &Path, shrunken_ms: u64) -> Result<Self> {
        let metrics = Metrics::default();
        let registered = UpstreamMetrics::register(&metrics);
        let settings = |stand_in| UpstreamSettings {
            base_url: sandbox.base_url(stand_in),
            token: "test-fleet".into(),
            timeout_ms: 10_000,
            connect_timeout_ms: 5_000,
            breaker_open_ms: 50,
            ..UpstreamSettings::default()
        };
        let sources = Sources {
            profiles: DriverProfiles::new(&settings("driver-profiles"), &registered)?,
            categories: DriverCategories::new(&settings("driver-categories-api"), &registered)?,
            origin: "the sandbox".to_owned(),
        };
        let settings = DirectorySettings {
            refresh_ms: 20,
            page: 30,
            dump_dir: dump_dir.to_owned(),
            dump_ms: 3_600_000,
            least_share: 0.5,
            shrunken_ms,
        };
        let background = Background::default();
        let asked_for = ["econom".to_owned()];
        let watched = DirectoryMetrics::register(&metrics);
        let directory =
            Directory::start(sources, settings, &asked_for, &watched, &background).await?;
        Ok(Self { directory, background, metrics })
    }

    async fn stop(self) {
        self.background.finish(Duration::from_secs(10)).await;
    }

    fn metric(&self, series: &str) -> u64 {
        self.exported(series).unwrap_or(0)
    }

    /// Seconds since the feed was read; `None`: never.
    fn age(&self, cache: &str) -> Option<u64> {
        self.exported(&format!("deptrans_directory_age_seconds{{cache=\"{cache}\"}}"))
    }

    fn exported(&self, series: &str) -> Option<u64> {
        let text = self.metrics.render();
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map(|value| value.parse().expect("a whole number"))
    }

    fn loads(&self, cache: &str, outcome: &str) -> u64 {
        let series = "deptrans_directory_loads_total";
        self.metric(&format!("{series}{{cache=\"{cache}\",outcome=\"{outcome}\"}}"))
    }

    fn dumps(&self, outcome: &str) -> u64 {
        self.metric(&format!("deptrans_directory_dumps_total{{outcome=\"{outcome}\"}}"))
    }

    /// Whether all is as the stand-ins compute it for this driver.
    fn agrees(&self, driver: &SandboxDriver) -> bool {
        let license = driver.license.as_ref().map(|license| license.pd_id.clone());
        let found = match self.directory.license(&driver.park_id, &driver.driver_id) {
            License::UnknownProfile => return false,
            License::Without => None,
            License::Known(id) => Some(String::from(id)),
        };
        let works = |names: &[&str]| {
            let wanted: CategorySet = self.directory.category_set(names.iter().copied());
            self.directory.works_in_any(&driver.park_id, &driver.driver_id, wanted)
        };
        let expected = |name: &&str| Some(driver.categories.contains(name));
        found == license
            && ["econom", "comfort", "cargo"].iter().all(|name| works(&[name]) == expected(name))
    }
}
