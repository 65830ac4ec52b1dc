//! Lists in pages: `limit`, and an opaque `cursor` that says where the last page ended.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::platform::error::{Error, Kind, Result};

/// Page size when the caller names none.
pub const DEFAULT_LIMIT: u32 = 100;
/// Largest page.
pub const MAX_LIMIT: u32 = 1000;
/// No cursor of ours is longer, in characters.
const MAX_CURSOR_LENGTH: usize = 1024;
/// Changes when the content of cursors does, so that an old one is refused and not misread.
const VERSION: u8 = 1;

/// The query of every list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Paging {
    /// Items in the page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(min_length = 1, max_length = 1024)]
    cursor: Option<String>,
}

impl Paging {
    /// For a list whose query has more members than these.
    #[must_use]
    pub fn new(limit: Option<u32>, cursor: Option<String>) -> Self {
        Self { limit, cursor }
    }

    /// The page size.
    ///
    /// # Errors
    /// `invalid_limit` unless it is between 1 and 1000.
    pub fn limit(&self) -> Result<u32> {
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        if (1..=MAX_LIMIT).contains(&limit) {
            return Ok(limit);
        }
        Err(Error::new(
            Kind::InvalidInput,
            "invalid_limit",
            format!("limit must be between 1 and {MAX_LIMIT}."),
        ))
    }

    /// Where the page before ended.
    ///
    /// # Errors
    /// `invalid_cursor` for what no list of this kind gave out.
    pub fn position<P: DeserializeOwned>(&self) -> Result<Option<P>> {
        self.cursor.as_deref().map(decode).transpose()
    }
}

/// A page of a list, as it is answered.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Page<T> {
    /// The items, in the list's order.
    pub items: Vec<T>,
    /// Where the next page begins; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// A page, and where the next begins, if there is one.
    ///
    /// # Errors
    /// The position cannot be written.
    pub fn new<P: Serialize>(items: Vec<T>, next: Option<P>) -> Result<Self> {
        let next_cursor = next.map(|position| encode(&position)).transpose()?;
        Ok(Self { items, next_cursor })
    }
}

/// A cursor that says where a page ended. Not signed: a position only narrows a query that names the
/// park by itself.
///
/// # Errors
/// The position cannot be written.
pub fn encode<P: Serialize>(position: &P) -> Result<String> {
    serde_json::to_vec(&(VERSION, position))
        .map(|json| URL_SAFE_NO_PAD.encode(json))
        .map_err(Error::internal)
}

/// The position in a cursor.
///
/// # Errors
/// `invalid_cursor` for what no list of this kind gave out.
pub fn decode<P: DeserializeOwned>(cursor: &str) -> Result<P> {
    let position = (cursor.len() <= MAX_CURSOR_LENGTH)
        .then(|| URL_SAFE_NO_PAD.decode(cursor).ok())
        .flatten()
        .filter(|json| !holds_nul(json))
        .and_then(|json| serde_json::from_slice::<(u8, P)>(&json).ok());
    match position {
        Some((VERSION, position)) => Ok(position),
        _ => Err(Error::new(
            Kind::InvalidInput,
            "invalid_cursor",
            "cursor must be one that this list gave out.",
        )),
    }
}

/// Whether a text in it has the character that PostgreSQL's texts cannot have. (JSON has it escaped only.)
fn holds_nul(json: &[u8]) -> bool {
    const NUL: &[u8] = br"\u0000";
    json.windows(NUL.len()).any(|part| part == NUL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_postgresql_cannot_take_is_no_cursor() {
        let cursor = encode(&("a\u{0}b", 1)).unwrap();
        assert_eq!(decode::<(String, i64)>(&cursor).unwrap_err().code(), "invalid_cursor");
    }

    proptest! {
        #[test]
        fn a_cursor_is_read_back(id in "[^\\x00]*", at in any::<i64>()) {
            let cursor = encode(&(&id, at)).unwrap();
            prop_assert_eq!(decode::<(String, i64)>(&cursor).unwrap(), (id, at));
        }

        #[test]
        fn any_text_is_read_without_panic(text in ".*") {
            let _ = decode::<(String, i64)>(&text);
        }
    }
}
