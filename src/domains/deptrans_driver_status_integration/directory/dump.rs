//! The dump: what is known, on disk, so that a restart comes up warm and without the services outside.
//!
//! Magic and version, then the parts in the order in which they are written below, then the SHA-256 of
//! everything before. It is written beside the old one, synced and renamed: there is a whole one at any
//! time. One that is damaged, of another version or from other services is passed over.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::Inner;
use super::categories::{CategorySet, MOST};
use super::id::{CompactId, Id, IdRef, TEXT};
use super::store::Feed;

const MAGIC: &[u8; 8] = b"FLEETDIR";
const VERSION: u32 = 1;
/// The longest text of a dump: a cursor or a name.
const LONGEST: usize = 16 * 1024;

/// How far one feed was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    /// From where to go on.
    pub(super) cursor: String,
    /// When it was last read to its end.
    pub(super) read_at: Timestamp,
}

/// What stands beside the drivers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    /// From which services it is.
    pub(super) origin: String,
    pub(super) profiles: Mark,
    pub(super) categories: Mark,
}

/// Why a dump is of no use.
#[derive(Debug, thiserror::Error)]
pub(super) enum DumpError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("it is no dump of this version")]
    Version,
    #[error("it is damaged")]
    Damaged,
    #[error("it is from other services")]
    Foreign,
    #[error("it lacks a category that is asked for now")]
    Categories,
}

/// Writes what `inner` knows; nobody may change it meanwhile.
pub(super) fn write(path: &Path, head: &Head, inner: &Inner) -> io::Result<()> {
    let beside = path.with_extension("new");
    let file =
        OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&beside)?;
    let mut out = Out { to: BufWriter::with_capacity(256 * 1024, &file), sum: Sha256::new() };
    out.bytes(MAGIC)?;
    out.number(VERSION)?;
    out.head(head)?;
    out.names(inner)?;
    for shard in 0..inner.store.shards() {
        inner.store.each_driver(shard, |row| out.driver(&row))?;
    }
    out.number(END)?;
    out.licenses(&inner.changes.unfinished())?;
    let sum = out.sum.finalize();
    out.to.write_all(&sum)?;
    out.to.flush()?;
    drop(out.to);
    file.sync_all()?;
    fs::rename(&beside, path)?;
    if let Some(dir) = path.parent() {
        File::open(dir)?.sync_all()?;
    }
    Ok(())
}

/// Reads a dump into `inner`, which must be new and is of no use after an error.
pub(super) fn read(path: &Path, origin: &str, inner: &Inner) -> Result<Head, DumpError> {
    let mut from =
        In { from: BufReader::with_capacity(256 * 1024, File::open(path)?), sum: Sha256::new() };
    let mut magic = [0; 8];
    from.bytes(&mut magic)?;
    if &magic != MAGIC || from.number()? != VERSION {
        return Err(DumpError::Version);
    }
    let head = from.head()?;
    if head.origin != origin {
        return Err(DumpError::Foreign);
    }
    let parks = from.parks(inner)?;
    let categories = from.categories(inner)?;
    from.drivers(inner, &parks, &categories)?;
    for license in from.licenses()? {
        inner.changes.add([Some(license), None]);
    }
    let sum = from.sum.finalize_reset();
    let mut written = [0; 32];
    from.from.read_exact(&mut written).map_err(damaged)?;
    if sum.as_slice() != written || from.from.read(&mut [0])? != 0 {
        return Err(DumpError::Damaged);
    }
    Ok(head)
}

/// In the place of a park's number: there are no more drivers.
const END: u32 = u32::MAX;

/// A driver as a dump has him.
pub(super) struct Row<'a> {
    pub(super) park: u32,
    pub(super) driver: &'a CompactId,
    pub(super) license: Option<&'a CompactId>,
    pub(super) has_profile: bool,
    pub(super) categories: Option<CategorySet>,
}

const HAS_PROFILE: u8 = 1;
const HAS_CATEGORIES: u8 = 2;
const HAS_LICENSE: u8 = 4;

const HEX: u8 = 0;
const UUID: u8 = 1;
const OTHER: u8 = 2;

struct Out<W> {
    to: W,
    sum: Sha256,
}

impl<W: Write> Out<W> {
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sum.update(bytes);
        self.to.write_all(bytes)
    }

    fn number(&mut self, number: u32) -> io::Result<()> {
        self.bytes(&number.to_le_bytes())
    }

    fn length(&mut self, length: usize) -> io::Result<()> {
        self.number(u32::try_from(length).map_err(io::Error::other)?)
    }

    fn text(&mut self, text: &str) -> io::Result<()> {
        self.length(text.len())?;
        self.bytes(text.as_bytes())
    }

    fn head(&mut self, head: &Head) -> io::Result<()> {
        self.text(&head.origin)?;
        for mark in [&head.profiles, &head.categories] {
            self.text(&mark.cursor)?;
            self.bytes(&mark.read_at.as_millisecond().to_le_bytes())?;
        }
        Ok(())
    }

    fn names(&mut self, inner: &Inner) -> io::Result<()> {
        let parks = inner.store.parks();
        self.length(parks.names().len())?;
        for name in parks.names() {
            self.text(name)?;
        }
        let categories = inner.store.categories();
        self.length(categories.names().len())?;
        for name in categories.names() {
            self.text(name)?;
        }
        self.number(categories.overflowed().into())
    }

    fn id(&mut self, id: &CompactId) -> io::Result<()> {
        match id {
            Id::Hex(packed) => {
                self.bytes(&[HEX])?;
                self.bytes(packed)
            }
            Id::Uuid(packed) => {
                self.bytes(&[UUID])?;
                self.bytes(packed)
            }
            Id::Short(..) | Id::Long(_) => {
                self.bytes(&[OTHER])?;
                self.text(id.text(&mut [0; TEXT]))
            }
        }
    }

    fn driver(&mut self, row: &Row<'_>) -> io::Result<()> {
        let flag = |is_so: bool, flag: u8| if is_so { flag } else { 0 };
        let flags = flag(row.has_profile, HAS_PROFILE)
            | flag(row.categories.is_some(), HAS_CATEGORIES)
            | flag(row.license.is_some(), HAS_LICENSE);
        self.number(row.park)?;
        self.bytes(&[flags])?;
        self.id(row.driver)?;
        if let Some(license) = row.license {
            self.id(license)?;
        }
        match row.categories {
            Some(set) => self.bytes(&set.bits().to_le_bytes()),
            None => Ok(()),
        }
    }

    fn licenses(&mut self, licenses: &[CompactId]) -> io::Result<()> {
        self.length(licenses.len())?;
        licenses.iter().try_for_each(|license| self.id(license))
    }
}

struct In<R> {
    from: R,
    sum: Sha256,
}

/// A file that ends too early is damaged, and not unreadable.
fn damaged(error: io::Error) -> DumpError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => DumpError::Damaged,
        _ => error.into(),
    }
}

impl<R: Read> In<R> {
    fn bytes(&mut self, place: &mut [u8]) -> Result<(), DumpError> {
        self.from.read_exact(place).map_err(damaged)?;
        self.sum.update(place);
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DumpError> {
        let mut place = [0; N];
        self.bytes(&mut place)?;
        Ok(place)
    }

    fn number(&mut self) -> Result<u32, DumpError> {
        self.array().map(u32::from_le_bytes)
    }

    fn length(&mut self) -> Result<usize, DumpError> {
        usize::try_from(self.number()?).map_err(|_| DumpError::Damaged)
    }

    fn text(&mut self) -> Result<String, DumpError> {
        let length = self.length()?;
        if length > LONGEST {
            return Err(DumpError::Damaged);
        }
        let mut bytes = vec![0; length];
        self.bytes(&mut bytes)?;
        String::from_utf8(bytes).map_err(|_| DumpError::Damaged)
    }

    fn mark(&mut self) -> Result<Mark, DumpError> {
        let cursor = self.text()?;
        let read_at = self.array().map(i64::from_le_bytes)?;
        let read_at = Timestamp::from_millisecond(read_at).map_err(|_| DumpError::Damaged)?;
        Ok(Mark { cursor, read_at })
    }

    fn head(&mut self) -> Result<Head, DumpError> {
        Ok(Head { origin: self.text()?, profiles: self.mark()?, categories: self.mark()? })
    }

    /// The new numbers of the parks, by the old ones.
    fn parks(&mut self, inner: &Inner) -> Result<Vec<u32>, DumpError> {
        let count = self.length()?;
        let mut numbers = Vec::new();
        for _ in 0..count {
            numbers.push(inner.store.intern_park(&self.text()?));
        }
        Ok(numbers)
    }

    /// The sets of the old bits.
    fn categories(&mut self, inner: &Inner) -> Result<Vec<CategorySet>, DumpError> {
        let count = self.length()?;
        if count > MOST {
            return Err(DumpError::Damaged);
        }
        let names = (0..count).map(|_| self.text()).collect::<Result<Vec<_>, _>>()?;
        let overflowed = self.number()? != 0;
        let mut categories = inner.store.categories_mut();
        let lacks = |name: &str| names.iter().all(|known| known != name);
        if overflowed && categories.names().iter().any(|name| lacks(name)) {
            return Err(DumpError::Categories);
        }
        if overflowed {
            categories.note_overflow();
        }
        Ok(names.iter().map(|name| categories.set([name.as_str()])).collect())
    }

    fn id<'t>(&mut self, text: &'t mut String) -> Result<IdRef<'t>, DumpError> {
        let [form] = self.array()?;
        match form {
            HEX => Ok(Id::Hex(self.array()?)),
            UUID => Ok(Id::Uuid(self.array()?)),
            OTHER => {
                *text = self.text()?;
                Ok(IdRef::new(text))
            }
            _ => Err(DumpError::Damaged),
        }
    }

    fn drivers(
        &mut self,
        inner: &Inner,
        parks: &[u32],
        categories: &[CategorySet],
    ) -> Result<(), DumpError> {
        let (mut driver, mut license) = (String::new(), String::new());
        loop {
            let park = self.number()?;
            if park == END {
                return Ok(());
            }
            let park = usize::try_from(park).ok().and_then(|park| parks.get(park)).copied();
            let park = park.ok_or(DumpError::Damaged)?;
            let [flags] = self.array()?;
            let driver = self.id(&mut driver)?;
            let has = |flag: u8| flags & flag != 0;
            let license = if has(HAS_LICENSE) { Some(self.id(&mut license)?) } else { None };
            if has(HAS_PROFILE) {
                inner.store.set_license(park, driver, license, 0);
            }
            if has(HAS_CATEGORIES) {
                let old = self.array().map(u64::from_le_bytes)?;
                let set = remapped(old, categories);
                inner.store.set_categories(park, driver, set, 0);
            }
        }
    }

    fn licenses(&mut self) -> Result<Vec<CompactId>, DumpError> {
        let mut text = String::new();
        let mut licenses = Vec::new();
        for _ in 0..self.length()? {
            licenses.push(self.id(&mut text)?.to_kept());
        }
        Ok(licenses)
    }
}

fn remapped(old: u64, sets: &[CategorySet]) -> CategorySet {
    let of_bit = |bits, (place, set): (usize, &CategorySet)| {
        if old & (1 << place) == 0 { bits } else { bits | set.bits() }
    };
    CategorySet::from_bits(sets.iter().enumerate().fold(0, of_bit))
}

impl Head {
    /// The mark of one feed.
    pub(super) fn mark(&self, feed: Feed) -> &Mark {
        match feed {
            Feed::Profiles => &self.profiles,
            Feed::Categories => &self.categories,
        }
    }
}
