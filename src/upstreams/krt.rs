//! AIS KRT, the regulator's system: is told when drivers go on and off line, and says how their
//! shifts are.
//!
//! Its calls carry a token that it gives for login and password. A driver's id there and the number
//! of his licence are secrets: they are in requests only.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use awc::http::StatusCode;
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::platform::context::Context;
use crate::platform::error::Result;
use crate::platform::upstream::{
    Answer, Call, Reply, Upstream, UpstreamError, UpstreamMetrics, UpstreamSettings,
};

/// Most reports in one request of the bulk method.
pub const BULK: usize = 500;

/// Where its methods are, below the base URL; each begins with `/`.
#[derive(Debug, Clone)]
pub struct KrtPaths {
    /// Gives a token.
    pub token: String,
    /// Compares a driver's id with a licence number.
    pub check: String,
    /// Takes one report.
    pub status: String,
    /// Takes many, where there is such a method.
    pub bulk: String,
}

/// What is proof of who we are, for a time.
#[derive(Debug, Clone, Deserialize)]
pub struct Token {
    /// Sent with each call.
    pub token: SecretString,
    /// By its clock.
    pub expires_at: Timestamp,
}

/// Whether an id and a licence number belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    /// They do.
    Yes,
    /// They do not.
    No,
    /// It knows no such id.
    UnknownId,
}

/// Whether a driver takes orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// He does, or is on one.
    OnLine,
    /// He does not.
    OffLine,
}

/// A driver went on or off line.
#[derive(Debug, Clone)]
pub struct Report {
    /// His id at the regulator.
    pub driver_id: SecretString,
    /// His licence's number.
    pub license_number: SecretString,
    /// Where he went.
    pub status: Line,
    /// When.
    pub occurred_at: Timestamp,
    /// Names this report: it is the same one when it is sent again.
    pub request_id: String,
}

/// How a driver's shift is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShiftStatus {
    /// He may work, until it ends.
    Active,
    /// He has to rest, until that ends.
    Resting,
    /// He worked for as long as he may.
    Expired,
    /// He has not begun.
    NotStarted,
}

/// A driver's shift, as an answer tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Shift {
    /// How it is.
    #[serde(rename = "session_status")]
    pub status: ShiftStatus,
    /// When that ends.
    #[serde(default)]
    pub ended_at: Option<Timestamp>,
}

/// What became of a report that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was taken; so is his shift.
    Taken(Shift),
    /// It knows no such id. Sending it again is of no use.
    UnknownId,
    /// It does not take this report, for what is in it. Sending it again is of no use.
    Invalid,
}

/// Why there is no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KrtError {
    /// The token, or login and password, are refused.
    #[error("the regulator does not know us")]
    Unauthorised,
    /// We ask more than we may.
    #[error("the regulator wants fewer calls")]
    TooMany {
        /// When it wants the next call, if it said so.
        retry_after: Option<Duration>,
    },
    /// There is no such method; the others may work.
    #[error("the regulator has no bulk method")]
    NoBulk,
    /// No usable answer.
    #[error("krt: {0}")]
    Unavailable(UpstreamError),
}

impl KrtError {
    /// Whether the regulator said so itself; else it was perhaps not even reached.
    #[must_use]
    pub fn was_answered(&self) -> bool {
        match self {
            Self::Unavailable(cause) => matches!(cause, UpstreamError::Status { .. }),
            Self::Unauthorised | Self::TooMany { .. } | Self::NoBulk => true,
        }
    }
}

impl From<UpstreamError> for KrtError {
    fn from(error: UpstreamError) -> Self {
        match error {
            UpstreamError::Status { status, retry_after } => Self::of_status(status, retry_after),
            other => Self::Unavailable(other),
        }
    }
}

impl KrtError {
    fn of_status(status: StatusCode, retry_after: Option<Duration>) -> Self {
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Self::Unauthorised,
            StatusCode::TOO_MANY_REQUESTS => Self::TooMany { retry_after },
            _ => Self::Unavailable(UpstreamError::Status { status, retry_after }),
        }
    }

    /// When it wants the next call, if it said so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooMany { retry_after } => *retry_after,
            Self::Unavailable(error) => error.retry_after(),
            Self::Unauthorised | Self::NoBulk => None,
        }
    }
}

/// The client of KRT. Cheap to clone.
#[derive(Clone)]
pub struct Krt {
    upstream: Upstream,
    paths: Arc<KrtPaths>,
}

#[derive(Deserialize)]
struct Matched {
    r#match: bool,
}

#[derive(Serialize)]
struct ReportBody<'a> {
    driver_id: &'a str,
    license_number: &'a str,
    status: Line,
    occurred_at: Timestamp,
    request_id: &'a str,
}

#[derive(Serialize)]
struct BulkBody<'a> {
    items: Vec<ReportBody<'a>>,
}

#[derive(Deserialize)]
struct BulkAnswer {
    items: Vec<BulkItem>,
}

#[derive(Deserialize)]
struct BulkItem {
    request_id: String,
    code: u16,
    #[serde(default)]
    session_status: Option<ShiftStatus>,
    #[serde(default)]
    ended_at: Option<Timestamp>,
}

impl Krt {
    /// # Errors
    /// When the configured token (there should be none) cannot be sent in a header.
    pub fn new(
        settings: &UpstreamSettings,
        paths: KrtPaths,
        metrics: &UpstreamMetrics,
    ) -> Result<Self> {
        let upstream = Upstream::new("krt", settings, metrics)?;
        Ok(Self { upstream, paths: Arc::new(paths) })
    }

    /// What is wrong with it as far as calls have shown.
    #[must_use]
    pub fn trouble(&self) -> Option<&'static str> {
        self.upstream.trouble()
    }

    /// A token for login and password.
    ///
    /// # Errors
    /// [`KrtError::Unauthorised`] when they are refused.
    pub async fn token(
        &self,
        ctx: &Context,
        login: &str,
        password: &SecretString,
    ) -> Result<Token, KrtError> {
        let body = json!({ "login": login, "password": password.expose_secret() });
        let call = Call::post("token", self.paths.token.as_str(), &body)?.idempotent();
        match self.upstream.call_json(ctx, call).await? {
            Answer::Ok(token) => Ok(token),
            Answer::Refused(reply) => Err(reply.unexpected().into()),
        }
    }

    /// Whether the driver with this id has a licence with this number. Changes nothing.
    ///
    /// # Errors
    /// See [`KrtError`].
    pub async fn check(
        &self,
        ctx: &Context,
        token: &SecretString,
        driver_id: &SecretString,
        license_number: &SecretString,
    ) -> Result<Match, KrtError> {
        let body = json!({
            "driver_id": driver_id.expose_secret(),
            "license_number": license_number.expose_secret(),
        });
        let call = Call::post("check", self.paths.check.as_str(), &body)?.idempotent();
        match self.upstream.call_json::<Matched>(ctx, call.bearer(token)?).await? {
            Answer::Ok(Matched { r#match: true }) => Ok(Match::Yes),
            Answer::Ok(Matched { r#match: false }) => Ok(Match::No),
            Answer::Refused(reply) if is_unknown_id(&reply) => Ok(Match::UnknownId),
            Answer::Refused(reply) => Err(reply.unexpected().into()),
        }
    }

    /// Reports one driver, in one attempt: whoever sends decides whether, and when, to send again.
    ///
    /// # Errors
    /// See [`KrtError`].
    pub async fn report(
        &self,
        ctx: &Context,
        token: &SecretString,
        report: &Report,
    ) -> Result<Outcome, KrtError> {
        let path = self.paths.status.as_str();
        match self.send(ctx, token, ("status", path), &ReportBody::of(report)).await? {
            Answer::Ok(shift) => Ok(Outcome::Taken(shift)),
            Answer::Refused(reply) if is_unknown_id(&reply) => Ok(Outcome::UnknownId),
            Answer::Refused(reply) if reply.status == StatusCode::UNPROCESSABLE_ENTITY => {
                Ok(Outcome::Invalid)
            }
            Answer::Refused(reply) => Err(reply.unexpected().into()),
        }
    }

    /// Reports up to [`BULK`] drivers, in one attempt; what became of each, in their order.
    ///
    /// # Errors
    /// When nothing is known of any: see [`KrtError`].
    pub async fn report_bulk(
        &self,
        ctx: &Context,
        token: &SecretString,
        reports: &[Report],
    ) -> Result<Vec<Result<Outcome, KrtError>>, KrtError> {
        let body = BulkBody { items: reports.iter().map(ReportBody::of).collect() };
        let path = self.paths.bulk.as_str();
        let answered = match self.send(ctx, token, ("status_bulk", path), &body).await? {
            Answer::Ok(BulkAnswer { items }) => items,
            Answer::Refused(reply) if is_no_method(reply.status) => return Err(KrtError::NoBulk),
            Answer::Refused(reply) => return Err(reply.unexpected().into()),
        };
        let mut by_id: HashMap<String, BulkItem> =
            answered.into_iter().map(|item| (item.request_id.clone(), item)).collect();
        let outcome = |report: &Report| match by_id.remove(&report.request_id) {
            Some(item) => item.outcome(),
            None => Err(UpstreamError::Protocol("a report has no answer").into()),
        };
        Ok(reports.iter().map(outcome).collect())
    }

    async fn send<T: DeserializeOwned>(
        &self,
        ctx: &Context,
        token: &SecretString,
        (method, path): (&'static str, &str),
        body: &impl Serialize,
    ) -> Result<Answer<T>, UpstreamError> {
        let call = Call::post(method, path, body)?.bearer(token)?;
        self.upstream.call_json(ctx, call).await
    }
}

impl<'a> ReportBody<'a> {
    fn of(report: &'a Report) -> Self {
        Self {
            driver_id: report.driver_id.expose_secret(),
            license_number: report.license_number.expose_secret(),
            status: report.status,
            occurred_at: report.occurred_at,
            request_id: &report.request_id,
        }
    }
}

impl BulkItem {
    fn outcome(self) -> Result<Outcome, KrtError> {
        match (self.code, self.session_status) {
            (200..=299, Some(status)) => {
                Ok(Outcome::Taken(Shift { status, ended_at: self.ended_at }))
            }
            (404, _) => Ok(Outcome::UnknownId),
            (422, _) => Ok(Outcome::Invalid),
            (code @ 400.., _) => match StatusCode::from_u16(code) {
                Ok(status) => Err(KrtError::of_status(status, None)),
                Err(_) => Err(UpstreamError::Protocol("an item's code is no HTTP status").into()),
            },
            _ => Err(UpstreamError::Protocol("an item says nothing of the shift").into()),
        }
    }
}

/// A 404 in the regulator's own words; one of a proxy, or of a wrong path, would have every driver
/// taken for unknown.
fn is_unknown_id(reply: &Reply) -> bool {
    reply.status == StatusCode::NOT_FOUND
        && reply.code().is_some_and(|code| code != "unknown_route")
}

fn is_no_method(status: StatusCode) -> bool {
    matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED)
}
