//! Identifiers that all domains share.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest id that any of our tables and messages carries, in bytes.
pub const MAX_ID_LENGTH: usize = 64;

/// An opaque id from outside: 1 to 64 printable ASCII characters without spaces.
fn is_opaque_id(text: &str) -> bool {
    (1..=MAX_ID_LENGTH).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

/// A text that is no id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 64 printable ASCII characters without spaces")]
pub struct InvalidId;

macro_rules! opaque_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
        #[serde(try_from = "String")]
        #[schema(value_type = String, min_length = 1, max_length = 64, pattern = "^[!-~]+$")]
        pub struct $name(String);

        impl $name {
            /// Checks the form of the id; it says nothing about whether such a thing exists.
            ///
            /// # Errors
            /// The text is empty, too long, or has other than printable ASCII characters.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                if is_opaque_id(text) { Ok(Self(text.to_owned())) } else { Err(InvalidId) }
            }

            /// The id as it came.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                if is_opaque_id(&text) { Ok(Self(text)) } else { Err(InvalidId) }
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

opaque_id! {
    /// A taxi park or a scooter fleet. What belongs to a park is read and written only with it.
    ParkId
}

opaque_id! {
    /// An id that the `personal` service gave in exchange for something personal.
    PersonalId
}

opaque_id! {
    /// A driver's profile in a park.
    ContractorId
}

opaque_id! {
    /// The id of whatever is asked for, before it is known whether there is such a thing.
    OpaqueId
}

opaque_id! {
    /// An order of a park.
    OrderId
}

opaque_id! {
    /// What a caller names a request of its own by.
    RequestId
}
