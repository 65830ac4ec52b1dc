//! What is done beside the requests: bookings are ended whose time is over, and the product's gauges are
//! brought up to date.

use std::sync::Arc;
use std::time::Duration;

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
