//! Metrics of the connection to the broker.

use crate::platform::telemetry::metrics::{
    Histogram, IntCounter, IntCounterVec, IntGauge, Metrics, from_zero,
};

/// Why no reader got a message from the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DropReason {
    /// As many wait for the reader as may, or as many bytes.
    Full,
    /// The same of the message's topic.
    TopicFull,
    Oversized,
    /// Its topic is not text.
    Malformed,
}

const DROP_REASONS: [DropReason; 4] =
    [DropReason::Full, DropReason::TopicFull, DropReason::Oversized, DropReason::Malformed];

impl DropReason {
    fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::TopicFull => "topic_full",
            Self::Oversized => "oversized",
            Self::Malformed => "malformed",
        }
    }
}

#[derive(Clone)]
pub(super) struct MqttMetrics {
    pub connected: IntGauge,
    pub connections: IntCounterVec,
    pub published: IntCounterVec,
    pub acknowledged: Histogram,
    pub received: IntCounter,
    dropped: IntCounterVec,
    pub waiting: IntGauge,
}

impl MqttMetrics {
    pub fn register(metrics: &Metrics) -> Self {
        let connections = metrics.counters(
            "mqtt_connections_total",
            "Attempts to connect by outcome; each `ok` after the first is a reconnection",
            &["outcome"],
        );
        let published = metrics.counters(
            "mqtt_published_total",
            "Messages given to publish by outcome; of `unknown` ones the broker may have one",
            &["outcome"],
        );
        let dropped = metrics.counters(
            "mqtt_dropped_total",
            "Messages from the broker that no reader got: full (too many wait), topic_full (too many of \
             one topic), oversized, malformed (a topic that is not text)",
            &["reason"],
        );
        Self {
            connected: metrics.gauge("mqtt_connected", "1 while connected and subscribed"),
            connections: from_zero(connections, &[["ok"]]),
            published: from_zero(published, &[["acknowledged"], ["not_sent"], ["unknown"]]),
            acknowledged: metrics.latency(
                "mqtt_acknowledge_seconds",
                "From handing a message to the connection to the broker's acknowledgement",
            ),
            received: metrics.counter("mqtt_received_total", "Messages from the broker"),
            dropped: from_zero(dropped, &DROP_REASONS.map(|reason| [reason.name()])),
            waiting: metrics.gauge("mqtt_waiting", "Messages that wait for their readers"),
        }
    }

    /// Counts a message that no reader gets.
    pub fn drop_one(&self, reason: DropReason) {
        self.dropped.with_label_values(&[reason.name()]).inc();
    }

    #[cfg(test)]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped.with_label_values(&[reason.name()]).get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_shown_before_the_first_message_is_dropped() {
        let metrics = Metrics::default();
        MqttMetrics::register(&metrics);
        let rendered = metrics.render();
        for reason in ["full", "topic_full", "oversized", "malformed"] {
            let line = format!("mqtt_dropped_total{{reason=\"{reason}\"}} 0");
            assert!(rendered.contains(&line), "{line} in {rendered}");
        }
    }
}
