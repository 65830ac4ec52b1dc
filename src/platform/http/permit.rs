//! Places among the requests in flight: so many in all, and so many for one domain, so that a domain
//! whose requests wait leaves places to its neighbours.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::metrics::HttpMetrics;
use crate::platform::config::http::HttpSettings;
use crate::platform::telemetry::metrics::{IntGauge, Metrics};

/// The places of a server.
pub(super) struct Places {
    all: Limit,
    domains: Vec<(&'static str, Limit)>,
}

impl Places {
    pub fn new(
        settings: &HttpSettings,
        domains: &[&'static str],
        metrics: &HttpMetrics,
        registry: &Metrics,
    ) -> Self {
        let most = match domains {
            [_, _, ..] => settings.max_in_flight_per_domain,
            _ => settings.max_in_flight,
        };
        registry.limit("http_requests_in_flight", settings.max_in_flight);
        let limits = registry.limits("http_domain_requests_in_flight", &["domain"]);
        for name in domains {
            limits.set(&[*name], most);
        }
        let of_domain = |name: &&'static str| {
            (*name, Limit::new(most, metrics.domain_in_flight.with_label_values(&[name])))
        };
        Self {
            all: Limit::new(settings.max_in_flight, metrics.in_flight.clone()),
            domains: domains.iter().map(of_domain).collect(),
        }
    }

    /// A place for a request of this domain; what is for no domain counts among all only.
    pub fn take(&self, domain: &str) -> Option<Permit<'_>> {
        let of_domain = match self.domains.iter().find(|(name, _)| *name == domain) {
            Some((_, limit)) => Some(limit.take()?),
            None => None,
        };
        Some(Permit { _all: self.all.take()?, _of_domain: of_domain })
    }
}

/// A place; given back when dropped, however the request ends.
pub(super) struct Permit<'a> {
    _all: Taken<'a>,
    _of_domain: Option<Taken<'a>>,
}

struct Limit {
    most: usize,
    taken: AtomicUsize,
    gauge: IntGauge,
}

impl Limit {
    fn new(most: usize, gauge: IntGauge) -> Self {
        Self { most, taken: AtomicUsize::new(0), gauge }
    }

    fn take(&self) -> Option<Taken<'_>> {
        let before = self.taken.fetch_add(1, Ordering::Relaxed);
        self.gauge.inc();
        let taken = Taken(self);
        (before < self.most).then_some(taken)
    }
}

struct Taken<'a>(&'a Limit);

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
        self.0.gauge.dec();
    }
}
