//! Conditions a caller puts on a change.

use sha2::{Digest, Sha256};

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

impl IdempotentCall {
    /// `request` is what must be the same when the key is used again.
    #[must_use]
    pub fn new(caller: &str, park: &str, route: &str, key: &str, request: &[&[u8]]) -> Self {
        let scope = [caller, park, route, key].map(str::as_bytes);
        Self { scope: digest(&scope), request: digest(request) }
    }
}

/// Each part with its length before it, so that no two lists of parts run together.
fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
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
