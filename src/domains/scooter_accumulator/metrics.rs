//! What the product watches: where accumulators are, what cells do, and what becomes of bookings.

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Text};

use crate::platform::telemetry::metrics::{
    IntCounterVec, IntGauge, IntGaugeVec, Metrics, from_zero,
};

const CHARGES: [&str; 5] = ["0-19", "20-39", "40-59", "60-79", "80-100"];
const PLACES: [&str; 4] = ["cabinet", "contractor", "scooter", "lost"];
const STATES: [&str; 5] = ["empty", "charging", "charged", "open", "broken"];
const OUTCOMES: [&str; 8] = [
    "booked",
    "refused",
    "cancelled",
    "expired",
    "not_opened",
    "unknown",
    "completed",
    "incomplete",
];
const STATUSES: [&str; 3] = ["active", "executing", "unknown"];

#[derive(Clone)]
pub struct ScooterMetrics {
    bookings: IntCounterVec,
    /// By what they show: see [`Figure`].
    gauges: [(&'static str, &'static [&'static str], IntGaugeVec); 5],
    flagged: IntGauge,
}

/// A number that the database gave: which gauge's, and its label.
#[derive(Debug, QueryableByName)]
pub struct Figure {
    #[diesel(sql_type = Text)]
    pub gauge: String,
    #[diesel(sql_type = Text)]
    pub label: String,
    #[diesel(sql_type = BigInt)]
    pub value: i64,
}

impl ScooterMetrics {
    pub fn register(metrics: &Metrics) -> Self {
        Self {
            bookings: from_zero(metrics.counters(
                "scooter_accumulator_bookings_total",
                "Bookings by outcome: booked, refused, cancelled, expired, and how those that were \
                 executed ended",
                &["outcome"],
            ), &OUTCOMES.map(|outcome| [outcome])),
            gauges: [
                (
                    "charges",
                    &CHARGES,
                    metrics.gauges(
                        "scooter_accumulator_in_cabinets",
                        "Accumulators in cabinets by charge in percent",
                        &["charge"],
                    ),
                ),
                (
                    "places",
                    &PLACES,
                    metrics.gauges(
                        "scooter_accumulator_accumulators",
                        "Accumulators by where they are: cabinet, contractor, scooter, lost",
                        &["place"],
                    ),
                ),
                (
                    "cells",
                    &STATES,
                    metrics.gauges(
                        "scooter_accumulator_cells",
                        "Cells by what cabinets say of them",
                        &["state"],
                    ),
                ),
                (
                    "cabinets",
                    &["true", "false"],
                    metrics.gauges(
                        "scooter_accumulator_cabinets",
                        "Cabinets that speak, and that do not",
                        &["online"],
                    ),
                ),
                (
                    "bookings",
                    &STATUSES,
                    metrics.gauges(
                        "scooter_accumulator_bookings",
                        "Bookings that keep something",
                        &["status"],
                    ),
                ),
            ],
            flagged: metrics
                .gauge("scooter_accumulator_flagged", "Accumulators that a person is to look at"),
        }
    }

    /// Counts a booking's outcome, a word of the code.
    pub fn booking(&self, outcome: &'static str) {
        self.bookings.with_label_values(&[outcome]).inc();
    }

    /// Counts bookings that nobody came for.
    pub fn expired(&self, count: i64) {
        self.bookings.with_label_values(&["expired"]).inc_by(u64::try_from(count).unwrap_or(0));
    }

    /// Shows what the database says; what it does not name is none.
    pub fn show(&self, figures: &[Figure]) {
        let value = |gauge: &str, label: &str| {
            let found =
                figures.iter().find(|figure| figure.gauge == gauge && figure.label == label);
            found.map_or(0, |figure| figure.value)
        };
        for (name, labels, gauge) in &self.gauges {
            for label in *labels {
                gauge.with_label_values(&[*label]).set(value(name, label));
            }
        }
        self.flagged.set(value("flagged", ""));
    }
}
