//! How a process says whether it can serve, and why not.

use std::future::Future;
use std::pin::Pin;

use serde::Serialize;

/// Whether the process can serve, and why not.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Readiness {
    /// `ready`, `degraded` (some domain or dependency is missing), `not_ready`, `stopping`.
    pub status: &'static str,
    /// A row for each enabled domain.
    pub domains: Vec<ReadinessRow>,
    /// A row for each dependency of the enabled domains.
    pub dependencies: Vec<ReadinessRow>,
}

/// One domain or dependency.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct ReadinessRow {
    /// Its name.
    pub name: String,
    /// `ok`, `starting` or `unavailable`.
    pub status: &'static str,
    /// Why, in a stable word; absent when it is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

const STARTING: &str = "starting";

impl Readiness {
    /// Sums up: something must serve, and nothing be about to; all well is `ready`, else `degraded`.
    #[must_use]
    pub fn of(domains: Vec<ReadinessRow>, dependencies: Vec<ReadinessRow>) -> Self {
        let all_ok = domains.iter().chain(&dependencies).all(ReadinessRow::is_ok);
        let starting = domains.iter().any(|domain| domain.status == STARTING);
        let status = match (domains.iter().any(ReadinessRow::is_ok), all_ok) {
            _ if starting => "not_ready",
            (true, true) => "ready",
            (true, false) => "degraded",
            (false, _) => "not_ready",
        };
        Self { status, domains, dependencies }
    }
}

impl ReadinessRow {
    /// A row of something that is well.
    pub fn ok(name: impl Into<String>) -> Self {
        Self { name: name.into(), status: "ok", reason: None }
    }

    /// A row of something that is on its way up.
    pub fn starting(name: impl Into<String>) -> Self {
        Self { name: name.into(), status: STARTING, reason: None }
    }

    /// A row of something that is not.
    pub fn unavailable(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { name: name.into(), status: "unavailable", reason: Some(reason.into()) }
    }

    /// A row of a dependency, by its trouble if it has one.
    pub fn of(name: impl Into<String>, trouble: Option<&str>) -> Self {
        match trouble {
            None => Self::ok(name),
            Some(trouble) => Self::unavailable(name, trouble),
        }
    }

    /// Whether it is well.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.status == "ok"
    }
}

/// Who knows how the process is: the composition root.
pub trait ReadinessSource: Send + Sync {
    /// Looks at every domain and dependency, within about a second.
    fn readiness(&self) -> Pin<Box<dyn Future<Output = Readiness> + '_>>;
}
