//! Feeds of changes that a cache follows: page by page from a cursor, which begins with everything.

use std::marker::PhantomData;

use awc::http::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::platform::context::Context;
use crate::platform::error::Result;
use crate::platform::upstream::{
    Answer, Call, Upstream, UpstreamError, UpstreamMetrics, UpstreamSettings,
};

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

/// What a service's feed tells of.
pub trait Item: Sized {
    /// The service, by its name under `upstreams`.
    const UPSTREAM: &'static str;
    /// What the call is named in metrics, and its path.
    const ROUTE: (&'static str, &'static str);
    /// The answer, which names its items in its own way.
    type Answer: DeserializeOwned + Into<Page<Self>>;
}

/// The client of a service whose feed tells of `T`. Cheap to clone.
#[derive(Clone)]
pub struct Updates<T> {
    upstream: Upstream,
    items: PhantomData<fn() -> T>,
}

impl<T: Item> Updates<T> {
    /// # Errors
    /// When the token cannot be sent in a header.
    pub fn new(settings: &UpstreamSettings, metrics: &UpstreamMetrics) -> Result<Self> {
        let upstream = Upstream::new(T::UPSTREAM, settings, metrics)?;
        Ok(Self { upstream, items: PhantomData })
    }

    /// What is wrong with it as far as calls have shown.
    #[must_use]
    pub fn trouble(&self) -> Option<&'static str> {
        self.upstream.trouble()
    }

    /// What changed since `cursor`, or everything without one; `limit` at a time.
    ///
    /// # Errors
    /// See [`UpdatesError`].
    pub async fn page(
        &self,
        ctx: &Context,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<T>, UpdatesError> {
        let body = match cursor {
            Some(cursor) => json!({ "cursor": cursor, "limit": limit }),
            None => json!({ "limit": limit }),
        };
        let (method, path) = T::ROUTE;
        let call = Call::post(method, path, &body)?.idempotent();
        match self.upstream.call_json::<T::Answer>(ctx, call).await? {
            Answer::Ok(page) => Ok(page.into()),
            Answer::Refused(reply) if cursor.is_some() && says_bad_cursor(reply.status) => {
                Err(UpdatesError::CursorRefused)
            }
            Answer::Refused(reply) => Err(reply.unexpected().into()),
        }
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
