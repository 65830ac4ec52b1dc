//! A feed of changes: everything that is computed and added, then what changes, by revisions.
//!
//! A cursor names the feed's epoch; those of another epoch are refused, and a new one begins when the
//! number of drivers is set or the cursors are forgotten.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::Value;

use super::parks::drivers::{seed, usual_id};
use super::world::{self, MOST};

const MOST_CHANGES: usize = 200_000;
const LIMIT: usize = 50_000;

type Key = (String, String);

/// What a feed tells of a driver.
pub(super) trait Told: Clone {
    /// An item of the feed.
    type Item: Serialize;

    /// What is told of a computed driver.
    fn usual(index: u64) -> Self;

    /// The item; `None`: he is gone.
    fn item(key: Key, told: Option<Self>) -> Self::Item;
}

/// The feed's state.
pub(super) struct Revisions<T> {
    epoch: String,
    drivers: u64,
    revision: u64,
    /// Those that are not as computed; `None`: gone.
    changed: HashMap<Key, (u64, Option<T>)>,
    /// The same by their revisions.
    order: BTreeMap<u64, Key>,
    /// Those that are not computed.
    added: Vec<Key>,
}

/// A page.
pub(super) struct Page<I> {
    pub(super) items: Vec<I>,
    pub(super) cursor: String,
    pub(super) has_more: bool,
}

/// Where a reader is.
enum Cursor {
    /// In everything, from this place on; what changed after that revision comes behind it.
    All { from: u64, since: u64 },
    /// In what changed after this revision.
    Changes { since: u64 },
}

impl<T: Told> Revisions<T> {
    pub(super) fn new(drivers: u64) -> Self {
        Self {
            epoch: uuid::Uuid::now_v7().simple().to_string(),
            drivers,
            revision: 0,
            changed: HashMap::new(),
            order: BTreeMap::new(),
            added: Vec::new(),
        }
    }

    /// So many computed drivers, and no others.
    pub(super) fn resize(&mut self, drivers: u64) -> Result<(), String> {
        if drivers > MOST {
            return Err(format!("at most {MOST} drivers"));
        }
        *self = Self::new(drivers);
        Ok(())
    }

    /// Refuses all cursors that were given out.
    pub(super) fn forget_cursors(&mut self) {
        self.epoch = uuid::Uuid::now_v7().simple().to_string();
    }

    /// Sets what is told of a driver; `None`: he is gone.
    pub(super) fn set(
        &mut self,
        park_id: &str,
        driver_id: &str,
        told: Option<T>,
    ) -> Result<(), String> {
        let key = (park_id.to_owned(), driver_id.to_owned());
        if self.changed.len() >= MOST_CHANGES && !self.changed.contains_key(&key) {
            return Err(format!("{MOST_CHANGES} drivers are changed"));
        }
        self.revision += 1;
        let before = self.changed.insert(key.clone(), (self.revision, told));
        match before {
            Some((revision, _)) => drop(self.order.remove(&revision)),
            None if self.index(&key).is_none() => self.added.push(key.clone()),
            None => {}
        }
        self.order.insert(self.revision, key);
        Ok(())
    }

    fn index(&self, (park_id, driver_id): &Key) -> Option<u64> {
        world::index(park_id, driver_id).filter(|index| *index < self.drivers)
    }

    /// # Errors
    /// The code of what is wrong.
    pub(super) fn page(
        &self,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<T::Item>, &'static str> {
        if !(1..=LIMIT).contains(&limit) {
            return Err("bad_limit");
        }
        let cursor = match cursor {
            Some(cursor) => self.read(cursor).ok_or("bad_cursor")?,
            None => Cursor::All { from: 0, since: self.revision },
        };
        Ok(match cursor {
            Cursor::All { from, since } => self.all(from, since, limit),
            Cursor::Changes { since } => self.changes(since, limit),
        })
    }

    fn all(&self, from: u64, since: u64, limit: usize) -> Page<T::Item> {
        let end = self.drivers + self.added.len() as u64;
        let (mut at, mut items) = (from, Vec::with_capacity(limit.min(10_000)));
        while at < end && items.len() < limit {
            items.extend(self.at(at));
            at += 1;
        }
        let next =
            if at < end { Cursor::All { from: at, since } } else { Cursor::Changes { since } };
        let has_more = at < end || since < self.revision;
        Page { items, cursor: self.write(&next), has_more }
    }

    /// The item at a place of everything, if he is not gone.
    fn at(&self, place: u64) -> Option<T::Item> {
        let key = if place < self.drivers {
            let (park_id, position) = world::place(place);
            let driver_id = usual_id(seed(&park_id), position);
            (park_id, driver_id)
        } else {
            self.added.get(usize::try_from(place - self.drivers).ok()?)?.clone()
        };
        let told = match self.changed.get(&key) {
            Some((_, told)) => told.clone()?,
            None => T::usual(place),
        };
        Some(T::item(key, Some(told)))
    }

    fn changes(&self, since: u64, limit: usize) -> Page<T::Item> {
        let mut changes = self.order.range((Bound::Excluded(since), Bound::Unbounded));
        let mut reached = since;
        let items = changes
            .by_ref()
            .take(limit)
            .map(|(revision, key)| {
                reached = *revision;
                let told = self.changed.get(key).and_then(|(_, told)| told.clone());
                T::item(key.clone(), told)
            })
            .collect();
        let has_more = changes.next().is_some();
        Page { items, cursor: self.write(&Cursor::Changes { since: reached }), has_more }
    }

    fn write(&self, cursor: &Cursor) -> String {
        let epoch = &self.epoch;
        URL_SAFE_NO_PAD.encode(match cursor {
            Cursor::All { from, since } => format!("{epoch}.all.{since}.{from}"),
            Cursor::Changes { since } => format!("{epoch}.changes.{since}.0"),
        })
    }

    fn read(&self, cursor: &str) -> Option<Cursor> {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
        let parts: Vec<&str> = text.split('.').collect();
        let [epoch, sort, since, from] = parts[..] else { return None };
        let (since, from) = (since.parse().ok()?, from.parse().ok()?);
        match sort {
            _ if epoch != self.epoch => None,
            "all" => Some(Cursor::All { from, since }),
            "changes" => Some(Cursor::Changes { since }),
            _ => None,
        }
    }
}

/// A change as a control route takes it: a member's value, or `{"is_deleted": true}`.
pub(super) fn is_deleted(change: &Value) -> bool {
    change.get("is_deleted").and_then(Value::as_bool).unwrap_or_default()
}
