//! `int-api`: keeps orders. What it says of an order is passed on as it came.

use actix_web::web::Bytes;
use awc::http::StatusCode;
use awc::http::header::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use serde_json::value::RawValue;

use crate::platform::context::Context;
use crate::platform::error::Result;
use crate::platform::ids::ParkId;
use crate::platform::upstream::{
    Answer, Call, Reply, Upstream, UpstreamError, UpstreamMetrics, UpstreamSettings,
};

/// Says that two drafts are one.
const IDEMPOTENCY: HeaderName = HeaderName::from_static("x-idempotency-token");

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum IntApiError {
    /// It does not do that, for this reason.
    #[error("int-api refused: {} {}", .0.status, .0.code.as_deref().unwrap_or("without a code"))]
    Refused(Refusal),
    /// No usable answer.
    #[error("int-api: {0}")]
    Unavailable(#[from] UpstreamError),
}

/// A 4xx of `int-api`.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// The HTTP status.
    pub status: StatusCode,
    /// Its `code`, where that is a word of 1 to 64 lower-case letters, digits and `_`.
    pub code: Option<String>,
    /// When it wants to be asked again, if it said so.
    pub retry_after: Option<std::time::Duration>,
}

impl IntApiError {
    /// When it wants to be asked again, if it said so.
    #[must_use]
    pub fn retry_after(&self) -> Option<std::time::Duration> {
        match self {
            Self::Refused(refusal) => refusal.retry_after,
            Self::Unavailable(error) => error.retry_after(),
        }
    }
}

impl Refusal {
    fn of(reply: &Reply) -> Self {
        let is_word = |code: &String| {
            (1..=64).contains(&code.len())
                && code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        let code = reply.code().filter(is_word);
        Self { status: reply.status, code, retry_after: reply.retry_after }
    }

    /// Whether the same request may succeed later: its state moves, or it names a time to come
    /// back.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.retry_after.is_some()
            || matches!(self.status.as_u16(), 423 | 425)
            || self.is("commit_in_progress")
            // A conflict without a word on why may be anything.
            || (self.status == StatusCode::CONFLICT && self.code.is_none())
    }

    /// Whether it is for this reason.
    #[must_use]
    pub fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }
}

/// An order as `int-api` shows it: what we must know, and the whole as it came.
pub struct Shown {
    /// What we must know.
    pub order: OrderState,
    /// The whole.
    pub body: Bytes,
}

/// What must be known of an order.
#[derive(Deserialize)]
pub struct OrderState {
    /// Its park.
    pub park_id: String,
    /// Its status.
    pub status: String,
    /// Its revision, as it was written.
    pub revision: Box<RawValue>,
}

impl OrderState {
    /// Whether a commit of it took effect.
    #[must_use]
    pub fn is_committed(&self) -> bool {
        !matches!(self.status.as_str(), "draft" | "committing" | "commit_in_progress" | "cancelled")
    }

    /// Whether it was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.status == "cancelled"
    }
}

/// What every answer about one order holds.
#[derive(Deserialize)]
struct Named {
    #[serde(rename = "order_id")]
    _order_id: String,
}

/// An answer with whatever members.
#[derive(Deserialize)]
struct Whatever {}

/// The client of `int-api`. Cheap to clone.
#[derive(Clone)]
pub struct IntApi {
    upstream: Upstream,
}

impl IntApi {
    /// # Errors
    /// When the token cannot be sent in a header.
    pub fn new(settings: &UpstreamSettings, metrics: &UpstreamMetrics) -> Result<Self> {
        Ok(Self { upstream: Upstream::new("int_api", settings, metrics)? })
    }

    /// What is wrong with it as far as calls have shown.
    #[must_use]
    pub fn trouble(&self) -> Option<&'static str> {
        self.upstream.trouble()
    }

    /// Prices and arrival times. Changes nothing.
    ///
    /// # Errors
    /// See [`IntApiError`].
    pub async fn estimate(&self, ctx: &Context, body: Bytes) -> Result<Bytes, IntApiError> {
        let call = call("estimate", body).idempotent();
        self.passing::<Whatever>(ctx, call).await.map(|(_, body)| body)
    }

    /// Makes a draft; the same `token` in the same park makes no second one.
    ///
    /// # Errors
    /// See [`IntApiError`].
    pub async fn draft(
        &self,
        ctx: &Context,
        token: &str,
        body: Bytes,
    ) -> Result<Bytes, IntApiError> {
        let token = HeaderValue::from_str(token)
            .map_err(|_| UpstreamError::Protocol("the token cannot be sent in a header"))?;
        let call = call("draft", body).header(IDEMPOTENCY, token).idempotent();
        self.passing::<Named>(ctx, call).await.map(|(_, body)| body)
    }

    /// Commits a draft, in one attempt: the caller must know of each that may have taken effect.
    ///
    /// # Errors
    /// See [`IntApiError`].
    pub async fn commit(&self, ctx: &Context, body: Bytes) -> Result<Bytes, IntApiError> {
        self.passing::<Named>(ctx, call("commit", body)).await.map(|(_, body)| body)
    }

    /// The park's unfinished orders on a phone.
    ///
    /// # Errors
    /// See [`IntApiError`].
    pub async fn active(&self, ctx: &Context, body: Bytes) -> Result<Bytes, IntApiError> {
        #[derive(Deserialize)]
        struct Found {
            #[serde(rename = "orders")]
            _orders: Vec<Whatever>,
        }
        let call = call("search", body).idempotent();
        self.passing::<Found>(ctx, call).await.map(|(_, body)| body)
    }

    /// The park's order as it is; `None` when the park has no such order.
    ///
    /// # Errors
    /// See [`IntApiError`].
    pub async fn info(
        &self,
        ctx: &Context,
        park: &ParkId,
        order: &str,
    ) -> Result<Option<Shown>, IntApiError> {
        let body = json!({ "park_id": park, "order_id": order });
        let call = Call::post("info", path("info"), &body)?.idempotent();
        match self.passing::<OrderState>(ctx, call).await {
            Ok((order, _)) if order.park_id != park.as_str() => Ok(None),
            Ok((order, body)) => Ok(Some(Shown { order, body })),
            Err(IntApiError::Refused(refusal)) if refusal.status == StatusCode::NOT_FOUND => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Changes an order, in one attempt: after the first took effect, its revision is no longer the
    /// one that a second would name.
    ///
    /// # Errors
    /// See [`IntApiError`].
    pub async fn edit(&self, ctx: &Context, body: Bytes) -> Result<Bytes, IntApiError> {
        self.passing::<Named>(ctx, call("edit", body)).await.map(|(_, body)| body)
    }

    /// Cancels an order, in one attempt, as [`IntApi::edit`].
    ///
    /// # Errors
    /// See [`IntApiError`].
    pub async fn cancel(&self, ctx: &Context, body: Bytes) -> Result<Bytes, IntApiError> {
        self.passing::<Named>(ctx, call("cancel", body)).await.map(|(_, body)| body)
    }

    async fn passing<T: DeserializeOwned>(
        &self,
        ctx: &Context,
        call: Call,
    ) -> Result<(T, Bytes), IntApiError> {
        match self.upstream.call_passing(ctx, call).await? {
            Answer::Ok(passed) => Ok(passed),
            // A 404 without a code is not its word on an order: something else answers there.
            Answer::Refused(reply)
                if reply.status == StatusCode::NOT_FOUND && reply.code().is_none() =>
            {
                Err(reply.unexpected().into())
            }
            Answer::Refused(reply) => Err(IntApiError::Refused(Refusal::of(&reply))),
        }
    }
}

fn path(operation: &'static str) -> String {
    format!("/v1/orders/{operation}")
}

fn call(operation: &'static str, body: Bytes) -> Call {
    Call::new(awc::http::Method::POST, operation, path(operation)).body(body)
}
