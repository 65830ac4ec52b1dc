//! What driver-profiles and driver-categories-api say of drivers, in memory.
//!
//! Look-ups wait for nobody and need no database. The caches are read whole at the start, or come from
//! the dump that an earlier process left, and then follow what changes; when a service is down they
//! serve what they have, and their age shows. `store` is the memory, `refresh` follows the feeds,
//! `dump` is the file, `changes` hands licences over whose profiles changed
//! (docs/decisions/deptrans-directory.md).

mod categories;
mod changes;
mod dump;
mod id;
mod metrics;
mod parks;
mod refresh;
mod settings;
mod start;
mod store;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use self::categories::CategorySet;
pub use self::changes::Changes;
pub use self::metrics::DirectoryMetrics;
pub use self::settings::DirectorySettings;
pub use self::start::Sources;
pub use self::store::Sizes;

use self::store::{Feed, Store};
use crate::platform::ids::PersonalId;

/// A profile: a driver in a park.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DriverKey {
    /// The park.
    pub park_id: String,
    /// The driver's id within the park.
    pub driver_id: String,
}

/// What a profile's licence is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum License {
    /// There is no such profile.
    UnknownProfile,
    /// The profile has none.
    Without,
    /// What `personal` calls its number.
    Known(PersonalId),
}

/// The caches. Cheap to clone.
#[derive(Clone)]
pub struct Directory(Arc<Inner>);

struct Inner {
    store: Store,
    changes: Changes,
    metrics: DirectoryMetrics,
}

impl Inner {
    fn sizes(&self) -> Sizes {
        self.store.sizes()
    }
}

impl Directory {
    /// What is known of a profile's licence.
    #[must_use]
    pub fn license(&self, park: &str, driver: &str) -> License {
        let known = |license: Option<&str>| {
            let license = license.and_then(|license| PersonalId::parse(license).ok());
            license.map_or(License::Without, License::Known)
        };
        self.0.store.license(park, driver, known).unwrap_or(License::UnknownProfile)
    }

    /// The licence of a profile, if there is such a profile and it has one.
    #[must_use]
    pub fn license_of(&self, park: &str, driver: &str) -> Option<PersonalId> {
        match self.license(park, driver) {
            License::Known(license) => Some(license),
            License::UnknownProfile | License::Without => None,
        }
    }

    /// Shows `look` the licence of a profile in place, if it has one.
    pub fn with_license<T>(
        &self,
        park: &str,
        driver: &str,
        look: impl FnOnce(&str) -> T,
    ) -> Option<T> {
        self.0.store.license(park, driver, |license| license.map(look)).flatten()
    }

    /// The profiles of a licence.
    #[must_use]
    pub fn profiles_of(&self, license: &str) -> Vec<DriverKey> {
        let mut profiles = Vec::new();
        self.each_profile(license, |park, driver| {
            profiles.push(DriverKey { park_id: park.to_owned(), driver_id: driver.to_owned() });
        });
        profiles
    }

    /// Shows `look` each profile (park, driver) of a licence in place. It must be quick, and ask
    /// nothing of the directory: an update may wait for it.
    pub fn each_profile(&self, license: &str, look: impl FnMut(&str, &str)) {
        self.0.store.each_profile(license, look);
    }

    /// The set of these categories, for [`Directory::works_in_any`].
    #[must_use]
    pub fn category_set<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> CategorySet {
        self.0.store.category_set(names)
    }

    /// Whether a driver works in one of these categories; `None` when his are not known.
    #[must_use]
    pub fn works_in_any(&self, park: &str, driver: &str, wanted: CategorySet) -> Option<bool> {
        Some(self.0.store.categories_of(park, driver)?.meets(wanted))
    }

    /// Licences whose profiles changed, after the change can be seen here.
    #[must_use]
    pub fn changes(&self) -> &Changes {
        &self.0.changes
    }

    /// How many of each are known, and what memory they take.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        self.0.sizes()
    }

    /// What is wrong with driver-profiles, though it answers.
    #[must_use]
    pub fn profiles_trouble(&self) -> Option<&'static str> {
        self.trouble(Feed::Profiles)
    }

    /// What is wrong with driver-categories-api, though it answers.
    #[must_use]
    pub fn categories_trouble(&self) -> Option<&'static str> {
        self.trouble(Feed::Categories)
    }

    fn trouble(&self, feed: Feed) -> Option<&'static str> {
        self.0.metrics.is_shrunken(feed).then_some("shrunken")
    }

    fn empty(metrics: &DirectoryMetrics) -> Self {
        let (store, changes) = (Store::default(), Changes::default());
        let inner = Arc::new(Inner { store, changes, metrics: metrics.clone() });
        metrics.watch(&inner);
        Self(inner)
    }

    fn store(&self) -> &Store {
        &self.0.store
    }

    fn metrics(&self) -> &DirectoryMetrics {
        &self.0.metrics
    }
}
