//! `[tasks]`: the task queue, read only by processes whose domains need it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::{Faults, Section};

/// How background tasks are run.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskSettings {
    /// Threads that run tasks.
    pub threads: usize,
    /// Tasks of one queue that run at once in this process.
    pub concurrency: usize,
    /// The same for queues that differ, by name.
    pub queues: BTreeMap<String, usize>,
    /// How long a claimed task is a worker's without a word from it.
    pub lease_ms: u64,
    /// How often an idle queue is looked at without a notification.
    pub poll_ms: u64,
    /// Pause before the second attempt; it doubles with each further one.
    pub backoff_base_ms: u64,
    /// The longest pause between attempts.
    pub backoff_max_ms: u64,
    /// How long running tasks may go on when the process stops.
    pub stop_ms: u64,
    /// How long dead tasks are kept.
    pub dead_retention_hours: i32,
}

impl TaskSettings {
    /// How long a claimed task is a worker's without a word from it.
    #[must_use]
    pub fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_ms)
    }

    /// How often leases are renewed, and expired ones looked for.
    #[must_use]
    pub fn heartbeat(&self) -> Duration {
        self.lease() / 3
    }

    /// How often an idle queue is looked at without a notification.
    #[must_use]
    pub fn poll(&self) -> Duration {
        Duration::from_millis(self.poll_ms)
    }

    /// How long running tasks may go on when the process stops.
    #[must_use]
    pub fn stop(&self) -> Duration {
        Duration::from_millis(self.stop_ms)
    }

    /// Tasks of `queue` that run at once in this process.
    #[must_use]
    pub fn concurrency_of(&self, queue: &str) -> usize {
        self.queues.get(queue).copied().unwrap_or(self.concurrency)
    }

    /// The pause behind attempt number `attempt` (from 1) is at most this, and at least half of it.
    #[must_use]
    pub fn backoff(&self, attempt: i16) -> Duration {
        let doublings = u32::from(attempt.max(1).unsigned_abs() - 1).min(32);
        let pause = self.backoff_base_ms.saturating_mul(1 << doublings);
        Duration::from_millis(pause.min(self.backoff_max_ms))
    }
}

impl Section for TaskSettings {
    fn check(&self, faults: &mut Faults) {
        faults.require((1..=64).contains(&self.threads), "threads", "must be between 1 and 64");
        let concurrency = "must be between 1 and 1000";
        faults.require((1..=1000).contains(&self.concurrency), "concurrency", concurrency);
        for (name, tasks) in &self.queues {
            faults.require((1..=1000).contains(tasks), &format!("queues.{name}"), concurrency);
        }
        faults.require(
            (1000..=600_000).contains(&self.lease_ms),
            "lease_ms",
            "must be between 1000 and 600000 (ten minutes)",
        );
        faults.require(
            (50..=60_000).contains(&self.poll_ms),
            "poll_ms",
            "must be between 50 and 60000 (a minute)",
        );
        faults.require(
            (1..=3_600_000).contains(&self.backoff_base_ms),
            "backoff_base_ms",
            "must be between 1 and 3600000 (an hour)",
        );
        faults.require(
            (self.backoff_base_ms..=86_400_000).contains(&self.backoff_max_ms),
            "backoff_max_ms",
            "must be between backoff_base_ms and 86400000 (a day)",
        );
        faults.require(self.stop_ms <= 300_000, "stop_ms", "must be at most 300000 (five minutes)");
        faults.require(
            (1..=8760).contains(&self.dead_retention_hours),
            "dead_retention_hours",
            "must be between 1 and 8760 (a year)",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::ConfigSource;
    use super::*;

    fn settings(text: &str) -> Result<TaskSettings, Vec<super::super::Fault>> {
        ConfigSource::texts(vec![text.to_owned()]).load().unwrap().section("tasks")
    }

    #[test]
    fn the_committed_defaults_are_complete_and_valid() {
        let settings = settings("").unwrap();
        assert_eq!(settings.concurrency_of("any"), 16);
        assert_eq!(settings.heartbeat(), Duration::from_secs(5));
    }

    #[test]
    fn a_queue_may_differ() {
        let settings = settings("[tasks.queues]\nmailings = 3\n").unwrap();
        assert_eq!(settings.concurrency_of("mailings"), 3);
        assert_eq!(settings.concurrency_of("others"), 16);
    }

    #[test]
    fn pauses_double_up_to_the_maximum() {
        let settings = settings("[tasks]\nbackoff_base_ms = 100\nbackoff_max_ms = 1000\n").unwrap();
        let pauses: Vec<u128> =
            [0, 1, 2, 3, 4, 5, 60, i16::MAX].map(|n| settings.backoff(n).as_millis()).to_vec();
        assert_eq!(pauses, [100, 100, 200, 400, 800, 1000, 1000, 1000]);
    }

    #[test]
    fn values_out_of_range_are_all_told() {
        let text = "[tasks]\nthreads = 0\nconcurrency = 0\nqueues = { a = 0 }\nlease_ms = 1\n\
             poll_ms = 1\nbackoff_base_ms = 5000\nbackoff_max_ms = 1\nstop_ms = 999999\n\
             dead_retention_hours = 0\n";
        let keys: Vec<String> = settings(text).unwrap_err().into_iter().map(|f| f.key).collect();
        let all = ["threads", "concurrency", "queues.a", "lease_ms", "poll_ms", "backoff_max_ms"];
        let all = all.into_iter().chain(["stop_ms", "dead_retention_hours"]);
        assert_eq!(keys, all.map(|key| format!("tasks.{key}")).collect::<Vec<_>>());
    }
}
