//! What every HTTP client shares: deadlines, retries with a budget, a breaker, a limit on calls
//! in flight, metrics and tracing.
//!
//! A typed client (`crate::upstreams`) owns an [`Upstream`] and knows its contract. An attempt
//! passes, in this order: the limit on calls in flight, the breaker, the time limit over head and
//! body, the size limit. A future that is dropped gives back its place in the limit, and its
//! breaker pass without a verdict.
//!
//! Calls run on threads that can spawn local tasks: actix workers and arbiters, or a `LocalSet`.

mod breaker;
mod call;
mod client;
mod error;
mod metrics;
mod retry;
mod settings;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use actix_web::web::Bytes;
use awc::http::header::HeaderValue;
use secrecy::ExposeSecret as _;
use serde::de::DeserializeOwned;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep, timeout};
use tracing::Instrument as _;

pub use self::call::{Answer, Call, Reply};
pub use self::error::UpstreamError;
pub use self::metrics::UpstreamMetrics;
pub use self::settings::UpstreamSettings;

use self::breaker::{Breaker, Verdict};
use self::retry::{Retries, RetryBudget};
use super::context::{Context, Deadline};
use super::error::{Error, Result};

/// Whether anything answers at an upstream's address, whatever it answers. For people who look for
/// trouble, not for serving.
///
/// # Errors
/// Nothing answers within `patience`.
pub async fn probe(
    settings: &UpstreamSettings,
    patience: std::time::Duration,
) -> Result<(), UpstreamError> {
    let metrics = UpstreamMetrics::register(&super::telemetry::metrics::Metrics::default());
    let upstream = Upstream::new("probe", settings, &metrics)
        .map_err(|_| UpstreamError::Protocol("the token cannot be sent in a header"))?;
    let call = Call::new(awc::http::Method::GET, "probe", "/");
    match upstream.call(&Context::background("doctor", patience), call).await {
        Ok(_) | Err(UpstreamError::Status { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// An attempt that had this part of the upstream's usual time counts when it failed for want of it.
const FAIR_SHARE: u32 = 2;

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

/// One service outside. Cheap to clone; clones share limits, breaker and budget.
#[derive(Clone)]
pub struct Upstream {
    inner: Arc<Inner>,
}

struct Inner {
    id: u64,
    name: &'static str,
    base_url: String,
    authorization: Option<HeaderValue>,
    settings: UpstreamSettings,
    permits: Semaphore,
    breaker: Breaker,
    budget: RetryBudget,
    unauthorised: AtomicBool,
    metrics: UpstreamMetrics,
}

impl Upstream {
    /// `name` is the label in metrics and logs. Nothing is connected yet.
    ///
    /// # Errors
    /// When the token cannot be sent in a header (checked settings never hold such a token).
    pub fn new(
        name: &'static str,
        settings: &UpstreamSettings,
        metrics: &UpstreamMetrics,
    ) -> Result<Self> {
        let inner = Inner {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            name,
            base_url: settings.base_url.trim_end_matches('/').to_owned(),
            authorization: authorization(settings)?,
            permits: Semaphore::new(settings.concurrency.min(Semaphore::MAX_PERMITS)),
            breaker: Breaker::new(
                name,
                settings.breaker_failures,
                settings.breaker_open(),
                metrics.breaker(name),
            ),
            budget: RetryBudget::new(Instant::now()),
            unauthorised: AtomicBool::new(false),
            metrics: metrics.clone(),
            settings: settings.clone(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// What is wrong with it as far as calls have shown, in a stable word; nothing is sent.
    #[must_use]
    pub fn trouble(&self) -> Option<&'static str> {
        if !self.inner.breaker.is_closed() {
            return Some("breaker_open");
        }
        self.inner.unauthorised.load(Ordering::Relaxed).then_some("unauthorized")
    }

    /// Makes a call; an answer is 2xx, or a 4xx other than 408 and 429.
    ///
    /// # Errors
    /// Every other outcome, after the retries that an idempotent call is allowed.
    pub async fn call(&self, ctx: &Context, call: Call) -> Result<Reply, UpstreamError> {
        self.run(ctx, &call, Ok).await
    }

    /// Makes a call whose 2xx answers are JSON; fields that `T` does not know are ignored.
    ///
    /// # Errors
    /// As [`Upstream::call`], and [`UpstreamError::BadBody`] when the body is not a `T`.
    pub async fn call_json<T: DeserializeOwned>(
        &self,
        ctx: &Context,
        call: Call,
    ) -> Result<Answer<T>, UpstreamError> {
        let read = |reply: Reply| {
            if reply.status.is_success() {
                reply.json().map(Answer::Ok)
            } else {
                Ok(Answer::Refused(reply))
            }
        };
        self.run(ctx, &call, read).await
    }

    /// The same for an answer that is passed on: what it must hold is read, and its text stays as
    /// it came.
    ///
    /// # Errors
    /// As [`Upstream::call_json`].
    pub async fn call_passing<T: DeserializeOwned>(
        &self,
        ctx: &Context,
        call: Call,
    ) -> Result<Answer<(T, Bytes)>, UpstreamError> {
        let read = |reply: Reply| {
            if reply.status.is_success() {
                reply.json().map(|value| Answer::Ok((value, reply.body)))
            } else {
                Ok(Answer::Refused(reply))
            }
        };
        self.run(ctx, &call, read).await
    }

    async fn run<T: Outcome>(
        &self,
        ctx: &Context,
        call: &Call,
        read: impl Fn(Reply) -> Result<T, UpstreamError>,
    ) -> Result<T, UpstreamError> {
        let span = tracing::info_span!(
            "upstream",
            upstream = self.inner.name,
            method = call.method,
            otel.kind = "client"
        );
        self.try_repeatedly(ctx, call, read).instrument(span).await
    }

    async fn try_repeatedly<T: Outcome>(
        &self,
        ctx: &Context,
        call: &Call,
        read: impl Fn(Reply) -> Result<T, UpstreamError>,
    ) -> Result<T, UpstreamError> {
        let inner = &*self.inner;
        inner.budget.earn(Instant::now());
        let mut retries = Retries::new(call.idempotent, inner.settings.attempts);
        let mut last = None;
        loop {
            let error = match self.attempt(ctx, call, &read).await {
                Ok(value) => return Ok(value),
                // What the upstream said before tells more than that we then held back.
                Err(error) if error.is_held_back() => return Err(last.unwrap_or(error)),
                Err(error) => error,
            };
            log_failure(&error);
            let Some(delay) = retries.next(&error, ctx.deadline.remaining(), &inner.budget) else {
                return Err(error);
            };
            inner.metrics.retried(inner.name, call.method);
            last = Some(error);
            sleep(delay).await;
        }
    }

    async fn attempt<T: Outcome>(
        &self,
        ctx: &Context,
        call: &Call,
        read: &impl Fn(Reply) -> Result<T, UpstreamError>,
    ) -> Result<T, UpstreamError> {
        let inner = &*self.inner;
        let held_back = |error: UpstreamError| {
            inner.metrics.held_back(inner.name, call.method, error.outcome());
            error
        };
        let _permit = inner.permit(ctx.deadline).await.map_err(held_back)?;
        let pass = inner
            .breaker
            .admit(Instant::now())
            .map_err(|retry_after| held_back(UpstreamError::BreakerOpen { retry_after }))?;

        let mut sent = inner.metrics.sent(inner.name, call.method);
        let fair = ctx.deadline.remaining() >= inner.settings.timeout() / FAIR_SHARE;
        let result = self.exchange(ctx, call).await.and_then(read);
        sent.outcome = result.as_ref().map_or_else(UpstreamError::outcome, Outcome::outcome);
        pass.settle(verdict(result.as_ref().err(), fair), Instant::now());
        // Who brings a token of its own sees to it when that is refused; when it is taken, all is well.
        if !call.own_token || result.is_ok() {
            inner.note_authorisation(result.as_ref().err());
        }
        result
    }

    /// One request under the time limit. Running into the upstream's own limit is its fault;
    /// running into a shorter one is the caller's choice.
    async fn exchange(&self, ctx: &Context, call: &Call) -> Result<Reply, UpstreamError> {
        let usual = self.inner.settings.timeout();
        let allowed = ctx.deadline.remaining().min(usual);
        let client = client::of(&self.inner, || Arc::downgrade(&self.inner));
        match timeout(allowed, client::exchange(client, &self.inner, call, ctx.trace)).await {
            Ok(result) => result,
            Err(_) if allowed < usual => Err(UpstreamError::Deadline),
            Err(_) => Err(UpstreamError::Timeout),
        }
    }
}

impl Inner {
    /// Remembers whether we are refused, and says so once.
    fn note_authorisation(&self, error: Option<&UpstreamError>) {
        let refused = matches!(error, Some(UpstreamError::Status { status, .. })
            if matches!(status.as_u16(), 401 | 403));
        let before = self.unauthorised.swap(refused, Ordering::Relaxed);
        if refused && !before {
            tracing::error!(upstream = self.name, "the upstream refuses our token, or login");
        }
    }

    /// A place among the calls in flight, waited for no longer than configured.
    async fn permit(&self, deadline: Deadline) -> Result<SemaphorePermit<'_>, UpstreamError> {
        if deadline.has_passed() {
            return Err(UpstreamError::Deadline);
        }
        if let Ok(permit) = self.permits.try_acquire() {
            return Ok(permit);
        }
        let wait = deadline.remaining().min(self.settings.queue_wait());
        match timeout(wait, self.permits.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ if deadline.has_passed() => Err(UpstreamError::Deadline),
            _ => Err(UpstreamError::Busy),
        }
    }
}

/// How a value that was read counts in the metrics.
trait Outcome {
    fn outcome(&self) -> &'static str;
}

impl Outcome for Reply {
    fn outcome(&self) -> &'static str {
        if self.status.is_success() { "ok" } else { "client_error" }
    }
}

impl<T> Outcome for Answer<T> {
    fn outcome(&self) -> &'static str {
        match self {
            Self::Ok(_) => "ok",
            Self::Refused(_) => "client_error",
        }
    }
}

fn authorization(settings: &UpstreamSettings) -> Result<Option<HeaderValue>> {
    let token = settings.token.expose_secret();
    if token.is_empty() {
        return Ok(None);
    }
    let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
        .map_err(|_| Error::internal("an upstream's token cannot be sent in a header"))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// What a failure says about the upstream's health. An answer is a sign of life even when it is
/// of no use to us.
/// A caller's deadline counts when it left the upstream a `fair` time.
fn verdict(error: Option<&UpstreamError>, fair: bool) -> Verdict {
    match error {
        Some(
            UpstreamError::Timeout
            | UpstreamError::Connect(_)
            | UpstreamError::Closed
            | UpstreamError::Protocol(_),
        ) => Verdict::Failing,
        Some(UpstreamError::Status { status, .. }) if status.is_server_error() => Verdict::Failing,
        Some(UpstreamError::Deadline) if fair => Verdict::Failing,
        Some(UpstreamError::Deadline) => Verdict::Unknown,
        _ => Verdict::Healthy,
    }
}

/// A broken contract needs a person; everything else shows in metrics and in the request's log.
fn log_failure(error: &UpstreamError) {
    match error {
        UpstreamError::BadBody { .. }
        | UpstreamError::BodyTooLarge
        | UpstreamError::Protocol(_) => tracing::error!(%error, "an upstream broke its contract"),
        _ => tracing::debug!(%error, "an upstream call failed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared_between_threads<T: Send + Sync + Clone>() {}

    #[test]
    fn an_upstream_can_be_shared() {
        shared_between_threads::<Upstream>();
    }
}
