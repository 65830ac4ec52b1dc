//! What cabinets, accumulators and scooters are called.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::platform::ids::{MAX_ID_LENGTH, opaque_id};

opaque_id! {
    /// An accumulator; the id that cabinets read from it.
    AccumulatorId
}

opaque_id! {
    /// A scooter, as the scooter back end calls it.
    ScooterId
}

/// A cabinet. It stands in MQTT topics, so it has no character that means something there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String")]
#[schema(value_type = String, min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._:-]+$")]
pub struct CabinetId(String);

/// A text that is no cabinet's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 64 of the characters A-Z, a-z, 0-9, '.', '_', ':' and '-'")]
pub struct InvalidCabinetId;

impl CabinetId {
    /// Checks the form of the id.
    ///
    /// # Errors
    /// It cannot be a part of a topic.
    pub fn parse(text: &str) -> Result<Self, InvalidCabinetId> {
        Self::try_from(text.to_owned())
    }

    /// The id as it came.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for CabinetId {
    type Error = InvalidCabinetId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
        if (1..=MAX_ID_LENGTH).contains(&text.len()) && text.bytes().all(plain) {
            Ok(Self(text))
        } else {
            Err(InvalidCabinetId)
        }
    }
}

impl From<CabinetId> for String {
    fn from(id: CabinetId) -> Self {
        id.0
    }
}

impl fmt::Display for CabinetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cabinet_is_not_called_what_a_topic_would_read_as_something_else() {
        for id in ["", "a/b", "#", "+", "a b", "é", &"a".repeat(65)] {
            assert!(CabinetId::parse(id).is_err(), "{id}");
        }
        for id in ["a", "are7:1_cab.2-x", &"a".repeat(64)] {
            assert_eq!(CabinetId::parse(id).unwrap().as_str(), id);
        }
    }
}
