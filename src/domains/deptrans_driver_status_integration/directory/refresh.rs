//! Follows the two feeds: everything first, then what changes.
//!
//! A full read goes over what is served: what it names is set, and at its end what it did not name is
//! taken away. So there is never a second copy, and a full read that takes long or breaks off shows in
//! nothing but age. A full read that names much less than is known takes nothing away at first: it is
//! repeated, and believed when it has named no more for a while.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::yield_now;
use tokio::time::Instant;

use super::dump::Mark;
use super::id::IdRef;
use super::settings::Caution;
use super::store::Feed;
use super::{Directory, DirectorySettings};
use crate::platform::context::Context;
use crate::platform::ids::MAX_ID_LENGTH;
use crate::platform::shutdown::Shutdown;
use crate::platform::upstream::UpstreamError;
use crate::upstreams::driver_categories::DriverCategory;
use crate::upstreams::driver_profiles::Profile;
use crate::upstreams::updates::{Item, Updates, UpdatesError};

/// How long one page is waited for, repetitions included.
const PATIENCE: Duration = Duration::from_secs(15);
/// The longest pause while the service fails.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A full read that is not believed is repeated after so many usual pauses.
const RARELY: u32 = 30;

/// What an item of a feed does.
pub(super) trait Source: Item {
    const FEED: Feed;

    /// Applies it within the load `load`; false when its ids are none.
    fn apply(&self, directory: &Directory, load: u16, tell: bool) -> bool;

    /// Takes away what a full load did not name.
    fn remove(directory: &Directory, park: u32, driver: IdRef<'_>, tell: bool);
}

impl Source for Profile {
    const FEED: Feed = Feed::Profiles;

    fn apply(&self, directory: &Directory, load: u16, tell: bool) -> bool {
        if !(is_id(&self.park_id) && is_id(&self.driver_id)) {
            return false;
        }
        let license = self.license_pd_id.as_deref().filter(|license| is_id(license));
        let (park, driver) =
            (directory.store().intern_park(&self.park_id), IdRef::new(&self.driver_id));
        let touched = if self.is_deleted {
            directory.store().remove_profile(park, driver)
        } else {
            directory.store().set_license(park, driver, license.map(IdRef::new), load)
        };
        if let Some(touched) = touched.filter(|_| tell) {
            directory.changes().add(touched);
        }
        true
    }

    fn remove(directory: &Directory, park: u32, driver: IdRef<'_>, tell: bool) {
        let touched = directory.store().remove_profile(park, driver);
        if let Some(touched) = touched.filter(|_| tell) {
            directory.changes().add(touched);
        }
    }
}

impl Source for DriverCategory {
    const FEED: Feed = Feed::Categories;

    fn apply(&self, directory: &Directory, load: u16, _: bool) -> bool {
        if !(is_id(&self.park_id) && is_id(&self.driver_id)) {
            return false;
        }
        let store = directory.store();
        let (park, driver) = (store.intern_park(&self.park_id), IdRef::new(&self.driver_id));
        if self.is_deleted {
            store.remove_categories(park, driver);
        } else {
            let set = store.category_set(self.categories.iter().map(String::as_str));
            store.set_categories(park, driver, set, load);
        }
        true
    }

    fn remove(directory: &Directory, park: u32, driver: IdRef<'_>, _: bool) {
        directory.store().remove_categories(park, driver);
    }
}

fn is_id(text: &str) -> bool {
    (1..=MAX_ID_LENGTH).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

/// Keeps the directory up to date with one feed. There is one for each.
pub(super) struct Follower<S> {
    source: Updates<S>,
    directory: Directory,
    page: usize,
    caution: Caution,
    cursor: RefCell<Option<String>>,
    read_at: Cell<Option<Timestamp>>,
    /// The full load that is under way, and whether what it changes is told.
    load: Cell<u16>,
    is_full: Cell<bool>,
    tell: Cell<bool>,
    /// Since when full reads name too little to be believed.
    shrunken_since: Cell<Option<Instant>>,
}

impl<S: Source> Follower<S> {
    /// Begins with `mark`, or with everything.
    pub(super) fn new(
        source: Updates<S>,
        directory: Directory,
        settings: &DirectorySettings,
        mark: Option<&Mark>,
    ) -> Self {
        Self {
            source,
            directory,
            page: settings.page,
            caution: settings.caution(),
            cursor: RefCell::new(mark.map(|mark| mark.cursor.clone())),
            read_at: Cell::new(mark.map(|mark| mark.read_at)),
            load: Cell::new(1),
            is_full: Cell::new(mark.is_none()),
            tell: Cell::new(mark.is_some()),
            shrunken_since: Cell::new(None),
        }
    }

    /// How far it is, unless a full load is under way: then what is known is old and new.
    pub(super) fn mark(&self) -> Option<Mark> {
        if self.is_full.get() {
            return None;
        }
        Some(Mark { cursor: self.cursor.borrow().clone()?, read_at: self.read_at.get()? })
    }

    /// Reads the feed to its end; one that is not believed is read anew by the next call. After an error,
    /// or when it is dropped, the next call goes on where this one was.
    ///
    /// # Errors
    /// When there is no usable answer.
    pub(super) async fn read_to_end(&self) -> Result<(), UpdatesError> {
        let mut refused = false;
        loop {
            match self.read_page().await {
                Ok(true) => yield_now().await,
                Ok(false) => break,
                Err(UpdatesError::CursorRefused) if !refused => {
                    refused = true;
                    tracing::warn!(feed = ?S::FEED, "our cursor is refused: everything is read anew");
                    self.directory.metrics().loaded(S::FEED, "refused");
                    self.begin_anew();
                }
                Err(error) => {
                    self.directory.metrics().loaded(S::FEED, "failed");
                    return Err(error);
                }
            }
        }
        let was_full = self.is_full.get();
        if was_full {
            if !self.is_believed().await {
                self.begin_anew();
                return Ok(());
            }
            self.sweep().await;
            self.is_full.set(false);
            self.tell.set(true);
        }
        self.read_at.set(Some(Timestamp::now()));
        let metrics = self.directory.metrics();
        metrics.was_read(S::FEED, Duration::ZERO);
        metrics.loaded(S::FEED, if was_full { "full" } else { "incremental" });
        Ok(())
    }

    /// Reads and applies one page; whether there is more.
    async fn read_page(&self) -> Result<bool, UpdatesError> {
        let ctx = Context::background("directory", PATIENCE);
        let cursor = self.cursor.borrow().clone();
        let page = self.source.page(&ctx, cursor.as_deref(), self.page).await?;
        if page.has_more && cursor.as_ref() == Some(&page.cursor) {
            return Err(UpstreamError::Protocol("the cursor does not move").into());
        }
        if !page.items.is_empty() && self.tell.get() {
            self.directory.changes().room().await;
        }
        let (load, tell) = (self.load.get(), self.tell.get());
        let apply = |item: &S| item.apply(&self.directory, load, tell);
        let malformed = page.items.iter().filter(|item| !apply(item)).count();
        self.cursor.replace(Some(page.cursor));
        if malformed > 0 {
            tracing::warn!(feed = ?S::FEED, malformed, "items whose ids are none were passed over");
        }
        Ok(page.has_more)
    }

    /// Whether what a full read did not name may be taken away. What was never read whole is nothing to
    /// compare with.
    async fn is_believed(&self) -> bool {
        let metrics = self.directory.metrics();
        let (mut named, mut left) = (0, 0);
        for shard in 0..self.directory.store().shards() {
            let counted = self.directory.store().named_and_left(shard, S::FEED, self.load.get());
            named += counted.0;
            left += counted.1;
            yield_now().await;
        }
        if !self.tell.get() || !self.caution.is_too_little(named, named + left) {
            self.shrunken_since.set(None);
            metrics.set_shrunken(S::FEED, false);
            return true;
        }
        let since = self.shrunken_since.get().unwrap_or_else(Instant::now);
        let is_old = self.shrunken_since.replace(Some(since)).is_some();
        if is_old && since.elapsed() >= self.caution.believed_after {
            tracing::error!(feed = ?S::FEED, named, left, "a full read that shrank is believed");
            self.shrunken_since.set(None);
            metrics.set_shrunken(S::FEED, false);
            return true;
        }
        if !is_old {
            tracing::error!(feed = ?S::FEED, named, left, "a full read shrank: it is not believed yet");
        }
        metrics.loaded(S::FEED, "shrunken");
        metrics.set_shrunken(S::FEED, true);
        false
    }

    fn begin_anew(&self) {
        self.cursor.replace(None);
        self.load.set(self.load.get().wrapping_add(1));
        self.is_full.set(true);
    }

    async fn sweep(&self) {
        let (load, tell) = (self.load.get(), self.tell.get());
        for shard in 0..self.directory.store().shards() {
            let left = self.directory.store().left_from_before(shard, S::FEED, load);
            if !left.is_empty() && tell {
                self.directory.changes().room().await;
            }
            for (park, driver) in left {
                S::remove(&self.directory, park, driver.to_ref(), tell);
            }
            yield_now().await;
        }
    }

    /// Reads the feed again and again until the process stops.
    pub(super) async fn follow(&self, usual: Duration, shutdown: &Shutdown) {
        let mut pause = usual;
        while !shutdown.wait_or(pause).await {
            let read = tokio::select! {
                () = shutdown.wait() => return,
                read = self.read_to_end() => read,
            };
            pause = match read {
                // A full read is much.
                Ok(()) if self.shrunken_since.get().is_some() => usual * RARELY,
                Ok(()) => usual,
                Err(error) => {
                    tracing::debug!(feed = ?S::FEED, %error, "a cache could not be refreshed");
                    (pause * 2).min(LONGEST_PAUSE.max(usual))
                }
            };
        }
    }
}
