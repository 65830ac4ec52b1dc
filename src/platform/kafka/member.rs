//! A member of the group: which partitions are its own, and which of their messages are handled.
//!
//! librdkafka calls back on the thread that polls, so the lock of [`Work`] is never waited for. It must
//! not be held while polling.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList, TopicPartitionListElem};
use rdkafka::types::RDKafkaErrorCode;

use super::batch::{Batch, Next, Record};
use super::health::{AUTHENTICATION, Report, Statistics};
use super::running::{InFlight, Progress, Runner};

/// How long a partition that is to be given up waits for the batch under way.
const BEFORE_REVOKING: Duration = Duration::from_secs(1);

/// The state of the member, and what librdkafka calls.
pub(super) struct Member {
    topic: String,
    pub runner: Runner,
    work: Mutex<Work>,
    report: Mutex<Option<Report>>,
}

/// Messages on their way.
#[derive(Default)]
pub(super) struct Work {
    /// Our partitions, and the number of the assignment that brought each.
    owned: HashMap<i32, u64>,
    assignments: u64,
    pub gathered: Batch,
    pub gathered_since: Option<Instant>,
    pub in_flight: Option<InFlight>,
    /// Where each of our partitions is to be read on, by what was handled.
    handled: BTreeMap<i32, Next>,
    /// What the group knows of that, by the last statistics.
    committed: HashMap<i32, i64>,
    /// What it is to know when commits are verified next.
    expected: HashMap<i32, i64>,
    pub paused: bool,
}

impl Member {
    pub fn new(topic: String, runner: Runner) -> Self {
        Self { topic, runner, work: Mutex::default(), report: Mutex::default() }
    }

    pub fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the statistics said last.
    pub fn report(&self) -> Option<Report> {
        *self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gathers a message, if its partition is (still) ours.
    pub fn gather(&self, record: Record<'_>) {
        let mut work = self.work();
        let Some(ownership) = work.owned.get(&record.partition).copied() else { return };
        work.gathered.push(record, ownership);
        work.gathered_since.get_or_insert_with(Instant::now);
    }

    /// Waits for the batch under way as long as `patience`; when it is handled, commits its offsets.
    /// Says whether nothing is under way now.
    pub fn settle(&self, consumer: &BaseConsumer<Self>, patience: Duration) -> bool {
        let mut work = self.work();
        let Some(in_flight) = &work.in_flight else { return true };
        match in_flight.progress(patience) {
            Progress::UnderWay => false,
            Progress::Panicked => {
                let again = self.runner.start_again(in_flight);
                work.in_flight = Some(again);
                false
            }
            Progress::Handled => {
                let next: Vec<(i32, Next)> = in_flight.batch.next().collect();
                work.in_flight = None;
                let ours = next.into_iter().filter(|(partition, next)| {
                    // Given up meanwhile: whoever has it now says how far it is.
                    work.owned.get(partition) == Some(&next.ownership)
                });
                let ours: Vec<(i32, Next)> = ours.collect();
                work.handled.extend(ours.iter().copied());
                self.commit(consumer, &ours, CommitMode::Async, "first");
                true
            }
        }
    }

    /// Our partitions, and where each is to be read on where something of it was handled.
    pub fn positions(&self) -> Vec<(i32, Option<i64>)> {
        let work = self.work();
        let handled = |partition| work.handled.get(partition).map(|next| next.offset);
        work.owned.keys().map(|partition| (*partition, handled(partition))).collect()
    }

    /// Commits again what the group should know since the last call and does not: librdkafka tells of
    /// no commit how it ended, and one that meets a rebalance is refused.
    pub fn verify_commits(&self, consumer: &BaseConsumer<Self>) {
        let mut work = self.work();
        let known = |partition| work.committed.get(partition).copied().unwrap_or(-1);
        let behind: Vec<(i32, Next)> = work
            .handled
            .iter()
            .filter(|(partition, _)| {
                work.expected.get(partition).is_some_and(|expected| known(partition) < *expected)
            })
            .map(|(partition, next)| (*partition, *next))
            .collect();
        work.expected = work.handled.iter().map(|(p, next)| (*p, next.offset)).collect();
        if !behind.is_empty() {
            tracing::debug!(partitions = behind.len(), "Kafka: offsets are committed again");
            self.commit(consumer, &behind, CommitMode::Async, "again");
        }
    }

    /// Commits all that was handled and waits for the answer, as long as librdkafka does.
    pub fn commit_all(&self, consumer: &BaseConsumer<Self>) {
        let all: Vec<(i32, Next)> =
            self.work().handled.iter().map(|(partition, next)| (*partition, *next)).collect();
        self.commit(consumer, &all, CommitMode::Sync, "last");
    }

    fn commit(
        &self,
        consumer: &BaseConsumer<Self>,
        next: &[(i32, Next)],
        mode: CommitMode,
        kind: &str,
    ) {
        let mut offsets = TopicPartitionList::with_capacity(next.len());
        for (partition, next) in next {
            let offset = Offset::Offset(next.offset);
            if let Err(error) = offsets.add_partition_offset(&self.topic, *partition, offset) {
                tracing::error!(%error, "an offset cannot be committed");
            }
        }
        if offsets.count() == 0 {
            return;
        }
        self.runner.metrics.commit(kind);
        if let Err(error) = consumer.commit(&offsets, mode) {
            tracing::warn!(%error, "offsets could not be committed");
        }
    }

    fn assigned(&self, consumer: &BaseConsumer<Self>, partitions: &TopicPartitionList) {
        let mut work = self.work();
        work.assignments += 1;
        let assignment = work.assignments;
        for partition in partition_numbers(partitions) {
            work.owned.insert(partition, assignment);
        }
        if work.paused
            && let Err(error) = consumer.pause(partitions)
        {
            tracing::warn!(%error, "new partitions could not be paused");
        }
        let all = work.owned.len();
        self.runner.metrics.partitions.set(i64::try_from(all).unwrap_or(i64::MAX));
        self.runner.metrics.rebalance("assigned");
        if all > 0 {
            self.runner.health.state().refused = None;
        }
        self.note_connected(true);
        tracing::info!(new = partitions.count(), all, "Kafka: partitions were assigned");
    }

    fn revoked(&self, consumer: &BaseConsumer<Self>, partitions: &TopicPartitionList) {
        let lost = consumer.assignment_lost();
        let gone: Vec<i32> = partition_numbers(partitions);
        let awaited = self.work().in_flight.as_ref().is_some_and(|in_flight| {
            in_flight.batch.next().any(|(partition, _)| gone.contains(&partition))
        });
        // So that whoever gets them need not handle the batch a second time; if it takes longer, that
        // does no harm.
        if awaited && !lost {
            self.settle(consumer, BEFORE_REVOKING);
        }
        let mut work = self.work();
        for partition in gone {
            work.owned.remove(&partition);
            work.handled.remove(&partition);
            work.expected.remove(&partition);
            work.gathered.forget(partition);
        }
        if work.gathered.is_empty() {
            work.gathered = Batch::default();
            work.gathered_since = None;
        }
        let left = work.owned.len();
        self.runner.metrics.partitions.set(i64::try_from(left).unwrap_or(i64::MAX));
        self.runner.metrics.rebalance(if lost { "lost" } else { "revoked" });
        tracing::info!(gone = partitions.count(), left, lost, "Kafka: partitions were revoked");
    }
}

fn partition_numbers(partitions: &TopicPartitionList) -> Vec<i32> {
    partitions.elements().iter().map(TopicPartitionListElem::partition).collect()
}

impl ClientContext for Member {
    /// librdkafka's own lines never hold what messages say.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(facility, line, "librdkafka");
            }
            // It writes one for each failed attempt to connect: what lasts is told by `error`.
            _ => tracing::debug!(facility, line, "librdkafka"),
        }
    }

    fn stats_raw(&self, statistics: &[u8]) {
        let Ok(statistics) = serde_json::from_slice::<Statistics>(statistics) else { return };
        let mut work = self.work();
        let report = statistics.report(|partition| work.owned.contains_key(&partition));
        work.committed = statistics.committed();
        // They learn where partitions end only by fetching.
        if !work.paused {
            self.runner.metrics.lag.set(report.lag);
        }
        drop(work);
        // Before the first attempt has ended it is neither.
        if report.connected || self.runner.health.state().connected == Some(true) {
            self.note_connected(report.connected);
        }
        *self.report.lock().unwrap_or_else(PoisonError::into_inner) = Some(report);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.runner.metrics.errors.inc();
        let refused = match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AllBrokersDown) => return self.note_connected(false),
            Some(
                RDKafkaErrorCode::Authentication
                | RDKafkaErrorCode::SaslAuthenticationFailed
                | RDKafkaErrorCode::SSL,
            ) => AUTHENTICATION,
            Some(
                RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownPartition,
            ) => "topic_unknown",
            Some(
                RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::GroupAuthorizationFailed
                | RDKafkaErrorCode::ClusterAuthorizationFailed,
            ) => "not_authorized",
            _ => return tracing::debug!(%error, reason, "Kafka: trouble"),
        };
        let known = self.runner.health.state().refused.replace(refused) == Some(refused);
        if !known {
            tracing::warn!(%error, reason, "Kafka refuses us");
        }
    }
}

impl Member {
    /// Notes it, and logs when it changes.
    fn note_connected(&self, connected: bool) {
        self.runner.metrics.connected.set(i64::from(connected));
        let mut state = self.runner.health.state();
        let before = state.connected.replace(connected);
        // Whoever is let in is believed.
        if connected && state.refused == Some(AUTHENTICATION) {
            state.refused = None;
        }
        drop(state);
        match (before, connected) {
            (Some(true) | None, false) => tracing::warn!("Kafka: no broker answers"),
            (Some(false) | None, true) => tracing::info!("Kafka: connected"),
            _ => {}
        }
    }
}

impl ConsumerContext for Member {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(partitions) = rebalance {
            self.revoked(consumer, partitions);
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(partitions) = rebalance {
            self.assigned(consumer, partitions);
        }
    }
}
