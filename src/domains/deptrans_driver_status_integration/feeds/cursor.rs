//! Where a poller is in a feed.

use serde::{Deserialize, Serialize};

use super::numbers::Feed;
use crate::platform::error::{Error, Kind, Result};
use crate::platform::http::pagination;

/// A poller's position. What a cursor holds names its feed, so that the cursor of one is not read as
/// the other's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// All changes up to this number were read.
    pub seq: i64,
    /// The feed's last number when the full read began that this position stems from. Up to there no
    /// tombstone matters: who begins with nothing has nothing to be removed.
    pub since: i64,
}

#[derive(Serialize, Deserialize)]
struct Content(String, i64, i64);

impl Position {
    /// Whether the full read is still going on.
    pub fn is_full_read(self) -> bool {
        self.seq < self.since
    }

    /// Tells whether all that this position lacks is still there, when the feed's last number and the
    /// last one of a forgotten tombstone are these.
    ///
    /// # Errors
    /// `cursor_expired`, also when the database is an older copy of the one that the poller followed.
    pub fn check(self, last_seq: i64, forgotten_seq: i64) -> Result<()> {
        let known = self.seq.max(self.since);
        if (forgotten_seq..=last_seq).contains(&known) {
            return Ok(());
        }
        let detail = "What lies behind this cursor is not kept any more; begin without a cursor.";
        Err(Error::new(Kind::Gone, "cursor_expired", detail))
    }

    /// # Errors
    /// The cursor cannot be written.
    pub fn encode(self, feed: Feed) -> Result<String> {
        pagination::encode(&Content(feed.name().to_owned(), self.seq, self.since))
    }

    /// # Errors
    /// `invalid_cursor` for what this feed never gave out.
    pub fn decode(cursor: &str, feed: Feed) -> Result<Self> {
        let Content(name, seq, since) = pagination::decode(cursor)?;
        if name == feed.name() && seq >= 0 && since >= 0 {
            return Ok(Self { seq, since });
        }
        let detail = "cursor must be one that these updates gave out.";
        Err(Error::new(Kind::InvalidInput, "invalid_cursor", detail))
    }
}

#[cfg(any(test, feature = "fuzzing"))]
/// Any text: a position that is read is the same when it is written and read again.
pub fn fuzz(text: &str) {
    for feed in Feed::ALL {
        let Ok(position) = Position::decode(text, feed) else { continue };
        let written = position.encode(feed);
        assert!(written.is_ok_and(|cursor| Position::decode(&cursor, feed).ok() == Some(position)));
        let _ = (position.is_full_read(), position.check(i64::MAX, 0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn code(seq: i64, since: i64, last: i64, forgotten: i64) -> Option<String> {
        let checked = Position { seq, since }.check(last, forgotten);
        checked.err().map(|error| error.code().to_owned())
    }

    #[test]
    fn a_poller_is_told_when_a_deletion_was_forgotten_that_it_did_not_see() {
        let expired = Some("cursor_expired".to_owned());
        assert_eq!(code(5, 0, 9, 5), None);
        assert_eq!(code(4, 0, 9, 5), expired, "the tombstone 5 was not read");
        assert_eq!(code(4, 7, 9, 5), None, "a full read that began after the removal");
        assert_eq!(code(4, 4, 9, 5), expired);
        assert_eq!(code(0, 0, 9, 0), None);
        assert_eq!(code(9, 9, 9, 9), None);
    }

    #[test]
    fn a_poller_is_told_when_the_database_went_back() {
        assert_eq!(code(10, 0, 9, 0).as_deref(), Some("cursor_expired"));
        assert_eq!(code(1, 10, 9, 0).as_deref(), Some("cursor_expired"));
    }

    #[test]
    fn a_cursor_is_read_by_its_own_feed_only() {
        let cursor = Position { seq: 3, since: 0 }.encode(Feed::Bindings).unwrap();
        assert!(Position::decode(&cursor, Feed::Bindings).is_ok());
        for (cursor, feed) in [
            (cursor, Feed::Statuses),
            (pagination::encode(&("bindings", -1, 0)).unwrap(), Feed::Bindings),
            (pagination::encode(&("bindings", 1, -1)).unwrap(), Feed::Bindings),
            (pagination::encode(&("bindings", 1)).unwrap(), Feed::Bindings),
            (pagination::encode(&1).unwrap(), Feed::Bindings),
        ] {
            let error = Position::decode(&cursor, feed).unwrap_err();
            assert_eq!(error.code(), "invalid_cursor", "{cursor}");
        }
    }

    proptest! {
        #[test]
        fn a_position_is_read_back(seq in 0..i64::MAX, since in 0..i64::MAX) {
            let position = Position { seq, since };
            let cursor = position.encode(Feed::Statuses).unwrap();
            prop_assert_eq!(Position::decode(&cursor, Feed::Statuses).unwrap(), position);
        }

        #[test]
        fn any_text_is_read_without_panic(text in ".*") {
            let _ = Position::decode(&text, Feed::Bindings);
        }
    }
}
