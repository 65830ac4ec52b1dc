//! Identifiers that all domains share.

/// Longest id that any of our tables and messages carries, in bytes.
pub const MAX_ID_LENGTH: usize = 64;

/// An opaque id from outside: 1 to 64 printable ASCII characters without spaces.
pub(crate) fn is_opaque_id(text: &str) -> bool {
    (1..=MAX_ID_LENGTH).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

/// A text that is no id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 64 printable ASCII characters without spaces")]
pub struct InvalidId;

macro_rules! opaque_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord,
            serde::Serialize, serde::Deserialize, utoipa::ToSchema,
        )]
        #[serde(try_from = "String")]
        #[schema(value_type = String, min_length = 1, max_length = 64, pattern = "^[!-~]+$")]
        pub struct $name(String);

        impl $name {
            /// Checks the form of the id; it says nothing about whether such a thing exists.
            ///
            /// # Errors
            /// The text is empty, too long, or has other than printable ASCII characters.
            pub fn parse(text: &str) -> Result<Self, $crate::platform::ids::InvalidId> {
                Self::try_from(text.to_owned())
            }

            /// The id as it came.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = $crate::platform::ids::InvalidId;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                if $crate::platform::ids::is_opaque_id(&text) {
                    Ok(Self(text))
                } else {
                    Err($crate::platform::ids::InvalidId)
                }
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

#[allow(unused_imports, reason = "not every set of features has ids of its own")]
pub(crate) use opaque_id;

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
