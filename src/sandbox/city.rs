//! A city of drivers who come on line, get busy, get free and go off line: their events, into Kafka.
//!
//! The drivers are the first of `world`, so the other stand-ins know their licences, categories and
//! positions. The same seed brings the same drivers to do the same things in the same order.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use serde::Serialize;

use super::parks::drivers::mix;
use super::world::SandboxDriver;

/// How long what was produced may take to arrive.
const FLUSH: Duration = Duration::from_mins(1);
/// The producer's own queue is full: it is tried again after this.
const FULL: Duration = Duration::from_millis(5);
/// Events are produced so often.
const TICK: Duration = Duration::from_millis(50);

/// How a city lives.
#[derive(Debug, Clone, clap::Args)]
pub struct CityOptions {
    /// Events of drivers who go on line, get busy and go off line, a second, into Kafka; 0: none.
    #[arg(long, default_value_t = 5.0, value_name = "NUMBER")]
    pub events_per_second: f64,
    /// So many drivers do.
    #[arg(long, default_value_t = 400, value_name = "NUMBER")]
    pub city_drivers: usize,
    /// What they do depends on this number only.
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    pub seed: u64,
}

/// Nothing happens.
impl Default for CityOptions {
    fn default() -> Self {
        Self { events_per_second: 0.0, city_drivers: 400, seed: 1 }
    }
}

impl CityOptions {
    pub(super) fn is_alive(&self) -> bool {
        self.events_per_second > 0.0
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Offline,
    Online,
    Busy,
}

/// An event, as it is the value of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DriverEvent {
    /// The driver's park.
    pub park_id: String,
    /// His id in it.
    pub driver_id: String,
    status: Status,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// Names the event.
    pub event_id: String,
}

impl DriverEvent {
    /// The key of its message.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}_{}", self.park_id, self.driver_id)
    }

    /// The value of its message.
    ///
    /// # Errors
    /// Never: it is plain text and times.
    pub fn value(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(self)
    }
}

/// The drivers and what each does.
pub struct City {
    statuses: Vec<Status>,
    seed: u64,
    events: u64,
}

impl City {
    /// The first so many drivers of the stand-ins, all off line.
    #[must_use]
    pub fn new(drivers: usize, seed: u64) -> Self {
        Self { statuses: vec![Status::Offline; drivers.max(1)], seed, events: 0 }
    }

    /// Lets the next driver do something.
    pub fn next_event(&mut self, occurred_at: Timestamp) -> DriverEvent {
        let dice = mix(self.seed ^ mix(self.events));
        let index = dice % self.statuses.len() as u64;
        let place = usize::try_from(index).ok().and_then(|index| self.statuses.get_mut(index));
        let status = match place {
            Some(status) => {
                *status = after(*status, mix(dice) % 10);
                *status
            }
            None => Status::Offline,
        };
        let SandboxDriver { park_id, driver_id, .. } = SandboxDriver::of(index);
        let (seed, number) = (self.seed, self.events);
        let event_id = format!("{seed:x}-{:x}-{number:x}", occurred_at.as_microsecond());
        self.events += 1;
        DriverEvent { park_id, driver_id, status, occurred_at, event_id }
    }
}

fn after(status: Status, dice: u64) -> Status {
    match (status, dice) {
        (Status::Offline, _) | (Status::Busy, 0..8) => Status::Online,
        (Status::Online, 0..6) => Status::Busy,
        (Status::Online | Status::Busy, _) => Status::Offline,
    }
}

type Events = ThreadedProducer<DefaultProducerContext>;

fn producer(brokers: &str) -> Result<Events, KafkaError> {
    ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("linger.ms", "20")
        .set("queue.buffering.max.messages", "200000")
        .create()
}

fn send(producer: &Events, topic: &str, event: &DriverEvent) -> anyhow::Result<()> {
    let (key, value) = (event.key(), event.value()?);
    let mut record = BaseRecord::to(topic).key(&key).payload(&value);
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                record = back;
                thread::park_timeout(FULL);
            }
            Err((error, _)) => return Err(error.into()),
        }
    }
}

/// Fills a topic with so many events of a city, as fast as it goes: they happened a millisecond after
/// each other, the last of them now.
///
/// # Errors
/// The brokers do not take them.
pub fn fill_topic(brokers: &str, topic: &str, city: &mut City, events: u32) -> anyhow::Result<()> {
    let producer = producer(brokers)?;
    let first = Timestamp::now() - SignedDuration::from_millis(events.into());
    for number in 0..events {
        let occurred_at = first + SignedDuration::from_millis(number.into());
        send(&producer, topic, &city.next_event(occurred_at))?;
    }
    producer.flush(FLUSH).context("the events did not arrive")?;
    Ok(())
}

/// A city that goes on until this value is dropped.
pub(super) struct Life {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Life {
    /// Lets it begin.
    pub(super) fn begin(
        brokers: &str,
        topic: &'static str,
        options: &CityOptions,
    ) -> anyhow::Result<Self> {
        let mut city = City::new(options.city_drivers, options.seed);
        let per_second = options.events_per_second;
        let producer = producer(brokers)?;
        let (stop, stopped) = mpsc::channel::<()>();
        let live = move || {
            let (started, mut sent) = (Instant::now(), 0.0);
            while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                let due = started.elapsed().as_secs_f64() * per_second;
                while sent + 1.0 <= due {
                    if let Err(error) = send(&producer, topic, &city.next_event(Timestamp::now())) {
                        tracing::warn!(%error, "a driver's event was lost");
                    }
                    sent += 1.0;
                }
            }
        };
        let thread = thread::Builder::new().name("city".into()).spawn(live)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn events(seed: u64, count: usize) -> Vec<DriverEvent> {
        let mut city = City::new(50, seed);
        (0..count).map(|_| city.next_event(Timestamp::UNIX_EPOCH)).collect()
    }

    #[test]
    fn a_seed_decides_what_happens() {
        assert_eq!(events(1, 500), events(1, 500));
        assert_ne!(events(1, 500), events(2, 500));
    }

    #[test]
    fn nobody_gets_busy_while_he_is_off_line() {
        let mut last: HashMap<String, Status> = HashMap::new();
        let all = events(7, 5_000);
        for event in &all {
            let before = last.insert(event.key(), event.status).unwrap_or(Status::Offline);
            assert_ne!(before, event.status);
            assert!(event.status != Status::Busy || before == Status::Online);
        }
        assert_eq!(last.len(), 50);
        for status in [Status::Offline, Status::Online, Status::Busy] {
            let count = all.iter().filter(|event| event.status == status).count();
            assert!(count > 500, "{status:?}: {count}");
        }
        let value: serde_json::Value = serde_json::from_slice(&all[0].value().unwrap()).unwrap();
        assert_eq!(
            (&value["status"], &value["occurred_at"]),
            (&"online".into(), &"1970-01-01T00:00:00Z".into())
        );
    }
}
