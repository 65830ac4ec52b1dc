//! Messages that are handled together.

use std::collections::BTreeMap;

/// More bytes than this are not gathered, however few messages they are.
const MOST_BYTES: usize = 4 << 20;

/// Messages of one topic, each partition's own in their order.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    records: Vec<Place>,
    next: BTreeMap<i32, Next>,
}

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// The partition it came from.
    pub partition: i32,
    /// Its number there.
    pub offset: i64,
    /// What it says; nothing where it was removed.
    pub value: &'a [u8],
}

#[derive(Debug)]
struct Place {
    partition: i32,
    offset: i64,
    start: usize,
    end: usize,
}

/// Where a partition is to be read on once the batch is handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Next {
    /// Since when the partition is ours: it may have been another's meanwhile.
    pub ownership: u64,
    pub offset: i64,
}

impl Batch {
    /// Its messages.
    pub fn records(&self) -> impl ExactSizeIterator<Item = Record<'_>> {
        self.records.iter().map(|place| Record {
            partition: place.partition,
            offset: place.offset,
            value: self.bytes.get(place.start..place.end).unwrap_or_default(),
        })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Adds a message of a partition that is ours since `ownership`.
    pub fn push(&mut self, record: Record<'_>, ownership: u64) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(record.value);
        let Record { partition, offset, .. } = record;
        self.records.push(Place { partition, offset, start, end: self.bytes.len() });
        self.next.insert(partition, Next { ownership, offset: offset + 1 });
    }

    /// Whether no more is to be added.
    pub(super) fn is_full(&self, most: usize) -> bool {
        self.records.len() >= most || self.bytes.len() >= MOST_BYTES
    }

    /// Forgets what came from a partition.
    pub(super) fn forget(&mut self, partition: i32) {
        if self.next.remove(&partition).is_some() {
            self.records.retain(|place| place.partition != partition);
        }
    }

    /// Where its partitions are to be read on.
    pub(super) fn next(&self) -> impl Iterator<Item = (i32, Next)> + '_ {
        self.next.iter().map(|(partition, next)| (*partition, *next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(partition: i32, offset: i64, value: &[u8]) -> Record<'_> {
        Record { partition, offset, value }
    }

    #[test]
    fn what_is_pushed_is_given_back_and_says_where_to_read_on() {
        let mut batch = Batch::default();
        for (partition, offset, value) in [(0, 7, "a"), (1, 3, ""), (0, 9, "bc")] {
            batch.push(record(partition, offset, value.as_bytes()), 5);
        }
        let all: Vec<_> = batch.records().collect();
        assert_eq!(all, [record(0, 7, b"a"), record(1, 3, b""), record(0, 9, b"bc")]);
        let next = |offset| Next { ownership: 5, offset };
        assert_eq!(batch.next().collect::<Vec<_>>(), [(0, next(10)), (1, next(4))]);
    }

    #[test]
    fn a_partition_can_be_forgotten() {
        let mut batch = Batch::default();
        for offset in 0..4 {
            batch.push(record(i32::from(offset % 2 == 1), offset, &[b'x'; 3]), 1);
        }
        batch.forget(0);
        batch.forget(9);
        let all: Vec<_> = batch.records().collect();
        assert_eq!(all, [record(1, 1, b"xxx"), record(1, 3, b"xxx")]);
        assert_eq!(batch.next().count(), 1);
    }

    #[test]
    fn it_is_full_by_messages_or_by_bytes() {
        let mut batch = Batch::default();
        batch.push(record(0, 0, b"x"), 1);
        assert!(batch.is_full(1) && !batch.is_full(2));
        batch.push(record(0, 1, &vec![0; MOST_BYTES]), 1);
        assert!(batch.is_full(100));
    }
}
