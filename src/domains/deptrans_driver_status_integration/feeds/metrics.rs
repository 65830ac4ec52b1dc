//! What is watched of the feeds.

use super::numbers::Feed;
use crate::platform::telemetry::metrics::{
    Histogram, IntCounter, IntCounterVec, Metrics, from_zero,
};

/// Seconds from a change to the poll that reads it.
const LAG: [f64; 10] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 600.0];

#[derive(Clone)]
pub struct FeedsMetrics {
    bindings: FeedMetrics,
    statuses: FeedMetrics,
    /// Rows that got a new number because profiles of their licence changed.
    pub renumbered: IntCounterVec,
}

/// Of one feed.
#[derive(Clone)]
pub struct FeedMetrics {
    pub empty: IntCounter,
    pub incremental: IntCounter,
    pub full: IntCounter,
    pub lag: Histogram,
}

impl FeedsMetrics {
    pub fn register(metrics: &Metrics) -> Self {
        let polls = metrics.counters(
            "deptrans_feed_polls_total",
            "Pages of the update feeds by kind: empty, incremental, full (one of a full read)",
            &["feed", "kind"],
        );
        let lag = metrics.histograms(
            "deptrans_feed_lag_seconds",
            "From a change to the first page that holds it; of pages of incremental reads",
            &["feed"],
            &LAG,
        );
        let of = |feed: Feed| {
            let polls = |kind: &str| polls.with_label_values(&[feed.name(), kind]);
            FeedMetrics {
                empty: polls("empty"),
                incremental: polls("incremental"),
                full: polls("full"),
                lag: lag.with_label_values(&[feed.name()]),
            }
        };
        let feeds = [[Feed::Bindings.name()], [Feed::Statuses.name()]];
        Self {
            bindings: of(Feed::Bindings),
            statuses: of(Feed::Statuses),
            renumbered: from_zero(
                metrics.counters(
                    "deptrans_feed_renumbered_total",
                    "Items that come again because profiles of their licence changed",
                    &["feed"],
                ),
                &feeds,
            ),
        }
    }

    pub fn of(&self, feed: Feed) -> &FeedMetrics {
        match feed {
            Feed::Bindings => &self.bindings,
            Feed::Statuses => &self.statuses,
        }
    }
}
