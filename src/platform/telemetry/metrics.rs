//! Prometheus metrics. The only file that names the `prometheus` crate.
//!
//! A registry belongs to one process's composition (tests run several side by side), so whoever
//! measures something is given a [`Metrics`] and registers with it once, at start. Labels are
//! bounded: never a park, a driver, a cabinet or a phone.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::Collector;
pub use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};
use prometheus::{HistogramOpts, Opts, Registry, TextEncoder};

/// Seconds; from a cached read to the longest deadline.
const LATENCY_BUCKETS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Brings gauges up to date before they are rendered; must be quick and must not block.
type Refresh = Box<dyn Fn() + Send + Sync>;

/// Where metrics are registered and rendered.
#[derive(Clone, Default)]
pub struct Metrics {
    registry: Registry,
    refreshes: Arc<Mutex<Vec<Refresh>>>,
    made: Arc<Mutex<HashMap<String, Box<dyn Any + Send>>>>,
}

impl Metrics {
    /// A registry that also reports the process itself (CPU, memory, file descriptors).
    #[must_use]
    pub fn with_process() -> Self {
        let metrics = Self::default();
        metrics.register(prometheus::process_collector::ProcessCollector::for_self());
        metrics
    }

    /// A counter for each combination of `labels`.
    #[must_use]
    pub fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.once(name, || constant(name, IntCounterVec::new(Opts::new(name, help), labels)))
    }

    /// A gauge for each combination of `labels`.
    #[must_use]
    pub fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.once(name, || constant(name, IntGaugeVec::new(Opts::new(name, help), labels)))
    }

    /// A latency histogram, in seconds, for each combination of `labels`.
    #[must_use]
    pub fn latencies(&self, name: &str, help: &str, labels: &[&str]) -> HistogramVec {
        self.histograms(name, help, labels, &LATENCY_BUCKETS)
    }

    /// A histogram with these bucket bounds for each combination of `labels`.
    #[must_use]
    pub fn histograms(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> HistogramVec {
        self.once(name, || {
            let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            constant(name, HistogramVec::new(options, labels))
        })
    }

    /// One histogram with these bucket bounds.
    #[must_use]
    pub fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        self.histograms(name, help, &[], buckets).with_label_values::<&str>(&[])
    }

    /// One counter.
    #[must_use]
    pub fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.counters(name, help, &[]).with_label_values::<&str>(&[])
    }

    /// One gauge.
    #[must_use]
    pub fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.gauges(name, help, &[]).with_label_values::<&str>(&[])
    }

    /// One latency histogram, in seconds.
    #[must_use]
    pub fn latency(&self, name: &str, help: &str) -> Histogram {
        self.latencies(name, help, &[]).with_label_values::<&str>(&[])
    }

    /// The most that the gauge `of` may be, for each combination of its `labels`: alerts and dashboards
    /// divide by it in place of knowing what was configured.
    #[must_use]
    pub fn limits(&self, of: &str, labels: &[&str]) -> Limits {
        Limits(self.gauges(&format!("{of}_limit"), &format!("The most that {of} may be"), labels))
    }

    /// The most that the gauge `of`, which has no labels, may be.
    pub fn limit(&self, of: &str, most: usize) {
        self.limits(of, &[]).set(&[], most);
    }

    /// Calls `refresh` before each rendering, for gauges that are cheaper to look up than to keep.
    pub fn before_render(&self, refresh: impl Fn() + Send + Sync + 'static) {
        self.refreshes.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(refresh));
    }

    /// All metrics in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        for refresh in self.refreshes.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            refresh();
        }
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_else(|error| {
            tracing::error!(%error, "metrics could not be rendered");
            String::new()
        })
    }

    /// The metric of that name, made when it is first asked for: what is started anew after a
    /// failure goes on counting where it was.
    fn once<T>(&self, name: &str, make: impl FnOnce() -> T) -> T
    where
        T: Collector + Clone + Send + 'static,
    {
        let mut known = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(metric) = known.get(name).and_then(|metric| metric.downcast_ref::<T>()) {
            return metric.clone();
        }
        let metric = make();
        self.register(metric.clone());
        known.insert(name.to_owned(), Box::new(metric.clone()));
        metric
    }

    /// A name that is registered twice, as two kinds of metric, is a mistake in the code, found by the
    /// first test that starts the process; the running process only loses that one metric.
    fn register(&self, collector: impl Collector + 'static) {
        if let Err(error) = self.registry.register(Box::new(collector)) {
            debug_assert!(false, "{error}");
            tracing::error!(%error, "a metric could not be registered");
        }
    }
}

/// Limits of a gauge; see [`Metrics::limits`].
#[derive(Clone)]
pub struct Limits(IntGaugeVec);

impl Limits {
    /// Sets that of one combination of labels.
    pub fn set(&self, labels: &[&str], most: usize) {
        self.0.with_label_values(labels).set(i64::try_from(most).unwrap_or(i64::MAX));
    }
}

/// These counters, with all combinations of labels that are named there from the start: of a counter that
/// appears with its first event nobody can tell that it grew.
#[must_use]
pub fn from_zero<const LABELS: usize>(
    counters: IntCounterVec,
    combinations: &[[&str; LABELS]],
) -> IntCounterVec {
    for combination in combinations {
        let _ = counters.with_label_values(combination);
    }
    counters
}

/// Names and labels are constants of the code: an invalid one cannot pass any test.
#[allow(clippy::panic, reason = "reached only by a mistake in a constant")]
fn constant<T>(name: &str, made: prometheus::Result<T>) -> T {
    made.unwrap_or_else(|error| panic!("metric {name}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_called_after_its_gauge_and_is_what_it_was_last() {
        let metrics = Metrics::default();
        let waiting = metrics.gauges("jobs_waiting", "Jobs that wait", &["queue"]);
        waiting.with_label_values(&["a"]).set(3);
        metrics.limits("jobs_waiting", &["queue"]).set(&["a"], 5);
        metrics.limits("jobs_waiting", &["queue"]).set(&["a"], 7);
        metrics.limit("jobs_running", usize::MAX);
        let rendered = metrics.render();
        for line in [
            "jobs_waiting{queue=\"a\"} 3",
            "jobs_waiting_limit{queue=\"a\"} 7",
            "jobs_running_limit 9",
        ] {
            assert!(rendered.contains(line), "{line}: {rendered}");
        }
    }

    #[test]
    fn counters_from_zero_are_rendered_before_they_count() {
        let metrics = Metrics::default();
        let made = || metrics.counters("lost_total", "Lost ones", &["kind", "reason"]);
        let counters = from_zero(made(), &[["task", "killed"], ["task", "hung"]]);
        counters.with_label_values(&["task", "hung"]).inc();
        let again = from_zero(made(), &[["task", "killed"], ["task", "hung"]]);
        assert_eq!(again.with_label_values(&["task", "hung"]).get(), 1, "it goes on");
        let rendered = metrics.render();
        assert!(rendered.contains("lost_total{kind=\"task\",reason=\"killed\"} 0"), "{rendered}");
        assert!(rendered.contains("lost_total{kind=\"task\",reason=\"hung\"} 1"), "{rendered}");
    }
}
