//! Bodies as callers see them.

use garde::Validate;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Shortest and longest id, in characters.
const LENGTH: std::ops::RangeInclusive<usize> = 4..=64;
/// So much of it may be shown: enough to tell two of one's own apart.
const SUFFIX: usize = 2;

/// The id that a driver gives.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GivenId {
    /// The driver's id at the regulator.
    #[garde(custom(is_id))]
    #[schema(value_type = String, min_length = 4, max_length = 64, pattern = "^[A-Za-z0-9._:-]+$")]
    pub id: SecretString,
}

/// Whether a driver has an id, and what may be shown of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct IdPresence {
    /// Whether an id is bound to his licence.
    has_id: bool,
    /// Its last two characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    id_suffix: Option<String>,
}

impl IdPresence {
    /// Of what is bound to the licence.
    pub fn of(id: Option<&str>) -> Self {
        let suffix =
            |id: &str| id.chars().skip(id.chars().count().saturating_sub(SUFFIX)).collect();
        Self { has_id: id.is_some(), id_suffix: id.map(suffix) }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature is garde's")]
fn is_id(id: &SecretString, (): &()) -> garde::Result {
    let id = id.expose_secret();
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-');
    if LENGTH.contains(&id.len()) && id.bytes().all(plain) {
        return Ok(());
    }
    Err(garde::Error::new("must be 4 to 64 of A-Z, a-z, 0-9, '.', '_', ':' and '-'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_of_an_id_is_shown() {
        let shown = |id| serde_json::to_value(IdPresence::of(id)).unwrap();
        assert_eq!(shown(None), serde_json::json!({"has_id": false}));
        assert_eq!(shown(Some("ABCD")), serde_json::json!({"has_id": true, "id_suffix": "CD"}));
    }

    #[test]
    fn ids_are_of_plain_characters() {
        let is_good = |id: &str| is_id(&SecretString::from(id), &()).is_ok();
        assert!(is_good("77-0012.A_b:9") && is_good(&"x".repeat(64)));
        for bad in ["", "abc", "abc ", " abcd", "ab\ncd", "ид-12345", "ab\u{0}cd", "a/b/c/d"] {
            assert!(!is_good(bad), "{bad:?}");
        }
        assert!(!is_good(&"x".repeat(65)));
    }
}
