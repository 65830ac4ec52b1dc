//! What the product watches: orders by step, and what became of the customers behind them.
//!
//! Commits per draft is `committed` over `drafted`, both `ok`.

use crate::platform::error::{Error, Kind, Result};
use crate::platform::telemetry::metrics::{
    Histogram, IntCounter, IntCounterVec, IntGauge, Metrics, from_zero,
};

/// A step on the dispatcher's way.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    Estimated,
    Drafted,
    Committed,
    Edited,
    Cancelled,
}

const STEPS: [Step; 5] =
    [Step::Estimated, Step::Drafted, Step::Committed, Step::Edited, Step::Cancelled];

const OUTCOMES: [&str; 3] = ["ok", "refused", "unavailable"];

/// What becomes of the customer of a committed order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CustomerOutcome {
    Recorded,
    WithoutPhone,
    /// The passenger was erased after the order was placed: there is nothing to record.
    Erased,
    LostQueueFull,
    LostRefused,
    LostGivenUp,
    LostAtStop,
}

const CUSTOMER_OUTCOMES: [CustomerOutcome; 7] = [
    CustomerOutcome::Recorded,
    CustomerOutcome::WithoutPhone,
    CustomerOutcome::Erased,
    CustomerOutcome::LostQueueFull,
    CustomerOutcome::LostRefused,
    CustomerOutcome::LostGivenUp,
    CustomerOutcome::LostAtStop,
];

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Estimated => "estimated",
            Self::Drafted => "drafted",
            Self::Committed => "committed",
            Self::Edited => "edited",
            Self::Cancelled => "cancelled",
        }
    }
}

impl CustomerOutcome {
    pub fn name(self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::WithoutPhone => "without_phone",
            Self::Erased => "erased",
            Self::LostQueueFull => "lost_queue_full",
            Self::LostRefused => "lost_refused",
            Self::LostGivenUp => "lost_given_up",
            Self::LostAtStop => "lost_at_stop",
        }
    }
}

/// Ages at which a park's data is used, in seconds.
const AGES: [f64; 8] = [1.0, 5.0, 15.0, 30.0, 60.0, 300.0, 900.0, 3600.0];

#[derive(Clone)]
pub(super) struct OrderMetrics {
    orders: IntCounterVec,
    customers: IntCounterVec,
    pub customers_waiting: IntGauge,
    pub park_hits: IntCounter,
    pub park_misses: IntCounter,
    pub park_stale: IntCounter,
    pub park_failures: IntCounter,
    pub park_age: Histogram,
}

impl OrderMetrics {
    pub fn register(metrics: &Metrics) -> Self {
        let orders = metrics.counters(
            "fleet_orders_manager_orders_total",
            "Orders by step and outcome: ok, refused (the caller must not repeat it), unavailable",
            &["step", "outcome"],
        );
        let steps = STEPS.map(|step| OUTCOMES.map(|outcome| [step.name(), outcome]));
        let customers = metrics.counters(
            "fleet_orders_manager_customers_total",
            "Customers of committed orders: recorded, without_phone, erased (since the order was \
             placed), or lost for a reason",
            &["outcome"],
        );
        let outcomes = CUSTOMER_OUTCOMES.map(|outcome| [outcome.name()]);
        let customers_waiting = metrics.gauge(
            "fleet_orders_manager_customers_waiting",
            "Committed orders whose customer is still to be recorded",
        );
        let parks = metrics.counters(
            "fleet_orders_manager_park_lookups_total",
            "Lookups of a park: hit, miss (waited for fleet-parks), stale, failed",
            &["outcome"],
        );
        let park_age = metrics.histogram(
            "fleet_orders_manager_park_age_seconds",
            "How old what was used of a park is",
            &AGES,
        );
        Self {
            orders: from_zero(orders, &steps.concat()),
            customers: from_zero(customers, &outcomes),
            customers_waiting,
            park_hits: parks.with_label_values(&["hit"]),
            park_misses: parks.with_label_values(&["miss"]),
            park_stale: parks.with_label_values(&["stale"]),
            park_failures: parks.with_label_values(&["failed"]),
            park_age,
        }
    }

    /// Counts how a step ended.
    pub fn step<T>(&self, step: Step, result: &Result<T>) {
        let outcome = match result.as_ref().map_err(Error::kind) {
            Ok(_) => "ok",
            Err(Kind::Unavailable | Kind::DeadlineExceeded | Kind::Internal) => "unavailable",
            Err(_) => "refused",
        };
        self.orders.with_label_values(&[step.name(), outcome]).inc();
    }

    /// Counts what became of a customer.
    pub fn customer(&self, outcome: CustomerOutcome) {
        self.customers.with_label_values(&[outcome.name()]).inc();
    }
}
