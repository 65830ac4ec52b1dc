//! How the consumer is, for probes; kept by its thread and by librdkafka's statistics.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::Deserialize;

use crate::platform::readiness::ReadinessRow;

/// The brokers do not believe who we are, or we them.
pub(super) const AUTHENTICATION: &str = "authentication_failed";

/// Shared between the consumer's thread, its handler's task and probes.
#[derive(Default)]
pub(super) struct Health(Mutex<State>);

#[derive(Default)]
pub(super) struct State {
    /// Some broker answers; `None` before the first word of any.
    pub connected: Option<bool>,
    /// What a broker refuses us.
    pub refused: Option<&'static str>,
    /// Why the handler fails: the code of its last error.
    pub failing: Option<String>,
}

impl Health {
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn row(&self) -> ReadinessRow {
        let state = self.state();
        match (&state.failing, state.connected, state.refused) {
            // Whom every broker turns away has no connection either; this says why.
            (.., Some(AUTHENTICATION)) => ReadinessRow::unavailable("kafka", AUTHENTICATION),
            (_, Some(false), _) => ReadinessRow::unavailable("kafka", "brokers_unreachable"),
            (Some(code), ..) => ReadinessRow::unavailable("kafka", code),
            (_, _, Some(refused)) => ReadinessRow::unavailable("kafka", refused),
            (_, Some(true), None) => ReadinessRow::ok("kafka"),
            (_, None, None) => ReadinessRow::starting("kafka"),
        }
    }
}

/// The part of librdkafka's statistics that is used.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Statistics {
    #[serde(default)]
    brokers: HashMap<String, BrokerStatistics>,
    #[serde(default)]
    topics: HashMap<String, TopicStatistics>,
    cgrp: Option<GroupStatistics>,
}

#[derive(Debug, Deserialize)]
struct BrokerStatistics {
    source: String,
    state: String,
}

#[derive(Debug, Deserialize)]
struct TopicStatistics {
    #[serde(default)]
    partitions: HashMap<String, PartitionStatistics>,
}

#[derive(Debug, Deserialize)]
struct PartitionStatistics {
    partition: i32,
    consumer_lag: i64,
    lo_offset: i64,
    hi_offset: i64,
    app_offset: i64,
    committed_offset: i64,
}

#[derive(Debug, Deserialize)]
struct GroupStatistics {
    join_state: String,
}

/// What they say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Report {
    pub at: Instant,
    pub connected: bool,
    /// Messages whose offsets are not committed.
    pub lag: i64,
    /// There is something that was not handed to us yet.
    pub more_to_read: bool,
    /// A member of the group, with or without partitions.
    pub joined: bool,
}

impl Statistics {
    /// The committed offset of each partition that has one.
    pub fn committed(&self) -> HashMap<i32, i64> {
        let partitions = self.topics.values().flat_map(|topic| topic.partitions.values());
        let known = partitions.filter(|partition| partition.committed_offset >= 0);
        known.map(|partition| (partition.partition, partition.committed_offset)).collect()
    }

    pub fn report(&self, owns: impl Fn(i32) -> bool) -> Report {
        let connected =
            self.brokers.values().any(|broker| broker.source != "internal" && broker.state == "UP");
        let partitions = self
            .topics
            .values()
            .flat_map(|topic| topic.partitions.values())
            .filter(|p| owns(p.partition));
        let (mut lag, mut more_to_read) = (0_i64, false);
        for partition in partitions {
            lag = lag.saturating_add(partition.consumer_lag.max(0));
            // What is not known is negative.
            let position = partition.app_offset.max(partition.committed_offset);
            more_to_read |= partition.hi_offset > position.max(partition.lo_offset).max(0);
        }
        let joined = self.cgrp.as_ref().is_some_and(|group| group.join_state == "steady");
        Report { at: Instant::now(), connected, lag, more_to_read, joined }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_tell_of_lag_and_connection() {
        let text = r#"{"brokers": {
              "GroupCoordinator": {"source": "logical", "state": "UP"},
              ":0/internal": {"source": "internal", "state": "UP"}},
            "topics": {"t": {"partitions": {
              "0": {"partition": 0, "consumer_lag": 5,
                "lo_offset": 0, "hi_offset": 10, "app_offset": 5, "committed_offset": 5},
              "1": {"partition": 1, "consumer_lag": -1, "lo_offset": 7,
                "hi_offset": 7, "app_offset": -1001, "committed_offset": -1001},
              "2": {"partition": 2, "consumer_lag": 70,
                "lo_offset": 0, "hi_offset": 70, "app_offset": 0, "committed_offset": 0},
              "-1": {"partition": -1, "consumer_lag": -1, "lo_offset": -1001,
                "hi_offset": -1001, "app_offset": -1001, "committed_offset": -1001}}}},
            "cgrp": {"join_state": "steady", "state": "up"}, "more": 1}"#;
        let statistics: Statistics = serde_json::from_str(text).unwrap();
        let report = statistics.report(|partition| partition < 2);
        assert!(report.connected && report.joined && report.more_to_read);
        assert_eq!(report.lag, 5);
        assert!(!statistics.report(|partition| partition == 1).more_to_read);
        assert_eq!(statistics.committed(), HashMap::from([(0, 5), (2, 0)]));
        let none = Statistics::default().report(|_| true);
        assert!(!none.connected && !none.joined && !none.more_to_read);
    }

    #[test]
    fn the_row_names_what_is_wrong() {
        let health = Health::default();
        assert_eq!(health.row().status, "starting");
        health.state().connected = Some(true);
        assert!(health.row().is_ok());
        health.state().failing = Some("database_unavailable".to_owned());
        assert_eq!(health.row().reason.as_deref(), Some("database_unavailable"));
        health.state().connected = Some(false);
        assert_eq!(health.row().reason.as_deref(), Some("brokers_unreachable"));
        health.state().refused = Some("topic_unknown");
        assert_eq!(health.row().reason.as_deref(), Some("brokers_unreachable"));
        health.state().refused = Some(AUTHENTICATION);
        assert_eq!(health.row().reason.as_deref(), Some("authentication_failed"));
    }
}
