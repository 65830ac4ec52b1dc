//! What all workers share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::auth::Callers;
use super::description::Description;
use super::metrics::HttpMetrics;
use super::permit::Places;
use super::routes::Routes;
use crate::platform::config::auth::AuthSettings;
use crate::platform::config::http::HttpSettings;
use crate::platform::domain::SlowRoute;
use crate::platform::readiness::ReadinessSource;
use crate::platform::telemetry::metrics::Metrics;

/// The route label of a request that no route matches.
pub(super) const UNMATCHED: &str = "unmatched";
/// The domain label of a request that is for no domain.
const NO_DOMAIN: &str = "none";

/// Mounts the routes of the enabled domains; called once for each worker, and for their description.
pub type Mount = Arc<dyn Fn(&mut Routes<'_>) + Send + Sync>;

/// What all workers share.
pub struct HttpState {
    pub(super) settings: HttpSettings,
    pub(super) callers: Callers,
    pub(super) metrics: HttpMetrics,
    pub(super) registry: Metrics,
    pub(super) domains: Vec<&'static str>,
    pub(super) readiness: Arc<dyn ReadinessSource>,
    pub(super) mount: Mount,
    pub(super) description: Description,
    pub(super) places: Places,
    slow_routes: Vec<SlowRoute>,
    stopping: AtomicBool,
}

impl HttpState {
    /// The state of a server whose routes `mount` mounts.
    #[must_use]
    pub fn new(
        settings: HttpSettings,
        auth: &AuthSettings,
        registry: Metrics,
        domains: Vec<&'static str>,
        readiness: Arc<dyn ReadinessSource>,
        mount: Mount,
    ) -> Self {
        let metrics = HttpMetrics::register(&registry);
        Self {
            callers: Callers::new(auth),
            places: Places::new(&settings, &domains, &metrics, &registry),
            metrics,
            mount,
            description: Description::default(),
            settings,
            registry,
            domains,
            readiness,
            slow_routes: Vec::new(),
            stopping: AtomicBool::new(false),
        }
    }

    /// The same, with routes that need more than the default time.
    #[must_use]
    pub fn with_slow_routes(self, slow_routes: Vec<SlowRoute>) -> Self {
        Self { slow_routes, ..self }
    }

    /// The time of a request whose caller names none.
    pub(super) fn default_timeout(&self, route: &str) -> Duration {
        let slow = self.slow_routes.iter().find(|slow| slow.route == route);
        let needs = slow.and_then(|slow| slow.needs.get()).map_or(Duration::ZERO, |needs| **needs);
        self.settings.default_timeout().max(needs).min(self.settings.max_timeout())
    }

    /// From now on `/readyz` says that the process stops.
    pub fn begin_stopping(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// The domain label of a route template: its first segment, when that is an enabled domain.
    pub(super) fn domain_of(&self, route: &str) -> &'static str {
        let first = route.split('/').nth(1).unwrap_or_default();
        self.domains.iter().copied().find(|name| *name == first).unwrap_or(NO_DOMAIN)
    }

    /// Probes, scrapes and documentation, by route template: answered even when requests are shed.
    pub(super) fn is_service_route(&self, route: &str) -> bool {
        route != UNMATCHED && self.domain_of(route) == NO_DOMAIN
    }
}
