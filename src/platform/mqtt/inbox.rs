//! What comes in: who subscribed to what, and the messages that wait for them.
//!
//! The connection sorts messages into queues that take them without waiting. One that is full drops
//! them: all else would hold up the connection, and with it the answers to what is published. Each topic
//! has a bound of its own, so that a device that floods takes no room and little time from the others.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{mpsc, watch};

use super::metrics::{DropReason, MqttMetrics};
use super::wire::Incoming;

/// A message that came in.
#[derive(Debug, Clone)]
pub struct Message(Arc<Incoming>);

impl Message {
    pub(super) fn of(incoming: Incoming) -> Self {
        Self(Arc::new(incoming))
    }

    /// Where it was published.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.0.topic
    }

    /// What it says; at most `max_payload_bytes`.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.0.payload
    }
}

/// One subscriber's end. When it is dropped, the broker is asked for no more.
pub struct Messages {
    waiting: mpsc::UnboundedReceiver<Message>,
    backlog: Arc<Backlog>,
    number: u64,
    inbox: Weak<Inbox>,
}

impl Messages {
    /// The next message; `None` when the connection was closed for good. May be dropped while it
    /// waits.
    pub async fn next(&mut self) -> Option<Message> {
        let message = self.waiting.recv().await?;
        self.backlog.gone(&message);
        Some(message)
    }

    /// The next message, if one waits.
    pub fn try_next(&mut self) -> Option<Message> {
        let message = self.waiting.try_recv().ok()?;
        self.backlog.gone(&message);
        Some(message)
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        if let Some(inbox) = self.inbox.upgrade() {
            inbox.remove(self.number);
        }
        while self.try_next().is_some() {}
    }
}

/// How much waits for one subscriber, and may.
struct Backlog {
    messages: AtomicUsize,
    bytes: AtomicUsize,
    /// Messages by topic; of those that have any.
    topics: Mutex<HashMap<Box<str>, usize>>,
    limits: Limits,
    metrics: MqttMetrics,
}

/// Bounds of what is taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub waiting: usize,
    pub waiting_of_topic: usize,
    pub waiting_bytes: usize,
}

impl Backlog {
    /// Why a message is dropped, if it is. Only the connection adds, so that what is read here can but
    /// shrink meanwhile.
    fn refuses(&self, message: &Message) -> Option<DropReason> {
        let bytes = self.bytes.load(Ordering::Relaxed).saturating_add(message.payload().len());
        let is_full = self.messages.load(Ordering::Relaxed) >= self.limits.waiting
            || bytes > self.limits.waiting_bytes;
        let of_topic = self.topics().get(message.topic()).copied().unwrap_or(0);
        match (is_full, of_topic >= self.limits.waiting_of_topic) {
            (_, true) => Some(DropReason::TopicFull),
            (true, false) => Some(DropReason::Full),
            (false, false) => None,
        }
    }

    fn come(&self, message: &Message) {
        self.messages.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(message.payload().len(), Ordering::Relaxed);
        *self.topics().entry(message.topic().into()).or_default() += 1;
        self.metrics.waiting.inc();
    }

    fn gone(&self, message: &Message) {
        self.messages.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(message.payload().len(), Ordering::Relaxed);
        let mut topics = self.topics();
        if let Some(waiting) = topics.get_mut(message.topic()) {
            *waiting -= 1;
            if *waiting == 0 {
                topics.remove(message.topic());
            }
        }
        drop(topics);
        self.metrics.waiting.dec();
    }

    fn topics(&self) -> MutexGuard<'_, HashMap<Box<str>, usize>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Subscriber {
    number: u64,
    filter: Arc<str>,
    queue: mpsc::UnboundedSender<Message>,
    backlog: Arc<Backlog>,
}

#[derive(Default)]
struct Subscribers {
    all: Vec<Subscriber>,
    next_number: u64,
    closed: bool,
}

/// All subscribers of a connection.
pub(super) struct Inbox {
    subscribers: Mutex<Subscribers>,
    limits: Limits,
    metrics: MqttMetrics,
    /// Changes with the filters.
    changed: watch::Sender<()>,
}

impl Inbox {
    pub fn new(limits: Limits, metrics: MqttMetrics) -> Arc<Self> {
        let (subscribers, changed) = (Mutex::default(), watch::Sender::new(()));
        Arc::new(Self { subscribers, limits, metrics, changed })
    }

    /// A reader of what comes in under `filter`, which must be one.
    pub fn subscribe(self: &Arc<Self>, filter: &str) -> Messages {
        let (queue, waiting) = mpsc::unbounded_channel();
        let backlog = Arc::new(Backlog {
            messages: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            topics: Mutex::default(),
            limits: self.limits,
            metrics: self.metrics.clone(),
        });
        let mut subscribers = self.lock();
        subscribers.next_number += 1;
        let number = subscribers.next_number;
        if !subscribers.closed {
            let (filter, backlog) = (Arc::from(filter), Arc::clone(&backlog));
            subscribers.all.push(Subscriber { number, filter, queue, backlog });
        }
        drop(subscribers);
        self.changed.send_replace(());
        Messages { waiting, backlog, number, inbox: Arc::downgrade(self) }
    }

    fn remove(&self, number: u64) {
        self.lock().all.retain(|subscriber| subscriber.number != number);
        self.changed.send_replace(());
    }

    /// The filters that somebody reads, each once.
    pub fn filters(&self) -> Vec<Arc<str>> {
        let mut filters: Vec<Arc<str>> =
            self.lock().all.iter().map(|subscriber| Arc::clone(&subscriber.filter)).collect();
        filters.sort_unstable();
        filters.dedup();
        filters
    }

    /// Tells when [`Inbox::filters`] may have changed.
    pub fn changed(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Ends every reader's stream behind what waits in it.
    pub fn close(&self) {
        let mut subscribers = self.lock();
        subscribers.closed = true;
        subscribers.all.clear();
    }

    /// Hands a message to its readers, without waiting for them.
    pub fn take(&self, message: &Message) {
        self.metrics.received.inc();
        let subscribers = self.lock();
        for subscriber in subscribers.all.iter().filter(|it| matches(&it.filter, message.topic())) {
            if let Some(reason) = subscriber.backlog.refuses(message) {
                self.metrics.drop_one(reason);
                continue;
            }
            subscriber.backlog.come(message);
            if subscriber.queue.send(message.clone()).is_err() {
                subscriber.backlog.gone(message);
            }
        }
    }

    /// A message came that cannot be handed on.
    pub fn passed_over(&self, reason: DropReason) {
        self.metrics.received.inc();
        self.metrics.drop_one(reason);
    }

    fn lock(&self) -> MutexGuard<'_, Subscribers> {
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a text is a topic filter: `+` and `#` stand for whole levels, `#` at the end only.
pub(super) fn is_filter(text: &str) -> bool {
    let levels: Vec<&str> = text.split('/').collect();
    let last = levels.len() - 1;
    let well_placed = |(at, level): (usize, &&str)| match *level {
        "+" => true,
        "#" => at == last,
        level => !level.contains(['+', '#']),
    };
    is_short_text(text) && levels.iter().enumerate().all(well_placed)
}

/// Whether a text is a topic that can be published to.
pub(super) fn is_topic(text: &str) -> bool {
    is_short_text(text) && !text.contains(['+', '#'])
}

fn is_short_text(text: &str) -> bool {
    (1..=65_535).contains(&text.len()) && !text.contains('\0')
}

/// Whether a topic is one of a filter's. (MQTT 3.1.1, 4.7)
fn matches(filter: &str, topic: &str) -> bool {
    // System topics are not among those that a leading wildcard means.
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        match (wanted, levels.next()) {
            // It stands for the level above it too.
            ("#", _) => return true,
            (_, None) => return false,
            (wanted, Some(level)) if wanted != "+" && wanted != level => return false,
            _ => {}
        }
    }
    levels.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::telemetry::metrics::Metrics;

    #[test]
    fn filters_match_as_the_standard_says() {
        for (filter, topic, expected) in [
            ("a/b", "a/b", true),
            ("a/b", "a/b/c", false),
            ("a/+/c", "a/b/c", true),
            ("a/+/c", "a//c", true),
            ("a/+/c", "a/b/d", false),
            ("a/+", "a", false),
            ("a/+", "a/", true),
            ("+", "a/b", false),
            ("#", "a/b", true),
            ("a/#", "a", true),
            ("a/#", "a/b/c", true),
            ("a/#", "ab", false),
            ("#", "$SYS/x", false),
            ("+/x", "$SYS/x", false),
            ("$SYS/#", "$SYS/x", true),
            ("$devices/+/events", "$devices/d/events", true),
        ] {
            assert_eq!(matches(filter, topic), expected, "{filter} {topic}");
            assert!(is_filter(filter), "{filter}");
        }
        for wrong in ["", "a+", "a/#/b", "#a", "a/+b", "a\0"] {
            assert!(!is_filter(wrong), "{wrong:?}");
        }
        assert!(is_topic("a/b") && !is_topic("a/+") && !is_topic("a/#") && !is_topic(""));
    }

    fn inbox(waiting: usize, waiting_bytes: usize) -> (Arc<Inbox>, MqttMetrics) {
        let metrics = MqttMetrics::register(&Metrics::default());
        let limits = Limits { waiting, waiting_of_topic: 4, waiting_bytes };
        (Inbox::new(limits, metrics.clone()), metrics)
    }

    fn message(topic: &str, bytes: usize) -> Message {
        let (topic, payload) = (topic.to_owned(), vec![b'x'; bytes]);
        Message::of(Incoming { topic, payload, number: None })
    }

    #[tokio::test]
    async fn a_full_queue_drops_the_newest_and_has_room_again() {
        let (inbox, metrics) = inbox(3, 100);
        let mut messages = inbox.subscribe("a/#");
        for number in 0..5 {
            inbox.take(&message(&format!("a/{number}"), 10));
        }
        assert_eq!((metrics.dropped(DropReason::Full), metrics.waiting.get()), (2, 3));
        assert_eq!(messages.next().await.unwrap().topic(), "a/0");
        inbox.take(&message("a/5", 80));
        assert_eq!(metrics.waiting.get(), 3, "100 bytes are allowed");
        assert_eq!(messages.next().await.unwrap().topic(), "a/1");
        inbox.take(&message("a/6", 11));
        assert_eq!(metrics.dropped(DropReason::Full), 3, "101 bytes are not");
        for topic in ["a/2", "a/5"] {
            assert_eq!(messages.next().await.unwrap().topic(), topic);
        }
        inbox.close();
        assert!(messages.next().await.is_none());
        assert_eq!(metrics.waiting.get(), 0);
    }

    #[tokio::test]
    async fn a_topic_that_floods_leaves_room_for_the_others() {
        let (inbox, metrics) = inbox(10, 1000);
        let mut messages = inbox.subscribe("a/#");
        for _ in 0..50 {
            inbox.take(&message("a/flood", 1));
        }
        inbox.take(&message("a/other", 1));
        assert_eq!(
            (metrics.dropped(DropReason::TopicFull), metrics.dropped(DropReason::Full)),
            (46, 0)
        );
        for topic in ["a/flood", "a/flood", "a/flood", "a/flood", "a/other"] {
            assert_eq!(messages.next().await.unwrap().topic(), topic);
        }
        inbox.take(&message("a/flood", 1));
        assert_eq!(messages.next().await.unwrap().topic(), "a/flood", "it has room again");
        assert!(messages.backlog.topics().is_empty(), "what does not wait is forgotten");
    }

    #[tokio::test]
    async fn every_reader_gets_what_it_subscribed_to() {
        let (inbox, metrics) = inbox(10, 1000);
        let mut all = inbox.subscribe("#");
        let mut some = inbox.subscribe("a/+");
        assert_eq!(inbox.filters().len(), 2);
        inbox.take(&message("a/1", 100));
        inbox.take(&message("b/1", 1));
        inbox.passed_over(DropReason::Oversized);
        assert_eq!(all.next().await.unwrap().topic(), "a/1");
        assert_eq!(all.next().await.unwrap().topic(), "b/1");
        assert_eq!(some.next().await.unwrap().payload().len(), 100);
        assert!(some.try_next().is_none());
        assert_eq!((metrics.received.get(), metrics.dropped(DropReason::Oversized)), (3, 1));
        inbox.take(&message("a/3", 1));
        drop(some);
        assert_eq!(*inbox.filters(), [Arc::from("#")]);
        assert_eq!(metrics.waiting.get(), 1, "what waited for it is gone with it");
    }
}
