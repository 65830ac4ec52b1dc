//! The consumer by itself: what a handler sees, and what the group is told.

mod broker;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleet::platform::config::ConfigSource;
use fleet::platform::error::{Error, Result};
use fleet::platform::kafka::{Batch, BatchHandler, Consumer};
use fleet::platform::telemetry::metrics::Metrics;
use tokio::runtime::Runtime;
use tokio::sync::Notify;

use crate::support::eventually;
use crate::support::kafka::{Kafka, PARTITIONS, on_each_broker};

/// Remembers what it handled, and does as it is told.
#[derive(Default)]
struct Recorder {
    seen: Mutex<BTreeMap<(i32, i64), usize>>,
    attempts: AtomicUsize,
    fails: AtomicBool,
    panics: AtomicBool,
    holds: AtomicBool,
    released: Notify,
}

impl BatchHandler for Recorder {
    fn handle<'a>(
        &'a self,
        batch: &'a Batch,
    ) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>> {
        Box::pin(async move {
            self.attempts.fetch_add(1, Ordering::SeqCst);
            if self.holds.load(Ordering::SeqCst) {
                self.released.notified().await;
            }
            if self.fails.load(Ordering::SeqCst) {
                return Err(Error::unavailable("database_unavailable", "as it is told"));
            }
            assert!(!self.panics.swap(false, Ordering::SeqCst), "as it is told");
            let mut seen = self.seen.lock().unwrap();
            for record in batch.records() {
                assert_eq!(record.value, text(record.partition, record.offset).as_bytes());
                *seen.entry((record.partition, record.offset)).or_default() += 1;
            }
            Ok(())
        })
    }
}

impl Recorder {
    fn seen(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    fn most_often(&self) -> usize {
        self.seen.lock().unwrap().values().copied().max().unwrap_or(0)
    }

    fn attempts(&self) -> usize {
        self.attempts.load(Ordering::SeqCst)
    }
}

/// What stands at a place of the topic.
fn text(partition: i32, offset: i64) -> String {
    format!("{partition}/{offset}")
}

/// Writes `count` messages to each partition, from `first` on.
fn fill(kafka: &Kafka, first: i64, count: i64) {
    let texts: Vec<(i32, String)> = (0..PARTITIONS)
        .flat_map(|p| (first..first + count).map(move |offset| (p, text(p, offset))))
        .collect();
    kafka.send(texts.iter().map(|(partition, text)| (*partition, text.as_bytes())));
}

/// A consumer with a runtime and metrics of its own.
struct Reader {
    consumer: Consumer,
    recorder: Arc<Recorder>,
    metrics: Metrics,
    runtime: Option<Runtime>,
}

impl Reader {
    fn start(kafka: &Kafka, config: &str, recorder: Recorder) -> Self {
        let source = ConfigSource::texts(vec![kafka.config(), config.to_owned()]);
        let settings = source.load().unwrap().section("kafka").unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (metrics, recorder) = (Metrics::default(), Arc::new(recorder));
        let handler: Arc<dyn BatchHandler> = recorder.clone();
        let consumer =
            Consumer::start(settings, &metrics, runtime.handle().clone(), handler).unwrap();
        Self { consumer, recorder, metrics, runtime: Some(runtime) }
    }

    async fn stop(&self) {
        self.consumer.stop();
        self.consumer.ended().await;
    }

    fn metric(&self, series: &str) -> f64 {
        let text = self.metrics.render();
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().expect("a number"))
    }

    fn is(&self, series: &str, value: f64) -> bool {
        (self.metric(series) - value).abs() < 0.5
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

on_each_broker! {
    async fn every_message_is_handled_and_then_committed(kafka: Kafka) {
        fill(&kafka, 0, 500);
        let reader = Reader::start(&kafka, "", Recorder::default());
        eventually("all are handled", async || reader.recorder.seen() == 2_000).await;
        eventually("all are committed", async || kafka.committed_total() == 2_000).await;
        eventually("no lag", async || reader.is("kafka_consumer_lag", 0.0)).await;
        assert!(reader.consumer.row().is_ok(), "{:?}", reader.consumer.row());
        assert!(reader.is("kafka_connected", 1.0) && reader.is("kafka_partitions", 4.0));
        fill(&kafka, 500, 1);
        eventually("later ones too", async || kafka.committed_total() == 2_004).await;
        assert_eq!(reader.recorder.most_often(), 1, "nothing went wrong, so each came once");
        assert!(reader.is("kafka_messages_total", 2_004.0));
        reader.stop().await;
    }
}

on_each_broker! {
    /// While the handler fails nothing is committed, little is in memory, and we stay in the group.
    async fn what_cannot_be_handled_holds_back_and_loses_nothing(kafka: Kafka) {
        fill(&kafka, 0, 2_000);
        let recorder = Recorder { fails: true.into(), ..Recorder::default() };
        let reader = Reader::start(&kafka, "[kafka]\nbatch_messages = 100", recorder);
        eventually("fetching is paused", async || reader.is("kafka_paused", 1.0)).await;
        eventually("it is tried again", async || reader.recorder.attempts() > 3).await;
        let row = reader.consumer.row();
        assert_eq!(row.reason.as_deref(), Some("database_unavailable"));
        fill(&kafka, 2_000, 500);
        eventually("the lag grows", async || reader.is("kafka_consumer_lag", 10_000.0)).await;
        // Longer than max_poll_interval_ms allows a member that does not poll.
        tokio::time::sleep(Duration::from_secs(11)).await;
        assert_eq!(kafka.committed_total(), 0);
        assert_eq!(reader.recorder.seen(), 0);

        reader.recorder.fails.store(false, Ordering::SeqCst);
        eventually("all are handled", async || reader.recorder.seen() == 10_000).await;
        eventually("all are committed", async || kafka.committed_total() == 10_000).await;
        eventually("fetching goes on", async || reader.is("kafka_paused", 0.0)).await;
        assert!(reader.consumer.row().is_ok());
        let assigned = "kafka_rebalances_total{kind=\"assigned\"}";
        assert!(reader.is(assigned, 1.0), "it was never out: {}", reader.metric(assigned));
        assert_eq!(reader.recorder.most_often(), 1);
        reader.stop().await;
    }
}

on_each_broker! {
    async fn a_handler_that_panics_is_given_the_batch_again(kafka: Kafka) {
        fill(&kafka, 0, 10);
        let recorder = Recorder { panics: true.into(), ..Recorder::default() };
        let reader = Reader::start(&kafka, "", recorder);
        eventually("all are committed", async || kafka.committed_total() == 40).await;
        assert_eq!(reader.recorder.seen(), 40);
        assert!(reader.is("kafka_batches_total{outcome=\"panicked\"}", 1.0));
        assert!(reader.consumer.row().is_ok());
        reader.stop().await;
    }
}

on_each_broker! {
    async fn a_stop_finishes_the_batch_under_way(kafka: Kafka) {
        fill(&kafka, 0, 10);
        let recorder = Recorder { holds: true.into(), ..Recorder::default() };
        let reader = Reader::start(&kafka, "[kafka]\nbatch_linger_ms = 500\nstop_ms = 15000", recorder);
        eventually("a batch is under way", async || reader.recorder.attempts() == 1).await;
        reader.consumer.stop();
        tokio::time::sleep(Duration::from_millis(200)).await;
        reader.recorder.released.notify_one();
        reader.consumer.ended().await;
        let handled = i64::try_from(reader.recorder.seen()).unwrap();
        assert!(handled > 0);
        assert_eq!(kafka.committed_total(), handled, "what was handled is committed");
    }
}

on_each_broker! {
    async fn a_batch_that_does_not_finish_in_time_is_left_to_the_next(kafka: Kafka) {
        fill(&kafka, 0, 10);
        let recorder = Recorder { holds: true.into(), ..Recorder::default() };
        let reader = Reader::start(&kafka, "[kafka]\nstop_ms = 100", recorder);
        eventually("a batch is under way", async || reader.recorder.attempts() == 1).await;
        let bound = tokio::time::timeout(Duration::from_secs(10), reader.stop()).await;
        assert!(bound.is_ok(), "the stop is bounded");
        assert!(reader.is("kafka_batches_total{outcome=\"abandoned\"}", 1.0));
        assert_eq!((kafka.committed_total(), reader.recorder.seen()), (0, 0));

        let next = Reader::start(&kafka, "", Recorder::default());
        eventually("the next handles all", async || kafka.committed_total() == 40).await;
        assert_eq!(next.recorder.seen(), 40);
        next.stop().await;
    }
}

on_each_broker! {
    /// Two members, one of which joins and leaves while batches are under way.
    async fn members_share_and_hand_over(kafka: Kafka) {
        let small = "[kafka]\nbatch_messages = 20";
        fill(&kafka, 0, 500);
        let first = Reader::start(&kafka, small, Recorder::default());
        eventually("it begins", async || first.recorder.seen() > 0).await;
        let second = Reader::start(&kafka, small, Recorder::default());
        let mut written = 500;
        eventually("they share", async || second.metric("kafka_partitions") > 0.5).await;
        let shared = first.metric("kafka_partitions") + second.metric("kafka_partitions");
        assert!(shared < 4.5, "no partition is both's");
        fill(&kafka, written, 200);
        written += 200;
        eventually("the second works", async || second.recorder.seen() > 0).await;
        second.stop().await;
        fill(&kafka, written, 100);
        written += 100;
        let all = 4 * written;
        eventually("all are committed", async || kafka.committed_total() == all).await;
        let mut seen = first.recorder.seen.lock().unwrap().clone();
        seen.extend(second.recorder.seen.lock().unwrap().clone());
        assert_eq!(i64::try_from(seen.len()).unwrap(), all, "nothing is lost");
        assert!(first.is("kafka_partitions", 4.0), "the first has them all again");
        first.stop().await;
    }
}
