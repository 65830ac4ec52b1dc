//! What the product watches: mailings, the drivers they reach, and messages.

use super::mailings::Rises;
use crate::platform::telemetry::metrics::{
    Histogram, IntCounter, IntCounterVec, IntGauge, Metrics, from_zero,
};

/// Times from order to last delivery, in seconds: from at once to a day.
const DELIVERY: [f64; 9] = [1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 86_400.0];

#[derive(Clone)]
pub(super) struct CommunicationsMetrics {
    mailings: IntCounterVec,
    recipients: IntCounterVec,
    pub delivery: Histogram,
    pub messages_to_driver: IntCounter,
    pub messages_to_park: IntCounter,
    pushes: IntCounterVec,
    /// Event streams that are open.
    pub streams: IntGauge,
}

impl CommunicationsMetrics {
    pub fn register(metrics: &Metrics) -> Self {
        let mailings = from_zero(
            metrics.counters(
                "fleet_communications_mailings_total",
                "Mailings by outcome: ordered, sent, failed, cancelled",
                &["outcome"],
            ),
            &[["ordered"], ["sent"], ["failed"], ["cancelled"]],
        );
        let recipients = from_zero(
            metrics.counters(
                "fleet_communications_recipients_total",
                "Drivers of mailings by outcome: sent (reached), failed, skipped, recalled",
                &["outcome"],
            ),
            &[["sent"], ["failed"], ["skipped"], ["recalled"]],
        );
        let delivery = metrics.histogram(
            "fleet_communications_mailing_duration_seconds",
            "From a mailing's order (or its time) to its last delivery",
            &DELIVERY,
        );
        let messages = metrics.counters(
            "fleet_communications_messages_total",
            "Messages of conversations by direction",
            &["direction"],
        );
        let pushes = from_zero(
            metrics.counters(
                "fleet_communications_pushes_total",
                "Messages to drivers that went to feeds, each attempt by outcome: sent, rejected, \
             read_before (not sent any more), gone, failed (tried again)",
                &["outcome"],
            ),
            &[["sent"], ["rejected"], ["read_before"], ["gone"], ["failed"]],
        );
        let streams = metrics.gauge(
            "fleet_communications_event_streams",
            "Event streams of conversations that are open",
        );
        Self {
            mailings,
            recipients,
            delivery,
            messages_to_driver: messages.with_label_values(&["to_driver"]),
            messages_to_park: messages.with_label_values(&["to_park"]),
            pushes,
            streams,
        }
    }

    pub fn mailing(&self, outcome: &str) {
        self.mailings.with_label_values(&[outcome]).inc();
    }

    pub fn rises(&self, rises: &Rises) {
        self.recipients("sent", rises.sent);
        self.recipients("failed", rises.failed);
        self.recipients("skipped", rises.skipped);
        self.recipients("recalled", rises.recalled);
    }

    fn recipients(&self, outcome: &str, count: i64) {
        self.recipients.with_label_values(&[outcome]).inc_by(count.unsigned_abs());
    }

    pub fn push(&self, outcome: &str) {
        self.pushes.with_label_values(&[outcome]).inc();
    }
}
