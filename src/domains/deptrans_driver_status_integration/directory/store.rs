//! What is known of drivers, in memory: by profile, and the profiles of a licence.
//!
//! Both are split into shards by hash, each with a lock of its own that is held for one lookup or one
//! change: readers wait for no update, and the growth of a shard's table moves one part of the whole.
//! There is one writer for profiles and one for categories.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use hashbrown::DefaultHashBuilder;

use super::categories::{CategoryNames, CategorySet};
use super::dump::Row;
use super::id::{CompactId, IdRef, TEXT};
use super::parks::Parks;
use super::table::{Entry, Table, hash_of};

/// A power of two.
const SHARDS: usize = 64;

/// Bits beside those of the categories.
const HAS_PROFILE: u64 = 1 << 63;
const HAS_CATEGORIES: u64 = 1 << 62;
const CATEGORIES: u64 = HAS_CATEGORIES - 1;

/// Of which of the two feeds something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Feed {
    /// driver-profiles.
    Profiles,
    /// driver-categories-api.
    Categories,
}

/// What is known of a driver.
pub(super) struct Driver {
    id: CompactId,
    license: Option<CompactId>,
    /// Categories, and whether each of the feeds named him.
    bits: u64,
    park: u32,
    /// Of the last full load that had him, for each feed.
    loads: [u16; 2],
}

/// The profiles of a licence.
struct Holder {
    license: CompactId,
    profiles: Profiles,
}

/// Nearly always one.
enum Profiles {
    One(ProfileKey),
    Many(Vec<ProfileKey>),
}

#[derive(Clone, PartialEq, Eq)]
struct ProfileKey {
    driver: CompactId,
    park: u32,
}

impl Driver {
    fn bit(feed: Feed) -> u64 {
        match feed {
            Feed::Profiles => HAS_PROFILE,
            Feed::Categories => HAS_CATEGORIES,
        }
    }

    fn is_of(&self, feed: Feed) -> bool {
        self.bits & Self::bit(feed) != 0
    }

    fn load(&self, feed: Feed) -> u16 {
        self.loads.get(feed as usize).copied().unwrap_or_default()
    }

    fn row(&self) -> Row<'_> {
        Row {
            park: self.park,
            driver: &self.id,
            license: self.license.as_ref(),
            has_profile: self.is_of(Feed::Profiles),
            categories: self
                .is_of(Feed::Categories)
                .then_some(CategorySet::from_bits(self.bits & CATEGORIES)),
        }
    }

    fn stamp(&mut self, feed: Feed, load: u16) {
        self.bits |= Self::bit(feed);
        if let Some(place) = self.loads.get_mut(feed as usize) {
            *place = load;
        }
    }
}

impl Entry for Driver {
    fn hash(&self, hasher: &DefaultHashBuilder) -> u64 {
        hash_of(hasher, &(self.park, self.id.to_ref()))
    }
}

impl Entry for Holder {
    fn hash(&self, hasher: &DefaultHashBuilder) -> u64 {
        hash_of(hasher, &self.license.to_ref())
    }
}

/// How many of each are known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Profiles, with a licence or without.
    pub profiles: usize,
    /// Drivers whose categories are known.
    pub categories: usize,
    /// Licences that profiles have.
    pub licenses: usize,
    /// Bytes of memory, about: those of unusually long ids are left out.
    pub bytes: usize,
}

/// The licences whose profiles a change concerned.
pub(super) type Touched = [Option<CompactId>; 2];

pub(super) struct Store {
    hasher: DefaultHashBuilder,
    parks: RwLock<Parks>,
    categories: RwLock<CategoryNames>,
    /// How many drivers each feed named.
    known: (AtomicUsize, AtomicUsize),
    drivers: Vec<RwLock<Table<Driver>>>,
    holders: Vec<RwLock<Table<Holder>>>,
}

impl Default for Store {
    fn default() -> Self {
        let hasher = DefaultHashBuilder::default();
        Self {
            drivers: shards(&hasher),
            holders: shards(&hasher),
            hasher,
            known: Default::default(),
            parks: RwLock::default(),
            categories: RwLock::default(),
        }
    }
}

fn shards<E: Entry>(hasher: &DefaultHashBuilder) -> Vec<RwLock<Table<E>>> {
    (0..SHARDS).map(|_| RwLock::new(Table::new(hasher.clone()))).collect()
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

/// The upper bits choose the shard: the table uses the lower ones, and the highest seven.
fn shard<T>(shards: &[RwLock<T>], hash: u64) -> Option<&RwLock<T>> {
    shards.get(usize::try_from(hash >> 32).ok()? & (SHARDS - 1))
}

impl Store {
    pub(super) fn category_set<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> CategorySet {
        write(&self.categories).set(names)
    }

    pub(super) fn parks(&self) -> RwLockReadGuard<'_, Parks> {
        read(&self.parks)
    }

    pub(super) fn categories(&self) -> RwLockReadGuard<'_, CategoryNames> {
        read(&self.categories)
    }

    pub(super) fn categories_mut(&self) -> RwLockWriteGuard<'_, CategoryNames> {
        write(&self.categories)
    }

    pub(super) fn intern_park(&self, name: &str) -> u32 {
        if let Some(number) = self.parks().number(name) {
            return number;
        }
        write(&self.parks).intern(name)
    }

    /// What `look` finds at a driver that `feed` named.
    fn at<T>(
        &self,
        feed: Feed,
        park: &str,
        driver: &str,
        look: impl FnOnce(&Driver) -> T,
    ) -> Option<T> {
        let park = self.parks().number(park)?;
        let driver = IdRef::new(driver);
        let hash = hash_of(&self.hasher, &(park, driver));
        let table = read(shard(&self.drivers, hash)?);
        let found = table.find(hash, |known| known.park == park && known.id.to_ref() == driver)?;
        found.is_of(feed).then(|| look(found))
    }

    /// What `look` makes of a profile's licence, if there is such a profile.
    pub(super) fn license<T>(
        &self,
        park: &str,
        driver: &str,
        look: impl FnOnce(Option<&str>) -> T,
    ) -> Option<T> {
        self.at(Feed::Profiles, park, driver, |found| {
            let mut buffer = [0; TEXT];
            look(found.license.as_ref().map(|license| license.text(&mut buffer)))
        })
    }

    pub(super) fn categories_of(&self, park: &str, driver: &str) -> Option<CategorySet> {
        let bits = self.at(Feed::Categories, park, driver, |found| found.bits & CATEGORIES)?;
        Some(CategorySet::from_bits(bits))
    }

    /// Shows `look` each profile (park, driver) of a licence.
    pub(super) fn each_profile(&self, license: &str, mut look: impl FnMut(&str, &str)) {
        let license = IdRef::new(license);
        let hash = hash_of(&self.hasher, &license);
        let Some(shard) = shard(&self.holders, hash) else { return };
        let (parks, table) = (self.parks(), read(shard));
        let Some(holder) = table.find(hash, |known| known.license.to_ref() == license) else {
            return;
        };
        for key in holder.profiles.keys() {
            if let Some(park) = parks.name(key.park) {
                look(park, key.driver.text(&mut [0; TEXT]));
            }
        }
    }

    /// Sets a profile's licence. Returns what was touched, if anything changed.
    pub(super) fn set_license(
        &self,
        park: u32,
        driver: IdRef<'_>,
        license: Option<IdRef<'_>>,
        load: u16,
    ) -> Option<Touched> {
        let license = license.map(IdRef::to_kept);
        let before = self.change(park, driver, |known| {
            known.stamp(Feed::Profiles, load);
            (known.license != license)
                .then(|| std::mem::replace(&mut known.license, license.clone()))
        })??;
        Some(self.move_profile(park, driver, before, license))
    }

    /// Forgets a profile. Returns what was touched, if anything changed.
    pub(super) fn remove_profile(&self, park: u32, driver: IdRef<'_>) -> Option<Touched> {
        let license = self.forget(park, driver, Feed::Profiles, |known| known.license.take())??;
        Some(self.move_profile(park, driver, Some(license), None))
    }

    pub(super) fn set_categories(&self, park: u32, driver: IdRef<'_>, set: CategorySet, load: u16) {
        self.change(park, driver, |known| {
            known.bits = (known.bits & HAS_PROFILE) | set.bits();
            known.stamp(Feed::Categories, load);
        });
    }

    pub(super) fn remove_categories(&self, park: u32, driver: IdRef<'_>) {
        self.forget(park, driver, Feed::Categories, |known| known.bits &= !CATEGORIES);
    }

    /// The drivers of a shard that `feed` named, but not in the load `load`.
    pub(super) fn left_from_before(
        &self,
        shard: usize,
        feed: Feed,
        load: u16,
    ) -> Vec<(u32, CompactId)> {
        let Some(shard) = self.drivers.get(shard) else { return Vec::new() };
        let table = read(shard);
        let old = |known: &&Driver| known.is_of(feed) && known.load(feed) != load;
        table.entries().iter().filter(old).map(|known| (known.park, known.id.clone())).collect()
    }

    /// How many drivers of a shard the load `load` of `feed` named, and how many are left from before.
    pub(super) fn named_and_left(&self, shard: usize, feed: Feed, load: u16) -> (usize, usize) {
        let Some(shard) = self.drivers.get(shard) else { return (0, 0) };
        let table = read(shard);
        let known = table.entries().iter().filter(|known| known.is_of(feed));
        known.fold((0, 0), |(named, left), known| {
            if known.load(feed) == load { (named + 1, left) } else { (named, left + 1) }
        })
    }

    /// Shows `look` each driver of a shard.
    pub(super) fn each_driver(
        &self,
        shard: usize,
        look: impl FnMut(Row<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let Some(shard) = self.drivers.get(shard) else { return Ok(()) };
        read(shard).entries().iter().map(Driver::row).try_for_each(look)
    }

    pub(super) fn shards(&self) -> usize {
        self.drivers.len()
    }

    pub(super) fn sizes(&self) -> Sizes {
        let mut sizes = Sizes {
            profiles: self.known.0.load(Ordering::Relaxed),
            categories: self.known.1.load(Ordering::Relaxed),
            bytes: self.parks().bytes(),
            ..Sizes::default()
        };
        sizes.bytes += self.drivers.iter().map(|shard| read(shard).bytes()).sum::<usize>();
        for shard in &self.holders {
            let table = read(shard);
            sizes.licenses += table.entries().len();
            sizes.bytes += table.bytes();
        }
        sizes
    }

    /// Counts what a change of a driver's bits means.
    fn count(&self, before: u64, after: u64) {
        let (profiles, categories) = &self.known;
        for (known, bit) in [(profiles, HAS_PROFILE), (categories, HAS_CATEGORIES)] {
            match (before & bit != 0, after & bit != 0) {
                (false, true) => known.fetch_add(1, Ordering::Relaxed),
                (true, false) => known.fetch_sub(1, Ordering::Relaxed),
                _ => 0,
            };
        }
    }

    /// Changes a driver, who is added if he is not there.
    fn change<T>(
        &self,
        park: u32,
        driver: IdRef<'_>,
        change: impl FnOnce(&mut Driver) -> T,
    ) -> Option<T> {
        let hash = hash_of(&self.hasher, &(park, driver));
        let mut table = write(shard(&self.drivers, hash)?);
        let is_it = |known: &Driver| known.park == park && known.id.to_ref() == driver;
        if let Some(known) = table.find_mut(hash, is_it) {
            let before = known.bits;
            let changed = change(known);
            self.count(before, known.bits);
            return Some(changed);
        }
        let mut new = Driver { park, id: driver.to_kept(), license: None, bits: 0, loads: [0; 2] };
        let changed = change(&mut new);
        self.count(0, new.bits);
        table.insert(hash, new);
        Some(changed)
    }

    /// Takes what `feed` said of a driver back, and him with it if nothing else is known.
    fn forget<T>(
        &self,
        park: u32,
        driver: IdRef<'_>,
        feed: Feed,
        take: impl FnOnce(&mut Driver) -> T,
    ) -> Option<T> {
        let hash = hash_of(&self.hasher, &(park, driver));
        let mut table = write(shard(&self.drivers, hash)?);
        let is_it = |known: &Driver| known.park == park && known.id.to_ref() == driver;
        let known = table.find_mut(hash, is_it)?;
        let before = known.bits;
        let taken = take(known);
        known.bits &= !Driver::bit(feed);
        self.count(before, known.bits);
        if known.bits & (HAS_PROFILE | HAS_CATEGORIES) == 0 {
            table.remove(hash, is_it);
        }
        Some(taken)
    }

    /// Takes a profile from one licence to another.
    fn move_profile(
        &self,
        park: u32,
        driver: IdRef<'_>,
        from: Option<CompactId>,
        to: Option<CompactId>,
    ) -> Touched {
        let key = ProfileKey { park, driver: driver.to_kept() };
        if let Some(license) = &from {
            self.leave(license, &key);
        }
        if let Some(license) = &to {
            self.enter(license, key);
        }
        [from, to]
    }

    fn enter(&self, license: &CompactId, key: ProfileKey) {
        let hash = hash_of(&self.hasher, &license.to_ref());
        let Some(shard) = shard(&self.holders, hash) else { return };
        let mut table = write(shard);
        if let Some(holder) = table.find_mut(hash, |known| known.license == *license) {
            holder.profiles.add(key);
            return;
        }
        let (license, profiles) = (license.clone(), Profiles::One(key));
        table.insert(hash, Holder { license, profiles });
    }

    fn leave(&self, license: &CompactId, key: &ProfileKey) {
        let hash = hash_of(&self.hasher, &license.to_ref());
        let Some(shard) = shard(&self.holders, hash) else { return };
        let mut table = write(shard);
        let is_it = |known: &Holder| known.license == *license;
        if table.find_mut(hash, is_it).is_some_and(|holder| holder.profiles.remove(key)) {
            table.remove(hash, is_it);
        }
    }
}

impl Profiles {
    fn keys(&self) -> &[ProfileKey] {
        match self {
            Self::One(key) => std::slice::from_ref(key),
            Self::Many(keys) => keys,
        }
    }

    /// `key` is not among them: its driver had another licence, or none.
    fn add(&mut self, key: ProfileKey) {
        match self {
            Self::One(only) => *self = Self::Many(vec![only.clone(), key]),
            Self::Many(keys) => keys.push(key),
        }
    }

    /// Returns whether none is left.
    fn remove(&mut self, key: &ProfileKey) -> bool {
        match self {
            Self::One(only) => only == key,
            Self::Many(keys) => {
                if let Some(place) = keys.iter().position(|known| known == key) {
                    keys.swap_remove(place);
                }
                if let [only] = keys.as_slice() {
                    *self = Self::One(only.clone());
                }
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_takes_64_bytes_and_a_licence_56() {
        assert_eq!((size_of::<Driver>(), size_of::<Holder>()), (64, 56));
    }
}
