//! A request to an upstream, and what came back.

use std::fmt;
use std::time::Duration;

use actix_web::web::Bytes;
use awc::http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use awc::http::{Method, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::UpstreamError;

/// One call to an upstream.
#[derive(Clone)]
pub struct Call {
    pub(super) http: Method,
    pub(super) path: String,
    pub(super) method: &'static str,
    pub(super) body: Option<Bytes>,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) idempotent: bool,
    /// It carries a token of its own: a refusal of that says nothing about the configured one.
    pub(super) own_token: bool,
}

impl Call {
    /// A call of `path` (with a leading `/`, below the base URL, already percent-encoded).
    /// `method` is the label in metrics, for example `phones_find`: a constant, never an id.
    #[must_use]
    pub fn new(http: Method, method: &'static str, path: impl Into<String>) -> Self {
        let idempotent = http.is_idempotent();
        let path = path.into();
        Self { http, path, method, body: None, headers: Vec::new(), idempotent, own_token: false }
    }

    /// A `POST` with a JSON body; not idempotent unless [`Call::idempotent`] says so.
    ///
    /// # Errors
    /// [`UpstreamError::Protocol`] when `body` cannot be written as JSON (a map whose keys are
    /// not strings).
    pub fn post(
        method: &'static str,
        path: impl Into<String>,
        body: &impl Serialize,
    ) -> Result<Self, UpstreamError> {
        let body = serde_json::to_vec(body)
            .map_err(|_| UpstreamError::Protocol("the request cannot be written as JSON"))?;
        Ok(Self::new(Method::POST, method, path).body(body))
    }

    /// Sends this JSON text as it is.
    #[must_use]
    pub fn body(mut self, json: impl Into<Bytes>) -> Self {
        self.body = Some(json.into());
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Carries this token in place of the configured one.
    ///
    /// # Errors
    /// [`UpstreamError::Protocol`] when it cannot be sent in a header.
    pub fn bearer(mut self, token: &SecretString) -> Result<Self, UpstreamError> {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()))
            .map_err(|_| UpstreamError::Protocol("a token cannot be sent in a header"))?;
        value.set_sensitive(true);
        self.own_token = true;
        Ok(self.header(AUTHORIZATION, value))
    }

    /// Doing it twice is the same as doing it once: it may be retried.
    #[must_use]
    pub fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }
}

/// Paths, headers and bodies may hold ids and personal data: only the label is shown.
impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("method", &self.method).finish_non_exhaustive()
    }
}

/// An answer: 2xx, or a 4xx that the typed client decides about (never 408 or 429).
#[derive(Clone)]
pub struct Reply {
    /// The HTTP status.
    pub status: StatusCode,
    /// The whole body.
    pub body: Bytes,
    /// The answer's `Retry-After`, if it was given in seconds.
    pub retry_after: Option<Duration>,
    /// Whether the body's length was announced and is right. Without an announced length, a body
    /// that was cut off looks like one that ended.
    pub(super) known_complete: bool,
}

impl Reply {
    /// Reads the body as JSON; fields that `T` does not know are ignored.
    ///
    /// # Errors
    /// [`UpstreamError::BadBody`], or [`UpstreamError::Closed`] for a body that was cut off.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, UpstreamError> {
        serde_json::from_slice(&self.body).map_err(|error| {
            if error.is_eof() && !self.known_complete {
                return UpstreamError::Closed;
            }
            UpstreamError::BadBody { line: error.line(), column: error.column() }
        })
    }

    /// The `code` of an error answer `{"code", "message"}`, if it has one.
    #[must_use]
    pub fn code(&self) -> Option<String> {
        #[derive(serde::Deserialize)]
        struct Body {
            code: String,
        }
        serde_json::from_slice::<Body>(&self.body).ok().map(|body| body.code)
    }

    /// The error for a status that the contract does not provide for.
    #[must_use]
    pub fn unexpected(&self) -> UpstreamError {
        UpstreamError::Status { status: self.status, retry_after: self.retry_after }
    }
}

/// The body may hold personal data: only its size is shown.
impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply")
            .field("status", &self.status)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// What a call for JSON ended with.
#[derive(Debug, Clone)]
pub enum Answer<T> {
    /// 2xx, and the body was understood.
    Ok(T),
    /// A 4xx, for the typed client to interpret.
    Refused(Reply),
}
