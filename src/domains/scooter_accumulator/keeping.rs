//! What is done beside the requests: bookings are ended whose time is over, the product's gauges are
//! brought up to date, and what is old is removed.

use std::sync::Arc;
use std::time::Duration;

use diesel::sql_types::{BigInt, Integer};
use diesel_async::RunQueryDsl;

use super::Tools;
use super::bookings::store as bookings;
use super::cabinets::store as cabinets;
use super::ids::CabinetId;
use super::metrics::Figure;
use crate::platform::context::Context;
use crate::platform::database::{Connection, Prepare};
use crate::platform::error::Result;
use crate::platform::shutdown::Shutdown;

/// One statement, or one batch, takes no longer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Cabinets whose bookings are ended in one transaction.
const CABINETS: i64 = 50;
/// Rows removed in one statement, and statements in a round.
const ROWS: i64 = 1_000;
const STATEMENTS: usize = 20;
/// How often old rows are looked for.
const CLEANING: Duration = Duration::from_mins(10);

/// What is kept for some days, each removed before what it refers to. The last move of an accumulator
/// stays.
const CLEAN: [&str; 3] = [
    "DELETE FROM scooter_accumulator.accumulator_moves WHERE id IN \
       (SELECT m.id FROM scooter_accumulator.accumulator_moves m \
        WHERE m.at < now() - make_interval(days => $1) AND EXISTS \
          (SELECT 1 FROM scooter_accumulator.accumulator_moves l \
           WHERE l.accumulator_id = m.accumulator_id AND l.id > m.id) ORDER BY m.id LIMIT $2)",
    "DELETE FROM scooter_accumulator.commands WHERE id IN \
       (SELECT c.id FROM scooter_accumulator.commands c LEFT JOIN scooter_accumulator.bookings b \
          ON b.id = c.booking_id WHERE c.issued_at < now() - make_interval(days => $1) \
        AND c.status NOT IN ('created', 'sent') AND (b.id IS NULL OR b.ended_at IS NOT NULL) \
        ORDER BY c.issued_at LIMIT $2)",
    "DELETE FROM scooter_accumulator.bookings WHERE id IN \
       (SELECT b.id FROM scooter_accumulator.bookings b \
        WHERE b.ended_at < now() - make_interval(days => $1) AND NOT EXISTS \
          (SELECT 1 FROM scooter_accumulator.commands c WHERE c.booking_id = b.id) \
        ORDER BY b.ended_at LIMIT $2)",
];

/// Runs until the process stops. Every instance does it; what one is at, the others pass over.
pub async fn run(tools: Arc<Tools>, shutdown: Shutdown) {
    tokio::join!(
        rounds(
            &shutdown,
            tools.settings.sweep(),
            "expired bookings could not be ended",
            async || { end_expired(&tools).await }
        ),
        rounds(&shutdown, tools.settings.gauges(), "gauges could not be read", async || {
            measure(&tools).await
        }),
        rounds(&shutdown, CLEANING, "old rows could not be removed", async || clean(&tools).await),
    );
}

async fn rounds(
    shutdown: &Shutdown,
    pause: Duration,
    trouble: &str,
    round: impl AsyncFn() -> Result<()>,
) {
    loop {
        if let Err(error) = round().await {
            tracing::warn!(code = error.code(), cause = error.chain(), "{trouble}");
        }
        if shutdown.wait_or(pause).await {
            return;
        }
    }
}

fn context() -> Context {
    Context::background("scooter-accumulator", PATIENCE)
}

/// Writes down that bookings have expired; they were dead before.
async fn end_expired(tools: &Tools) -> Result<()> {
    loop {
        let work = async |connection: &mut Connection| {
            let ids = cabinets::lock_with_expired(connection, CABINETS).await?;
            let ids: Vec<&CabinetId> = ids.iter().collect();
            let ended =
                if ids.is_empty() { 0 } else { bookings::end_expired(connection, &ids).await? };
            Ok((ids.len(), ended))
        };
        let (cabinets, ended) = tools.database.transaction(&context(), work).await?;
        tools.metrics.expired(ended);
        if i64::try_from(cabinets).unwrap_or(0) < CABINETS {
            return Ok(());
        }
    }
}

/// All figures in one statement.
async fn measure(tools: &Tools) -> Result<()> {
    const FIGURES: &str = "SELECT 'charges' AS gauge, \
           (CASE WHEN charge >= 80 THEN '80-100' WHEN charge >= 60 THEN '60-79' \
             WHEN charge >= 40 THEN '40-59' WHEN charge >= 20 THEN '20-39' ELSE '0-19' END) AS label, \
           count(*) AS value FROM scooter_accumulator.accumulators WHERE cabinet_id IS NOT NULL GROUP BY 2 \
         UNION ALL SELECT 'places', (CASE WHEN cabinet_id IS NOT NULL THEN 'cabinet' \
             WHEN contractor_id IS NOT NULL THEN 'contractor' WHEN scooter_id IS NOT NULL THEN 'scooter' \
             ELSE 'lost' END), count(*) FROM scooter_accumulator.accumulators GROUP BY 2 \
         UNION ALL SELECT 'flagged', '', count(*) FROM scooter_accumulator.accumulators WHERE flagged \
         UNION ALL SELECT 'cells', state::text, count(*) FROM scooter_accumulator.cells GROUP BY 2 \
         UNION ALL SELECT 'cabinets', (CASE WHEN online THEN 'true' ELSE 'false' END), count(*) \
           FROM scooter_accumulator.cabinets GROUP BY 2 \
         UNION ALL SELECT 'bookings', status::text, count(*) FROM scooter_accumulator.bookings \
           WHERE status = 'executing' OR status = 'unknown' \
             OR (status = 'active' AND expires_at > statement_timestamp()) GROUP BY 2";
    let read = async |connection: &mut Connection| {
        Ok(diesel::sql_query(FIGURES).prepared().load::<Figure>(connection).await?)
    };
    let figures = tools.database.transaction(&context(), read).await?;
    tools.metrics.show(&figures);
    Ok(())
}

async fn clean(tools: &Tools) -> Result<()> {
    for statement in CLEAN {
        for _ in 0..STATEMENTS {
            let work = async |connection: &mut Connection| {
                let query = diesel::sql_query(statement)
                    .bind::<Integer, _>(tools.settings.history_days)
                    .bind::<BigInt, _>(ROWS);
                Ok(query.prepared().execute(connection).await?)
            };
            let removed = tools.database.transaction(&context(), work).await?;
            if i64::try_from(removed).unwrap_or(0) < ROWS {
                break;
            }
        }
    }
    Ok(())
}
