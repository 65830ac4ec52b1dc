//! The thread that polls: it gathers batches, hands them over one at a time, and keeps the member in
//! the group whatever becomes of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::types::RDKafkaErrorCode;

use super::batch::Record;
use super::group;
use super::member::Member;
use crate::platform::config::kafka::KafkaSettings;

/// Longest wait for a message, and so for noticing that the process stops.
const IDLE: Duration = Duration::from_millis(100);
/// The same while a batch is under way: its end is noticed within this.
const UNDER_WAY: Duration = Duration::from_millis(5);
/// A full batch waits so long for the one under way before fetching is paused. What was fetched ahead
/// is thrown away by a pause, so a handler that is merely busy does not cause one.
const BEFORE_PAUSING: Duration = Duration::from_millis(500);
/// How often the state of things is looked at.
const CHECK: Duration = Duration::from_secs(1);
/// How often the lag is asked for while nothing is fetched, and how long for each answer.
const LAG: Duration = Duration::from_secs(5);
const LAG_ANSWER: Duration = Duration::from_millis(500);
/// The same for each of two questions about the group.
const GROUP_ANSWER: Duration = Duration::from_millis(500);
/// How often commits are verified: longer than one takes, and than statistics are old.
const VERIFY: Duration = Duration::from_secs(3);

/// Why a consumer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It was told to.
    Stopped,
    /// It has to be made anew, for this reason.
    Unfit(&'static str),
}

/// A consumer and where its loop is.
pub(super) struct Poller {
    consumer: BaseConsumer<Member>,
    member: Arc<Member>,
    settings: KafkaSettings,
    stop: Arc<AtomicBool>,
    /// How long it may stand still, though there is something to read.
    stall: Duration,
    has_read: bool,
    /// When it last got on, or had no need to.
    got_on: Instant,
    /// When it last had partitions, or others had them all.
    served: Instant,
    checked: Instant,
    verified: Instant,
    lag_measured: Instant,
}

impl Poller {
    /// Joins the group.
    ///
    /// # Errors
    /// librdkafka does not take the settings.
    pub fn join(
        config: &ClientConfig,
        settings: KafkaSettings,
        member: Member,
        stop: Arc<AtomicBool>,
        stall: Duration,
    ) -> Result<Self, KafkaError> {
        let consumer: BaseConsumer<Member> = config.create_with_context(member)?;
        consumer.subscribe(&[&settings.topic])?;
        let member = Arc::clone(consumer.context());
        let now = Instant::now();
        Ok(Self {
            consumer,
            member,
            settings,
            stop,
            stall,
            has_read: false,
            got_on: now,
            served: now,
            checked: now,
            verified: now,
            lag_measured: now,
        })
    }

    /// Whether it has read anything at all.
    pub fn has_read(&self) -> bool {
        self.has_read
    }

    /// Polls until it is told to stop, or the consumer is unfit.
    pub fn run(&mut self) -> End {
        loop {
            if self.stop.load(Ordering::Acquire) {
                self.finish();
                return End::Stopped;
            }
            self.member.settle(&self.consumer, Duration::ZERO);
            self.hand_over();
            if let Some(end) = self.poll_once() {
                return end;
            }
            if self.checked.elapsed() >= CHECK
                && let Some(end) = self.check()
            {
                return end;
            }
        }
    }

    /// Hands the gathered batch over, if it is due and nothing is under way.
    fn hand_over(&self) {
        let mut work = self.member.work();
        if work.in_flight.is_some() {
            return;
        }
        let full = work.gathered.is_full(self.settings.batch_messages);
        let waited =
            work.gathered_since.is_some_and(|at| at.elapsed() >= self.settings.batch_linger());
        if full || waited {
            let batch = std::mem::take(&mut work.gathered);
            work.gathered_since = None;
            work.in_flight = Some(self.member.runner.start(batch));
            if work.paused {
                drop(work);
                self.set_paused(false);
            }
        }
    }

    /// Takes one message or event, or waits where there is no room for more.
    fn poll_once(&mut self) -> Option<End> {
        let (full, under_way, paused) = {
            let work = self.member.work();
            let full = work.gathered.is_full(self.settings.batch_messages);
            let under_way = work.in_flight.as_ref().map(|in_flight| in_flight.since.elapsed());
            (full, under_way, work.paused)
        };
        if full && !paused {
            if under_way.is_some_and(|since| since < BEFORE_PAUSING) {
                self.member.settle(&self.consumer, UNDER_WAY);
                return None;
            }
            self.set_paused(true);
        }
        let wait = match under_way {
            Some(_) if !paused => UNDER_WAY,
            Some(_) => UNDER_WAY * 4,
            None => self.until_due(),
        };
        match self.consumer.poll(wait) {
            None => None,
            Some(Ok(message)) => {
                let (partition, offset) = (message.partition(), message.offset());
                let value = message.payload().unwrap_or_default();
                self.member.gather(Record { partition, offset, value });
                self.got_on = Instant::now();
                self.has_read = true;
                None
            }
            Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
                tracing::error!(%code, "Kafka: the consumer has failed for good");
                Some(End::Unfit("fatal"))
            }
            Some(Err(error)) => (error.rdkafka_error_code()
                == Some(RDKafkaErrorCode::PollExceeded))
            .then_some(End::Unfit("poll_interval")),
        }
    }

    fn until_due(&self) -> Duration {
        let since = self.member.work().gathered_since;
        let left = since.map(|at| self.settings.batch_linger().saturating_sub(at.elapsed()));
        left.map_or(IDLE, |left| left.clamp(Duration::from_millis(1), IDLE))
    }

    /// Stops or resumes fetching. Polling goes on: it is what keeps us in the group.
    fn set_paused(&self, paused: bool) {
        let ours = self.consumer.assignment();
        let done = ours.and_then(|ours| {
            if paused { self.consumer.pause(&ours) } else { self.consumer.resume(&ours) }
        });
        if let Err(error) = done {
            tracing::warn!(%error, paused, "Kafka: fetching could not be paused or resumed");
        }
        self.member.work().paused = paused;
        self.member.runner.metrics.paused.set(i64::from(paused));
    }

    /// Looks whether it gets on. A consumer that the group has dropped may say nothing of it.
    fn check(&mut self) -> Option<End> {
        self.checked = Instant::now();
        if self.verified.elapsed() >= VERIFY {
            self.verified = Instant::now();
            self.member.verify_commits(&self.consumer);
        }
        self.measure_lag_while_paused();
        let holds_back = self.member.work().in_flight.is_some();
        let fine = self.member.report().is_some_and(|report| {
            report.at.elapsed() < CHECK * 5
                && (!report.connected || report.joined && !report.more_to_read)
        });
        if holds_back || fine {
            self.got_on = Instant::now();
        }
        let stalled = self.got_on.elapsed() > self.stall || self.is_left_out();
        stalled.then_some(End::Unfit("stalled"))
    }

    /// Whether it has stood still for long without a partition, though the group leaves some unread. So it
    /// is after a group was formed while the brokers did not know the topic (it was made anew, say, or
    /// they lost it): librdkafka does not look again when the topic comes back as it was.
    fn is_left_out(&mut self) -> bool {
        let joined = self.member.report().is_some_and(|report| report.connected && report.joined);
        if !joined || !self.member.positions().is_empty() {
            self.served = Instant::now();
        }
        // A partition changes hands in two rounds of the group, and is nobody's between them.
        let rounds = Duration::from_millis(self.settings.session_timeout_ms) * 2;
        if self.served.elapsed() <= self.settings.stall().max(rounds) {
            return false;
        }
        self.served = Instant::now();
        group::leaves_partitions(&self.consumer, &self.settings, GROUP_ANSWER) == Some(true)
    }

    /// While nothing is fetched, only asking tells how far behind we are. It blocks, a little: there is
    /// nothing else to do.
    fn measure_lag_while_paused(&mut self) {
        if !self.member.work().paused || self.lag_measured.elapsed() < LAG {
            return;
        }
        self.lag_measured = Instant::now();
        let mut lag = 0_i64;
        for (partition, position) in self.member.positions() {
            let topic = &self.settings.topic;
            let Ok((low, high)) = self.consumer.fetch_watermarks(topic, partition, LAG_ANSWER)
            else {
                return;
            };
            lag = lag.saturating_add(high.saturating_sub(position.unwrap_or(low)).max(0));
        }
        self.member.runner.metrics.lag.set(lag);
    }

    /// Takes no more, waits for the batch under way, and leaves the group when this is dropped.
    fn finish(&self) {
        self.set_paused(true);
        let deadline = Instant::now() + self.settings.stop();
        while !self.member.settle(&self.consumer, UNDER_WAY) && Instant::now() < deadline {
            self.consumer.poll(Duration::ZERO);
        }
        if self.member.work().in_flight.take().is_some() {
            self.member.runner.metrics.batch("abandoned");
            tracing::warn!("a batch was not handled in time; whoever reads on handles it again");
        }
        // Without a broker it would only hold the process up.
        if self.member.report().is_none_or(|report| report.connected) {
            self.member.commit_all(&self.consumer);
        }
    }
}
