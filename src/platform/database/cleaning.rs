//! Removes what is too old, in batches (docs/decisions/cleaning.md).
//!
//! A [`Cleaning`] says what, and from which age on. Whoever has some hands them over together: they are done
//! one after another, with one connection. Of one of them, one instance at a time runs a batch; the others
//! pass and look again later.

use std::time::Duration;

use diesel::sql_types::{BigInt, Bool, Integer, Text};
use diesel::{QueryResult, QueryableByName};
use diesel_async::RunQueryDsl;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::time::Instant;

use super::{Connection, Database, Prepare};
use crate::platform::context::Context;
use crate::platform::error::Result;
use crate::platform::shutdown::Shutdown;
use crate::platform::telemetry::metrics::{IntCounterVec, IntGaugeVec, Metrics};

/// The first round comes within this after the start; instances that start together do not come at once.
const FIRST: Duration = Duration::from_secs(2);
/// From one round to the next at most, unless a cleaning says otherwise.
const EVERY: Duration = Duration::from_mins(10);
/// What failed is tried again after this, where its pause is longer.
const RETRY: Duration = Duration::from_mins(1);
/// Rows of a batch, unless a cleaning says otherwise, and batches of a round.
const BATCH: i64 = 1_000;
const BATCHES: usize = 1_000;
/// Between two batches others have their turn.
const BREATH: Duration = Duration::from_millis(20);
/// One batch takes no longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Held, to the end of a batch, by the one that cleans.
const ALONE: &str =
    "SELECT pg_try_advisory_xact_lock(hashtextextended('fleet cleaning ' || $1, 0)) AS held";

/// Removes up to so many rows in the transaction of a batch; how many went.
type Remove = dyn for<'a> Fn(&'a mut Connection, i64) -> BoxFuture<'a, Result<usize>> + Send + Sync;

/// One kind of rows that do not stay for ever.
pub struct Cleaning {
    /// The label of its metrics, and the name of its lock: `schema.rows`, where the rows are called as their
    /// table, or, when one part of it goes by a rule of its own, as that part. All are in
    /// docs/operations.md, "How long data is kept".
    what: &'static str,
    every: Duration,
    batch: i64,
    remove: Box<Remove>,
}

/// What is watched, by what is cleaned.
struct CleaningMetrics {
    rows: IntCounterVec,
    failures: IntCounterVec,
    last_success: IntGaugeVec,
}

#[derive(QueryableByName)]
struct Held {
    #[diesel(sql_type = Bool)]
    held: bool,
}

impl Cleaning {
    /// By a statement that removes at most `$2` rows older than `$1`, in whichever unit it takes that.
    /// `what` is the rows' name with their schema.
    #[must_use]
    pub fn by_statement(what: &'static str, sql: &'static str, age: i32) -> Self {
        Self::by(what, move |connection, limit| run(connection, sql, age, limit).boxed())
    }

    /// By more than that: in one transaction, up to so many rows. A round ends with a batch of none.
    #[must_use]
    pub fn by(
        what: &'static str,
        remove: impl for<'a> Fn(&'a mut Connection, i64) -> BoxFuture<'a, Result<usize>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self { what, every: EVERY, batch: BATCH, remove: Box::new(remove) }
    }

    /// With another pause between rounds.
    #[must_use]
    pub fn every(self, every: Duration) -> Self {
        Self { every, ..self }
    }

    /// With another number of rows in a batch.
    #[must_use]
    pub fn in_batches_of(self, batch: i64) -> Self {
        Self { batch, ..self }
    }

    /// Batch by batch until nothing old is left, the round is long enough, or another instance is at it;
    /// how many rows went.
    async fn round(
        &self,
        database: &Database,
        metrics: &CleaningMetrics,
        stop: &Shutdown,
    ) -> Result<usize> {
        let mut rows = 0;
        for _ in 0..BATCHES {
            let Some(removed) = self.one_batch(database).await? else { return Ok(rows) };
            rows += removed;
            metrics.rows.with_label_values(&[self.what]).inc_by(removed as u64);
            if removed == 0 || stop.wait_or(BREATH).await {
                break;
            }
        }
        metrics.last_success.with_label_values(&[self.what]).set(Timestamp::now().as_second());
        Ok(rows)
    }

    /// `None` while another instance is at it.
    async fn one_batch(&self, database: &Database) -> Result<Option<usize>> {
        let context = Context::background("cleaning", PATIENCE);
        database
            .transaction(&context, async |connection| {
                if !self.is_alone(connection).await? {
                    return Ok(None);
                }
                (self.remove)(connection, self.batch).await.map(Some)
            })
            .await
    }

    async fn is_alone(&self, mut connection: &Connection) -> QueryResult<bool> {
        let alone = diesel::sql_query(ALONE).bind::<Text, _>(self.what);
        Ok(alone.prepared().get_result::<Held>(&mut connection).await?.held)
    }
}

impl CleaningMetrics {
    fn register(metrics: &Metrics) -> Self {
        Self {
            rows: metrics.counters(
                "fleet_cleaning_rows_total",
                "Rows that were removed because of their age",
                &["what"],
            ),
            failures: metrics.counters(
                "fleet_cleaning_failures_total",
                "Rounds of cleaning that failed",
                &["what"],
            ),
            last_success: metrics.gauges(
                "fleet_cleaning_last_success_timestamp_seconds",
                "When this instance last came to the end of a round; 0: not yet",
                &["what"],
            ),
        }
    }

    /// What alerts ask of a cleaning is there before its first round.
    fn begin(&self, what: &str) {
        let _ = self.rows.with_label_values(&[what]);
        let _ = self.failures.with_label_values(&[what]);
        self.last_success.with_label_values(&[what]).set(0);
    }
}

async fn run(
    connection: &mut Connection,
    sql: &'static str,
    age: i32,
    limit: i64,
) -> Result<usize> {
    let remove = diesel::sql_query(sql).bind::<Integer, _>(age).bind::<BigInt, _>(limit);
    Ok(remove.execute(connection).await?)
}

/// Does these, each at its own pace, until the process stops.
pub async fn clean(database: Database, metrics: Metrics, cleanings: Vec<Cleaning>, stop: Shutdown) {
    let metrics = CleaningMetrics::register(&metrics);
    for cleaning in &cleanings {
        metrics.begin(cleaning.what);
    }
    let first = Instant::now() + FIRST.mul_f64(rand::random::<f64>());
    let mut due: Vec<_> = cleanings.into_iter().map(|cleaning| (first, cleaning)).collect();
    while let Some((at, cleaning)) = due.iter_mut().min_by_key(|(at, _)| *at) {
        if stop.wait_or(at.saturating_duration_since(Instant::now())).await {
            return;
        }
        let what = cleaning.what;
        let round = cleaning.round(&database, &metrics, &stop).await;
        let pause = pause(cleaning.every, round.is_err());
        match round {
            Ok(0) => {}
            Ok(rows) => tracing::info!(what, rows, "old rows were cleaned away"),
            Err(error) => {
                let (code, cause) = (error.code(), error.chain());
                metrics.failures.with_label_values(&[what]).inc();
                tracing::warn!(what, code, cause, "old rows are not cleaned away for now");
            }
        }
        *at = Instant::now() + pause;
    }
}

/// From one round to the next. It varies, so that instances do not keep step.
fn pause(every: Duration, failed: bool) -> Duration {
    let longest = if failed { every.min(RETRY) } else { every };
    longest.mul_f64(0.8 + 0.2 * rand::random::<f64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_tried_again_sooner() {
        assert!(pause(EVERY, true) <= RETRY && pause(EVERY, false) > RETRY);
        assert!(pause(RETRY / 2, true) <= RETRY / 2, "and never later than it would be anyway");
    }
}
