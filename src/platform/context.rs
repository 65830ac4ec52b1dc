//! What a request carries down into services, stores and upstream calls.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::error::{Error, Result};
use super::telemetry::trace::TraceContext;

/// The moment at which the caller stops waiting, on the monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// A deadline this far from now.
    #[must_use]
    pub fn after(patience: Duration) -> Self {
        Self(Instant::now() + patience)
    }

    /// What is left; zero when it has passed.
    #[must_use]
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Whether it has passed.
    #[must_use]
    pub fn has_passed(self) -> bool {
        self.remaining().is_zero()
    }

    /// The earlier of this deadline and one that far from now.
    #[must_use]
    pub fn at_most(self, limit: Duration) -> Self {
        self.min(Self::after(limit))
    }

    /// Runs `work` until it ends or the deadline passes; then `work` is dropped.
    ///
    /// # Errors
    /// `deadline_exceeded` when the deadline passes first.
    pub async fn run<T>(self, work: impl Future<Output = T>) -> Result<T> {
        tokio::time::timeout_at(self.0, work).await.map_err(|_| Error::deadline_exceeded())
    }
}

/// Who asks, how long they wait, and which trace it belongs to.
#[derive(Debug, Clone)]
pub struct Context {
    /// When the caller stops waiting.
    pub deadline: Deadline,
    /// The configured name of the caller, for audit rows and idempotency scopes.
    pub caller: Arc<str>,
    /// The trace this work belongs to.
    pub trace: TraceContext,
}

impl Context {
    /// The same work with less time: `share` (0 to 1) of what is left is kept back for what comes
    /// after.
    #[must_use]
    pub fn keeping_back(&self, share: f64) -> Self {
        let left = self.deadline.remaining().mul_f64(1.0 - share.clamp(0.0, 1.0));
        Self { deadline: Deadline::after(left), ..self.clone() }
    }

    /// The context of work that no request started (start-up, maintenance).
    #[must_use]
    pub fn background(name: &str, patience: Duration) -> Self {
        Self {
            deadline: Deadline::after(patience),
            caller: Arc::from(name),
            trace: TraceContext::random(),
        }
    }
}
