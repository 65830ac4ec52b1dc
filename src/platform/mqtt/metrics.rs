//! Metrics of the connection to the broker.

use crate::platform::telemetry::metrics::{
    Histogram, IntCounter, IntCounterVec, IntGauge, Metrics, from_zero,
};

#[derive(Clone)]
pub(super) struct MqttMetrics {
    pub connected: IntGauge,
    pub connections: IntCounterVec,
    pub published: IntCounterVec,
    pub acknowledged: Histogram,
    pub received: IntCounter,
    pub dropped: IntCounterVec,
    pub waiting: IntGauge,
}

impl MqttMetrics {
    pub fn register(metrics: &Metrics) -> Self {
        Self {
            connected: metrics.gauge("mqtt_connected", "1 while connected and subscribed"),
            connections: from_zero(metrics.counters(
                "mqtt_connections_total",
                "Attempts to connect by outcome; each `ok` after the first is a reconnection",
                &["outcome"],
            ), &[["ok"]]),
            published: from_zero(metrics.counters(
                "mqtt_published_total",
                "Messages given to publish by outcome; of `unknown` ones the broker may have one",
                &["outcome"],
            ), &[["acknowledged"], ["not_sent"], ["unknown"]]),
            acknowledged: metrics.latency(
                "mqtt_acknowledge_seconds",
                "From handing a message to the connection to the broker's acknowledgement",
            ),
            received: metrics.counter("mqtt_received_total", "Messages from the broker"),
            dropped: from_zero(metrics.counters(
                "mqtt_dropped_total",
                "Messages from the broker that no reader got: too large, too many, or not text",
                &["reason"],
            ), &[["full"], ["topic_full"], ["oversized"], ["malformed"]]),
            waiting: metrics.gauge("mqtt_waiting", "Messages that wait for their readers"),
        }
    }
}
