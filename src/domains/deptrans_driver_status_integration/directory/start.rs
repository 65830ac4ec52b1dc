//! Brings the caches up, and keeps them up until the process stops.

use std::path::Path;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::dump::{self, DumpError, Head};
use super::refresh::Follower;
use super::store::Feed;
use super::{Directory, DirectoryMetrics, DirectorySettings};
use crate::platform::background::Background;
use crate::platform::error::{Error, Result};
use crate::platform::shutdown::Shutdown;
use crate::upstreams::driver_categories::{DriverCategories, DriverCategory};
use crate::upstreams::driver_profiles::{DriverProfiles, Profile};
use crate::upstreams::updates::UpdatesError;

/// After a dump was read, so long is waited for what changed since.
const CATCH_UP: Duration = Duration::from_secs(5);

/// What the caches are made of.
#[derive(Clone)]
pub struct Sources {
    /// Who knows the licences.
    pub profiles: DriverProfiles,
    /// Who knows the categories.
    pub categories: DriverCategories,
    /// Which services these are: a dump is of use for the same ones only.
    pub origin: String,
}

impl Directory {
    /// Brings the caches up, on a thread of their own that goes on until `background` ends. `asked_for`
    /// are the categories that will be asked for.
    ///
    /// # Errors
    /// `driver_profiles_unavailable`, `driver_categories_unavailable`: there is no dump, and the
    /// service could not be read to its end. `driver_profiles_empty`, `driver_categories_empty`: it
    /// named nobody.
    pub async fn start(
        sources: Sources,
        settings: DirectorySettings,
        asked_for: &[String],
        metrics: &DirectoryMetrics,
        background: &Background,
    ) -> Result<Self> {
        let metrics = metrics.clone();
        let asked_for = asked_for.to_vec();
        let (report, started) = oneshot::channel();
        background
            .spawn_thread("directory", move |shutdown| async move {
                match Keeper::open(sources, settings, &asked_for, &metrics).await {
                    Ok(keeper) => {
                        let _ = report.send(Ok(keeper.directory.clone()));
                        keeper.keep(shutdown).await;
                    }
                    Err(error) => {
                        let _ = report.send(Err(error));
                    }
                }
            })
            .map_err(Error::internal)?;
        started.await.map_err(Error::internal)?
    }
}

/// The only one that changes the directory.
struct Keeper {
    directory: Directory,
    profiles: Follower<Profile>,
    categories: Follower<DriverCategory>,
    settings: DirectorySettings,
    origin: String,
}

impl Keeper {
    async fn open(
        sources: Sources,
        settings: DirectorySettings,
        asked_for: &[String],
        metrics: &DirectoryMetrics,
    ) -> Result<Self> {
        let (directory, head) = match settings.dump_file() {
            Some(file) => from_dump(&file, &sources.origin, asked_for, metrics),
            None => (empty(asked_for, metrics), None),
        };
        let mark = |feed| head.as_ref().map(|head| head.mark(feed));
        let (profiles, categories) = (mark(Feed::Profiles), mark(Feed::Categories));
        let profiles = Follower::new(sources.profiles, directory.clone(), &settings, profiles);
        let categories =
            Follower::new(sources.categories, directory.clone(), &settings, categories);
        let keeper = Self { directory, profiles, categories, settings, origin: sources.origin };
        if head.is_some() {
            keeper.catch_up().await;
        } else {
            keeper.load().await?;
        }
        Ok(keeper)
    }

    /// Reads everything.
    async fn load(&self) -> Result<()> {
        let profiles = async {
            let unavailable = |error| unavailable(error, "driver_profiles_unavailable");
            self.profiles.read_to_end().await.map_err(unavailable)
        };
        let categories = async {
            let unavailable = |error| unavailable(error, "driver_categories_unavailable");
            self.categories.read_to_end().await.map_err(unavailable)
        };
        futures_util::future::try_join(profiles, categories).await?;
        let sizes = self.directory.sizes();
        for (named, code) in [
            (sizes.profiles, "driver_profiles_empty"),
            (sizes.categories, "driver_categories_empty"),
        ] {
            // There is nothing to compare a first read with, but that somebody works for us.
            if self.settings.caution().is_too_little(named, named.max(1)) {
                return Err(Error::unavailable(code, "A service names no driver at all."));
            }
        }
        tracing::info!(?sizes, "the caches of drivers were read");
        Ok(())
    }

    /// Reads what changed since the dump, as far as that is to be had soon.
    async fn catch_up(&self) {
        let both =
            futures_util::future::join(self.profiles.read_to_end(), self.categories.read_to_end());
        let (profiles_ok, categories_ok) = match timeout(CATCH_UP, both).await {
            Ok((profiles, categories)) => (profiles.is_ok(), categories.is_ok()),
            Err(_) => (false, false),
        };
        let sizes = self.directory.sizes();
        tracing::info!(
            ?sizes,
            profiles_ok,
            categories_ok,
            "the caches of drivers come from a dump"
        );
    }

    /// Follows the feeds and writes dumps; a last one at the end.
    async fn keep(self, shutdown: Shutdown) {
        let pause = self.settings.refresh();
        futures_util::future::join3(
            self.profiles.follow(pause, &shutdown),
            self.categories.follow(pause, &shutdown),
            self.dump_repeatedly(&shutdown),
        )
        .await;
    }

    async fn dump_repeatedly(&self, shutdown: &Shutdown) {
        let Some(file) = self.settings.dump_file() else { return };
        let mut stopping = false;
        while !stopping {
            self.dump(&file);
            stopping = shutdown.wait_or(self.settings.dump_pause()).await;
        }
        self.dump(&file);
    }

    /// Blocks this thread, on which nothing else is done but refreshing.
    fn dump(&self, file: &Path) {
        let (Some(profiles), Some(categories)) = (self.profiles.mark(), self.categories.mark())
        else {
            return;
        };
        let head = Head { origin: self.origin.clone(), profiles, categories };
        let result = dump::write(file, &head, &self.directory.0);
        if let Err(error) = &result {
            tracing::error!(%error, "the dump of the drivers' caches could not be written");
        }
        self.directory.metrics().dumped(if result.is_ok() { "written" } else { "failed" });
    }
}

fn empty(asked_for: &[String], metrics: &DirectoryMetrics) -> Directory {
    let directory = Directory::empty(metrics);
    // They come first, so that they have room whatever the feed names.
    let _ = directory.category_set(asked_for.iter().map(String::as_str));
    directory
}

fn from_dump(
    file: &Path,
    origin: &str,
    asked_for: &[String],
    metrics: &DirectoryMetrics,
) -> (Directory, Option<Head>) {
    let directory = empty(asked_for, metrics);
    match dump::read(file, origin, &directory.0) {
        Ok(head) => {
            metrics.dumped("loaded");
            for feed in [Feed::Profiles, Feed::Categories] {
                let age = jiff::Timestamp::now().duration_since(head.mark(feed).read_at);
                metrics.was_read(feed, Duration::try_from(age).unwrap_or_default());
            }
            (directory, Some(head))
        }
        Err(DumpError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            (directory, None)
        }
        Err(error) => {
            tracing::warn!(%error, "the dump of the drivers' caches is not used");
            metrics.dumped("ignored");
            (empty(asked_for, metrics), None)
        }
    }
}

fn unavailable(error: UpdatesError, code: &'static str) -> Error {
    match error {
        UpdatesError::Unavailable(error) => {
            Error::unavailable(code, "A cache of drivers could not be filled.").with_source(error)
        }
        UpdatesError::CursorRefused => {
            Error::unavailable(code, "A cache of drivers could not be filled.").with_source(error)
        }
    }
}
