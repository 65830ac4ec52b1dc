//! Conditions a caller puts on a change.

use super::error::{Error, Kind, Result};

/// One call guarded by an idempotency key: whose key it is, and what was asked under it. Both are
/// digests: the key is a caller's free text and the body may hold personal data, so neither is
/// stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdempotentCall {
    /// Caller, park, route and key.
    pub scope: [u8; 32],
    /// Path and body.
    pub request: [u8; 32],
}

/// The version of a thing that an edit is based on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExpectedVersion {
    /// Whatever it is now.
    Any,
    /// One of these; empty matches none.
    OneOf(Vec<i32>),
}

impl ExpectedVersion {
    /// # Errors
    /// `stale_version` unless `version` is expected.
    pub fn check(&self, version: i32) -> Result<()> {
        match self {
            Self::Any => Ok(()),
            Self::OneOf(versions) if versions.contains(&version) => Ok(()),
            Self::OneOf(_) => Err(Error::new(
                Kind::PreconditionFailed,
                "stale_version",
                "It was changed since the version in If-Match; read it again.",
            )),
        }
    }
}
