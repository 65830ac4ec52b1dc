//! The one error type that crosses module borders.
//!
//! It knows no HTTP: a [`Kind`] says what sort of thing went wrong, a `code` is the stable word a
//! program can switch on, `detail` is what a caller may read, and the source is what only the log
//! may see. `http::problem` turns it into an answer at the last step.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

/// Result with the platform's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Source = Box<dyn StdError + Send + Sync + 'static>;

/// Further members of an answer, by name; kept as JSON text, so that what an upstream said is passed
/// on with its numbers as they were written.
pub type Extensions = BTreeMap<&'static str, Box<RawValue>>;

/// When a caller whose time ran out may come back.
const AFTER_DEADLINE: Duration = Duration::from_secs(1);

/// What sort of thing went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The caller sent something malformed or out of range.
    InvalidInput,
    /// No caller could be recognised.
    Unauthenticated,
    /// A known caller asked for what it may not have.
    Forbidden,
    /// There is no such thing, or it belongs to another park.
    NotFound,
    /// The route exists, but not with this method.
    MethodNotAllowed,
    /// The caller did not finish sending its request in time.
    RequestTimeout,
    /// The state of the resource stands against it.
    Conflict,
    /// It was there, and is not any more; the same request will never succeed.
    Gone,
    /// The caller's `If-Match` is stale.
    PreconditionFailed,
    /// The request body is over the limit.
    PayloadTooLarge,
    /// The request body is not of a type this route reads.
    UnsupportedMediaType,
    /// Well formed, but contradicts what was said before.
    Unprocessable,
    /// A dependency or the process itself cannot serve this now.
    Unavailable,
    /// The caller's patience ran out.
    DeadlineExceeded,
    /// A fault of ours.
    Internal,
}

/// One fault in the caller's input, addressed by a JSON pointer (RFC 6901).
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct FieldError {
    /// JSON pointer into the body; the empty string is the whole body.
    pub pointer: String,
    /// What is wrong with it, for a person.
    pub detail: String,
}

/// An error with an outward face (`code`, `detail`) and an inner cause.
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    code: Cow<'static, str>,
    detail: Cow<'static, str>,
    fields: Vec<FieldError>,
    retry_after: Option<Duration>,
    extensions: Extensions,
    source: Option<Source>,
}

impl Error {
    /// An error with an outward text. `detail` must name no SQL, no upstream address and nothing
    /// personal: it is sent to the caller.
    pub fn new(
        kind: Kind,
        code: impl Into<Cow<'static, str>>,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self(Box::new(Inner {
            kind,
            code: code.into(),
            detail: detail.into(),
            fields: Vec::new(),
            retry_after: None,
            extensions: Extensions::new(),
            source: None,
        }))
    }

    /// Something of ours broke; the cause goes to the log, the caller learns nothing of it.
    pub fn internal(source: impl Into<Source>) -> Self {
        Self::new(Kind::Internal, "internal", "The server failed to handle the request.")
            .with_source(source)
    }

    /// The input is wrong as a whole, or at one place of it.
    pub fn invalid(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::invalid_fields(vec![FieldError { pointer: pointer.into(), detail: detail.into() }])
    }

    /// The input is wrong at these places.
    #[must_use]
    pub fn invalid_fields(fields: Vec<FieldError>) -> Self {
        let mut error = Self::new(
            Kind::InvalidInput,
            "invalid_request",
            "The request is not valid; see errors.",
        );
        error.0.fields = fields;
        error
    }

    /// There is no such thing in the caller's park.
    pub fn not_found(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::NotFound, code, detail)
    }

    /// A dependency cannot serve this now.
    pub fn unavailable(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Unavailable, code, detail)
    }

    /// The caller's patience ran out before the work was done.
    #[must_use]
    pub fn deadline_exceeded() -> Self {
        Self::new(
            Kind::DeadlineExceeded,
            "deadline_exceeded",
            "The time given for this request ran out.",
        )
        .with_retry_after(AFTER_DEADLINE)
    }

    /// Keeps the cause for the log.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Tells the caller when to come back.
    #[must_use]
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.0.retry_after = Some(after);
        self
    }

    /// Adds a member to the answer, beside the standard ones (RFC 9457, "Extension Members"). What
    /// cannot be written as JSON is left out.
    #[must_use]
    pub fn with_extension(mut self, name: &'static str, value: &impl Serialize) -> Self {
        if let Ok(value) = to_raw_value(value) {
            self.0.extensions.insert(name, value);
        }
        self
    }

    /// A copy of the outward face, with the causes as one line of text: what is left to tell when
    /// the error itself can only be borrowed.
    #[must_use]
    pub fn to_answer(&self) -> Self {
        let chain = self.chain();
        Self(Box::new(Inner {
            kind: self.0.kind,
            code: self.0.code.clone(),
            detail: self.0.detail.clone(),
            fields: self.0.fields.clone(),
            retry_after: self.0.retry_after,
            extensions: self.0.extensions.clone(),
            source: (!chain.is_empty()).then(|| chain.into()),
        }))
    }

    /// What sort of thing went wrong.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The stable word a program can switch on.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.0.code
    }

    /// What the caller may read.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The faults in the caller's input, if that is what it is about.
    #[must_use]
    pub fn fields(&self) -> &[FieldError] {
        &self.0.fields
    }

    /// When the caller should come back, if that is known.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Further members of the answer.
    #[must_use]
    pub fn extensions(&self) -> &Extensions {
        &self.0.extensions
    }

    /// The whole chain of causes in one line, for the log. What a cause tells of the next one itself
    /// is not told again.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = String::new();
        let mut next = StdError::source(self);
        while let Some(cause) = next {
            let words = cause.to_string();
            if !text.ends_with(&words) {
                if !text.is_empty() {
                    text.push_str(": ");
                }
                text.push_str(&words);
            }
            next = cause.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code, self.0.detail)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("code", &self.0.code)
            .field("detail", &self.0.detail)
            .field("fields", &self.0.fields)
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_is_in_the_chain_and_not_in_the_outward_text() {
        let error = Error::internal(std::io::Error::other("disk on fire"));
        assert_eq!(error.chain(), "disk on fire");
        assert!(!error.to_string().contains("fire"));
        assert_eq!(error.code(), "internal");
    }

    #[test]
    fn a_cause_that_its_follower_repeats_is_told_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot connect: {0}")]
        struct Outer(#[source] std::io::Error);
        let error = Error::internal(Outer(std::io::Error::other("disk on fire")));
        assert_eq!(error.chain(), "cannot connect: disk on fire");
    }
}
