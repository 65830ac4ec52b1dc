//! Kafka: a consumer of one topic in a group (docs/decisions/kafka.md).
//!
//! A thread of its own polls and gathers batches; the handler runs on the process's long-lived
//! runtime. Offsets are committed only after the handler succeeded; until then the same batch is
//! handled again, and nothing more is fetched. So what the handler has done is never behind what the
//! group believes, and messages may come twice.

mod batch;
mod client;
mod group;
mod health;
mod member;
mod metrics;
mod poll;
mod running;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rdkafka::ClientConfig;
use tokio::runtime::Handle;

pub use self::batch::{Batch, Record};
use self::health::Health;
use self::member::Member;
use self::metrics::KafkaMetrics;
use self::poll::{End, Poller};
pub use self::running::BatchHandler;
use self::running::Runner;
use super::config::kafka::KafkaSettings;
use super::error::{Error, Kind, Result};
use super::readiness::ReadinessRow;
use super::shutdown::{self, Shutdown};
use super::telemetry::metrics::Metrics;

/// Pause before a consumer is made anew.
const BEFORE_ANOTHER: Duration = Duration::from_secs(1);
/// How many times `stall_ms` the patience with consumers that read nothing may grow to.
const LONGEST_STALL: u32 = 8;

/// A running consumer. Dropping it, or [`Consumer::stop`], ends it.
pub struct Consumer {
    health: Arc<Health>,
    stop: Arc<AtomicBool>,
    ended: Shutdown,
}

/// What the thread makes consumers of.
struct Maker {
    config: ClientConfig,
    settings: KafkaSettings,
    handler: Arc<dyn BatchHandler>,
    runtime: Handle,
    metrics: KafkaMetrics,
    health: Arc<Health>,
    stop: Arc<AtomicBool>,
}

impl Consumer {
    /// Begins to consume. `runtime` must live as long as the process: handlers run on it. Whether the
    /// brokers can be reached makes no difference.
    ///
    /// # Errors
    /// `invalid_configuration`: librdkafka does not take the settings; no thread can be made.
    pub fn start(
        settings: KafkaSettings,
        metrics: &Metrics,
        runtime: Handle,
        handler: Arc<dyn BatchHandler>,
    ) -> Result<Self> {
        let (health, stop) = (Arc::<Health>::default(), Arc::<AtomicBool>::default());
        let maker = Maker {
            config: client::member(&settings),
            settings,
            handler,
            runtime,
            metrics: KafkaMetrics::register(metrics),
            health: Arc::clone(&health),
            stop: Arc::clone(&stop),
        };
        let first = maker.make(maker.settings.stall()).map_err(|error| {
            let detail = "The configuration is not valid.";
            Error::new(Kind::Internal, "invalid_configuration", detail).with_source(error)
        })?;
        let (trigger, ended) = shutdown::channel();
        let run = move || {
            maker.run(first);
            trigger.fire();
        };
        thread::Builder::new().name("kafka".into()).spawn(run).map_err(Error::internal)?;
        Ok(Self { health, stop, ended })
    }

    /// How it is.
    #[must_use]
    pub fn row(&self) -> ReadinessRow {
        self.health.row()
    }

    /// Takes no more messages; finishes the batch under way within `stop_ms` and leaves the group.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    /// Ends when it has stopped.
    pub async fn ended(&self) {
        self.ended.wait().await;
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Maker {
    fn make(&self, stall: Duration) -> Result<Poller, rdkafka::error::KafkaError> {
        let runner = Runner {
            handler: Arc::clone(&self.handler),
            runtime: self.runtime.clone(),
            metrics: self.metrics.clone(),
            health: Arc::clone(&self.health),
        };
        let member = Member::new(self.settings.topic.clone(), runner);
        Poller::join(&self.config, self.settings.clone(), member, Arc::clone(&self.stop), stall)
    }

    /// Consumes until it is told to stop; a consumer that has become unfit is followed by another.
    fn run(&self, first: Poller) {
        let (mut poller, mut stall) = (Some(first), self.settings.stall());
        while !self.stop.load(Ordering::Acquire) {
            let Some(mut current) = poller.take().or_else(|| self.make_another(stall)) else {
                thread::park_timeout(BEFORE_ANOTHER);
                continue;
            };
            let end = catch_unwind(AssertUnwindSafe(|| current.run()));
            match end.unwrap_or(End::Unfit("panicked")) {
                End::Stopped => drop(current),
                End::Unfit(reason) => {
                    self.metrics.recreated(reason);
                    stall = next_stall(self.settings.stall(), stall, current.has_read());
                    self.metrics.paused.set(0);
                    tracing::error!(reason, "Kafka: the consumer is made anew");
                    // It may take long to leave a group that does not answer.
                    let _ = thread::Builder::new()
                        .name("kafka-leaving".into())
                        .spawn(move || drop(current));
                    thread::park_timeout(BEFORE_ANOTHER);
                }
            }
        }
        self.metrics.connected.set(0);
        self.metrics.partitions.set(0);
        self.metrics.lag.set(0);
    }

    fn make_another(&self, stall: Duration) -> Option<Poller> {
        let made = self.make(stall);
        made.inspect_err(|error| tracing::error!(%error, "Kafka: no consumer can be made")).ok()
    }
}

/// How long the consumer after the `last` may stand still. One that was given up before it read anything may
/// have needed longer to join the group: the next is given more, or none would ever get there.
fn next_stall(usual: Duration, last: Duration, has_read: bool) -> Duration {
    if has_read { usual } else { (last * 2).min(usual * LONGEST_STALL) }
}

/// Asks the brokers for the topic; blocks as long as `patience`.
///
/// # Errors
/// What is wrong, in words.
pub fn look(settings: &KafkaSettings, patience: Duration) -> Result<(), String> {
    client::look(settings, patience)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consumer_after_one_that_read_nothing_has_twice_its_time_up_to_a_limit() {
        let usual = Duration::from_secs(30);
        let mut stall = usual;
        for expected in [60, 120, 240, 240] {
            stall = next_stall(usual, stall, false);
            assert_eq!(stall.as_secs(), expected);
        }
        assert_eq!(next_stall(usual, stall, true), usual);
    }
}
