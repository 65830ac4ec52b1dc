//! A hash table whose entries lie close together.

use std::hash::BuildHasher as _;

use hashbrown::{DefaultHashBuilder, HashTable};

/// An entry of a [`Table`].
pub(super) trait Entry {
    /// The hash of its key.
    fn hash(&self, hasher: &DefaultHashBuilder) -> u64;
}

/// Entries in one vector, found by an index of their positions: half of a hash table's places are
/// empty, and four bytes each are cheaper than an entry.
pub(super) struct Table<E> {
    entries: Vec<E>,
    index: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl<E: Entry> Table<E> {
    pub(super) fn new(hasher: DefaultHashBuilder) -> Self {
        Self { entries: Vec::new(), index: HashTable::new(), hasher }
    }

    pub(super) fn entries(&self) -> &[E] {
        &self.entries
    }

    pub(super) fn find(&self, hash: u64, is_it: impl Fn(&E) -> bool) -> Option<&E> {
        let position = self.position(hash, is_it)?;
        self.entries.get(position)
    }

    pub(super) fn find_mut(&mut self, hash: u64, is_it: impl Fn(&E) -> bool) -> Option<&mut E> {
        let position = self.position(hash, is_it)?;
        self.entries.get_mut(position)
    }

    /// Adds an entry whose key is not there yet.
    pub(super) fn insert(&mut self, hash: u64, entry: E) {
        let Ok(position) = u32::try_from(self.entries.len()) else { return };
        if self.entries.len() == self.entries.capacity() {
            // An eighth more, not twice as much.
            self.entries.reserve_exact(self.entries.len() / 8 + 16);
        }
        self.entries.push(entry);
        let (entries, hasher) = (&self.entries, &self.hasher);
        self.index.insert_unique(hash, position, |position| hash_at(entries, *position, hasher));
    }

    /// Takes an entry out; the last one gets its place.
    pub(super) fn remove(&mut self, hash: u64, is_it: impl Fn(&E) -> bool) -> Option<E> {
        let entries = &self.entries;
        let found =
            self.index.find_entry(hash, |position| at(entries, *position).is_some_and(&is_it));
        let (position, _) = found.ok()?.remove();
        let last = u32::try_from(self.entries.len() - 1).ok()?;
        if position != last
            && let Some(moved) = at(&self.entries, last)
        {
            let hash = moved.hash(&self.hasher);
            if let Some(place) = self.index.find_mut(hash, |position| *position == last) {
                *place = position;
            }
        }
        let removed = self.entries.swap_remove(usize::try_from(position).ok()?);
        if self.entries.len() * 2 < self.entries.capacity() {
            self.shrink();
        }
        Some(removed)
    }

    /// Bytes that it takes, entries' own heap left out.
    pub(super) fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<E>() + self.index.allocation_size()
    }

    fn position(&self, hash: u64, is_it: impl Fn(&E) -> bool) -> Option<usize> {
        let entries = &self.entries;
        let found = self.index.find(hash, |position| at(entries, *position).is_some_and(&is_it));
        usize::try_from(*found?).ok()
    }

    fn shrink(&mut self) {
        self.entries.shrink_to(self.entries.len() + self.entries.len() / 8);
        let (entries, hasher) = (&self.entries, &self.hasher);
        self.index.shrink_to(entries.len(), |position| hash_at(entries, *position, hasher));
    }
}

fn at<E>(entries: &[E], position: u32) -> Option<&E> {
    entries.get(usize::try_from(position).ok()?)
}

fn hash_at<E: Entry>(entries: &[E], position: u32, hasher: &DefaultHashBuilder) -> u64 {
    at(entries, position).map_or(0, |entry| entry.hash(hasher))
}

/// The hash of a key.
pub(super) fn hash_of(hasher: &DefaultHashBuilder, key: &impl std::hash::Hash) -> u64 {
    hasher.hash_one(key)
}
