//! How a call to an upstream fails.

use std::io;
use std::time::Duration;

use actix_http::error::ParseError;
use awc::error::{ConnectError, SendRequestError};
use awc::http::StatusCode;

use crate::platform::error::Error;

/// When nothing better is known, callers are told to come back after this.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why there is no answer, or none that can be used. Holds nothing that either side sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// Too many calls are in flight already; nothing was sent.
    #[error("too many calls are in flight")]
    Busy,
    /// The breaker is open; nothing was sent.
    #[error("the breaker is open")]
    BreakerOpen {
        /// When the next probe is due.
        retry_after: Duration,
    },
    /// The caller's patience ran out before the upstream's usual time was spent.
    #[error("the caller's deadline passed")]
    Deadline,
    /// The upstream did not answer, body included, in its usual time.
    #[error("no complete answer in time")]
    Timeout,
    /// No connection could be made; nothing was sent.
    #[error("cannot connect: {0}")]
    Connect(io::ErrorKind),
    /// The connection closed before the answer was complete; the work may be done or not.
    #[error("the connection closed before the answer was complete")]
    Closed,
    /// What was asked or answered is not HTTP.
    #[error("{0}")]
    Protocol(&'static str),
    /// An answer that says "not now" (408, 429, 5xx), or one the typed client does not expect.
    #[error("answered {status}")]
    Status {
        /// The HTTP status.
        status: StatusCode,
        /// The answer's `Retry-After`, if it was given in seconds.
        retry_after: Option<Duration>,
    },
    /// The answer is larger than the configured limit.
    #[error("the answer is over the size limit")]
    BodyTooLarge,
    /// The answer is not the JSON that the contract promises. The place is told, not the text.
    #[error("the answer is not what the contract says (line {line}, column {column})")]
    BadBody {
        /// Line of the body, from 1.
        line: usize,
        /// Column of that line.
        column: usize,
    },
}

impl UpstreamError {
    /// What the caller of ours is told. `code` names the upstream, for example
    /// `personal_unavailable`; only a spent deadline has a code of its own.
    #[must_use]
    pub fn into_error(self, code: &'static str) -> Error {
        if self == Self::Deadline {
            return Error::deadline_exceeded().with_source(self);
        }
        let retry_after = self.retry_after().unwrap_or(RETRY_AFTER).max(RETRY_AFTER);
        Error::unavailable(code, "A service that this request depends on does not answer.")
            .with_retry_after(retry_after)
            .with_source(self)
    }

    /// Whether the upstream may have done the work all the same. One attempt is meant: a call that
    /// is retried tells of its last.
    #[must_use]
    pub fn may_have_taken_effect(&self) -> bool {
        match self {
            Self::Busy | Self::BreakerOpen { .. } | Self::Connect(_) => false,
            Self::Status { status, .. } => !matches!(status.as_u16(), 401 | 403 | 429),
            _ => true,
        }
    }

    /// When the upstream wants the next call, if it said so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::BreakerOpen { retry_after } => Some(*retry_after),
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether the same call may do better a moment later.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Timeout | Self::Connect(_) | Self::Closed => true,
            Self::Status { status, .. } => matches!(status.as_u16(), 429 | 500 | 502 | 503 | 504),
            _ => false,
        }
    }

    /// Whether nothing was sent because we held the call back ourselves.
    pub(super) fn is_held_back(&self) -> bool {
        matches!(self, Self::Busy | Self::BreakerOpen { .. })
    }

    /// The `outcome` label of the metrics.
    pub(super) fn outcome(&self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::BreakerOpen { .. } => "breaker_open",
            Self::Deadline => "deadline",
            Self::Timeout => "timeout",
            Self::Connect(_) => "connect",
            Self::Closed => "closed",
            Self::Status { status, .. } => match status.as_u16() {
                429 => "rate_limited",
                400..=499 => "client_error",
                500.. => "server_error",
                _ => "bad_body",
            },
            Self::Protocol(_) | Self::BodyTooLarge | Self::BadBody { .. } => "bad_body",
        }
    }
}

/// awc's own errors are reduced to what is known to hold no address and no content.
impl From<SendRequestError> for UpstreamError {
    fn from(error: SendRequestError) -> Self {
        match error {
            SendRequestError::Connect(error) => error.into(),
            SendRequestError::Timeout => Self::Timeout,
            SendRequestError::Send(_) | SendRequestError::Response(ParseError::Io(_)) => {
                Self::Closed
            }
            SendRequestError::Response(_) => Self::Protocol("the answer is not HTTP"),
            _ => Self::Protocol("the request cannot be sent"),
        }
    }
}

impl From<ConnectError> for UpstreamError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Disconnected => Self::Closed,
            ConnectError::Timeout => Self::Connect(io::ErrorKind::TimedOut),
            ConnectError::Io(error) => Self::Connect(error.kind()),
            ConnectError::Resolver(_) | ConnectError::NoRecords | ConnectError::Unresolved => {
                Self::Connect(io::ErrorKind::HostUnreachable)
            }
            _ => Self::Connect(io::ErrorKind::Other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::error::Kind;

    #[test]
    fn the_caller_learns_when_to_come_back_and_nothing_else() {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let error = UpstreamError::Status { status, retry_after: Some(Duration::from_secs(7)) }
            .into_error("personal_unavailable");
        assert_eq!((error.kind(), error.code()), (Kind::Unavailable, "personal_unavailable"));
        assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
        assert_eq!(error.chain(), "answered 503 Service Unavailable");
    }

    #[test]
    fn a_spent_deadline_is_not_the_upstreams_fault() {
        let error = UpstreamError::Deadline.into_error("personal_unavailable");
        assert_eq!(error.kind(), Kind::DeadlineExceeded);
        assert_eq!(error.code(), "deadline_exceeded");
    }
}
