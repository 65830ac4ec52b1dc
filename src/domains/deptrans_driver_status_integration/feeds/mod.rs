//! The numbered feeds that caches all over the company follow: bindings of licences to ids, and states
//! of shifts. Reasons stand in `docs/decisions/deptrans-update-feeds.md`.
//!
//! `numbers` is what writers use. `heads` knows how far the feeds have come, so that most polls need no
//! database; `pages` writes what is read by `store`; `cursor` says where a poller is. `profiles` numbers
//! rows anew whose profiles changed, `tombstones` removes old ones: both run beside the requests.

mod cursor;
mod heads;
mod metrics;
mod model;
mod numbers;
mod pages;
mod profiles;
mod routes;
mod settings;
mod store;
mod tombstones;

use std::sync::Arc;

use actix_web::web::Bytes;
use tokio::runtime::Handle;

use self::cursor::Position;
#[cfg(any(test, feature = "fuzzing"))]
pub use self::cursor::fuzz;
use self::heads::Heads;
pub(super) use self::metrics::FeedsMetrics;
use self::model::{Profile, Profiles, Shown};
#[allow(unused_imports, reason = "the senders write to the feed of states")]
pub(super) use self::numbers::{Feed, Numbers, numbers_taken, take_numbers};
use self::pages::PageWriter;
pub(super) use self::settings::FeedsSettings;
use super::directory::Directory;
use crate::platform::context::Context;
use crate::platform::database::Database;
use crate::platform::domain::Platform;
use crate::platform::error::Result;
use crate::platform::http::routes::Routes;

/// The feeds, as they are read.
pub(super) struct Feeds {
    database: Database,
    /// On which pieces of pages are read while others are written.
    runtime: Handle,
    heads: Arc<Heads>,
    directory: Directory,
    metrics: FeedsMetrics,
}

/// What a poll gets.
enum Answer<R> {
    /// A whole page.
    Whole(Bytes),
    /// The first piece of one, and the writer of the rest.
    Begun(Bytes, PageWriter<R>),
}

impl Feeds {
    /// Takes up the work beside the requests, until the process stops.
    pub(super) fn start(
        platform: &Platform,
        settings: &FeedsSettings,
        directory: Directory,
        metrics: FeedsMetrics,
    ) -> Result<Self> {
        let database = platform.database()?;
        let heads = Arc::new(Heads::new(settings.fresh()));
        let (kept, look) = (Arc::clone(&heads), settings.look());
        let (pool, stop) = (database.clone(), platform.shutdown.clone());
        platform.runtime.spawn(async move { pool.follow(&*kept, look, &stop).await });
        platform.clean(tombstones::cleanings(settings))?;
        platform.runtime.spawn(profiles::follow(
            database.clone(),
            directory.clone(),
            metrics.clone(),
            platform.shutdown.clone(),
        ));
        let runtime = platform.runtime.clone();
        Ok(Self { database, runtime, heads, directory, metrics })
    }

    /// A page of up to `limit` items behind `cursor`; from the beginning without.
    ///
    /// # Errors
    /// `invalid_cursor`; `cursor_expired`; `database_unavailable`, also where nothing may have changed:
    /// that is said only as long as it is known.
    async fn poll<R: Shown>(
        self: &Arc<Self>,
        context: Context,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Answer<R>> {
        let mut from = None;
        if let Some(cursor) = cursor {
            let position = Position::decode(cursor, R::FEED)?;
            if !position.is_full_read()
                && let Some(age) = self.heads.ends_at(R::FEED, position.seq)
            {
                self.metrics.of(R::FEED).empty.inc();
                return Ok(Answer::Whole(pages::nothing_new(cursor, age)));
            }
            from = Some(position);
        }
        let (page, piece) = PageWriter::begin(Arc::clone(self), context, from, limit).await?;
        Ok(if page.has_ended() { Answer::Whole(piece) } else { Answer::Begun(piece, page) })
    }

    /// The profiles of a licence's driver, as this process knows them now.
    fn profiles_of(&self, license: &str) -> Profiles<'static> {
        let mut profiles = Vec::new();
        self.directory.each_profile(license, |park, driver| {
            let (park_id, driver_id) = (park.to_owned().into(), driver.to_owned().into());
            profiles.push(Profile { park_id, driver_id });
        });
        profiles
    }
}

/// Mounts the routes of the feeds.
pub(super) fn mount(routes: &mut Routes<'_>) {
    routes::mount(routes);
}
