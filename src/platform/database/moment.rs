//! Times that come from outside and go into statements.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The first second that `timestamptz` has, in 4714 BC; jiff's times begin earlier.
const FIRST_SECOND: i64 = -210_866_803_200;

/// A time that PostgreSQL has. In cursors, which are anybody's to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Timestamp")]
pub struct Moment(pub Timestamp);

impl TryFrom<Timestamp> for Moment {
    type Error = &'static str;

    fn try_from(at: Timestamp) -> Result<Self, Self::Error> {
        if at.as_second() < FIRST_SECOND {
            Err("is before PostgreSQL's times")
        } else {
            Ok(Self(at))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_postgresql_has_is_read_and_it_is_written_as_a_time() {
        let read = serde_json::from_str::<Moment>;
        assert!(read("\"-004713-11-23T23:59:59Z\"").is_err());
        for text in ["\"-004713-11-24T00:00:00Z\"", "\"9999-12-30T22:00:00Z\""] {
            assert_eq!(serde_json::to_string(&read(text).unwrap()).unwrap(), text);
        }
    }
}
