//! Feeds of changes that a cache follows: page by page from a cursor, which begins with everything.

use awc::http::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::platform::context::Context;
use crate::platform::upstream::{Answer, Call, Upstream, UpstreamError};

/// A page of changes, the oldest first.
#[derive(Debug)]
pub struct Page<T> {
    /// The changes.
    pub items: Vec<T>,
    /// Where the next page begins.
    pub cursor: String,
    /// Whether there is more already.
    pub has_more: bool,
}

/// Why there is no page.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpdatesError {
    /// The cursor is no longer, or never was, one of the feed's: everything has to be read anew.
    #[error("the cursor is refused")]
    CursorRefused,
    /// No usable answer.
    #[error("{0}")]
    Unavailable(#[from] UpstreamError),
}

/// Asks for a page. `P` is the answer, which names its items in its own way.
pub(super) async fn page<T, P>(
    upstream: &Upstream,
    ctx: &Context,
    (method, path): (&'static str, &'static str),
    cursor: Option<&str>,
    limit: usize,
) -> Result<Page<T>, UpdatesError>
where
    P: DeserializeOwned + Into<Page<T>>,
{
    let body = match cursor {
        Some(cursor) => json!({ "cursor": cursor, "limit": limit }),
        None => json!({ "limit": limit }),
    };
    let call = Call::post(method, path, &body)?.idempotent();
    match upstream.call_json::<P>(ctx, call).await? {
        Answer::Ok(page) => Ok(page.into()),
        Answer::Refused(reply) if cursor.is_some() && says_bad_cursor(reply.status) => {
            Err(UpdatesError::CursorRefused)
        }
        Answer::Refused(reply) => Err(reply.unexpected().into()),
    }
}

/// What we send beside the cursor is always the same, so that what is refused is the cursor.
fn says_bad_cursor(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_REQUEST
            | StatusCode::CONFLICT
            | StatusCode::GONE
            | StatusCode::UNPROCESSABLE_ENTITY
    )
}
