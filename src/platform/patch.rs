//! Members of a JSON merge patch (RFC 7396).

use serde::{Deserialize, Deserializer};

/// What a patch says of one member.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Patch<T> {
    /// Absent: it stays.
    #[default]
    Keep,
    /// Null: it is removed.
    Remove,
    /// A value: it is set.
    Set(T),
}

impl<T> Patch<T> {
    /// The value to set, if there is one.
    pub fn as_set(&self) -> Option<&T> {
        match self {
            Self::Set(value) => Some(value),
            Self::Keep | Self::Remove => None,
        }
    }
}

/// With `#[serde(default)]` on the member, so that an absent one is kept.
impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Remove, Self::Set))
    }
}
