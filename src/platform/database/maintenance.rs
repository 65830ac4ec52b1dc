//! What a process does for its database now and then: forgets old idempotency keys, and measures
//! its tables.

use std::time::Duration;

use diesel::sql_types::{Array, BigInt, Text};
use diesel_async::RunQueryDsl;

use super::{Database, Prepare, clean, idempotency};
use crate::platform::context::Context;
use crate::platform::error::Result;
use crate::platform::shutdown::Shutdown;
use crate::platform::telemetry::metrics::{IntGaugeVec, Metrics};

/// Pause between two rounds; each process starts at a random part of it.
const PERIOD: Duration = Duration::from_mins(1);
/// One round takes no longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// From PostgreSQL's own statistics: no table is read.
const SIZES: &str = "SELECT n.nspname::text AS schema, c.relname::text AS name, \
     GREATEST(c.reltuples, 0)::bigint AS rows, pg_total_relation_size(c.oid) AS bytes \
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
     WHERE c.relkind IN ('r', 'p') AND n.nspname = ANY($1)";

#[derive(diesel::QueryableByName)]
struct TableSize {
    #[diesel(sql_type = Text)]
    schema: String,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = BigInt)]
    rows: i64,
    #[diesel(sql_type = BigInt)]
    bytes: i64,
}

struct TableMetrics {
    rows: IntGaugeVec,
    bytes: IntGaugeVec,
}

/// Runs until `shutdown`. Every instance does it.
pub async fn maintain(
    database: Database,
    metrics: Metrics,
    schemas: Vec<&'static str>,
    shutdown: Shutdown,
) {
    let cleanings = vec![idempotency::cleaning()];
    tokio::join!(
        measure(&database, &metrics, &schemas, &shutdown),
        clean(database.clone(), metrics.clone(), cleanings, shutdown.clone()),
    );
}

/// Measures the tables at once, then once a minute.
async fn measure(
    database: &Database,
    metrics: &Metrics,
    schemas: &[&'static str],
    shutdown: &Shutdown,
) {
    let labels = ["schema", "table"];
    let sizes = TableMetrics {
        rows: metrics.gauges("database_table_rows", "Rows, as PostgreSQL estimates", &labels),
        bytes: metrics.gauges("database_table_bytes", "Table, TOAST and indices", &labels),
    };
    let mut pause = PERIOD.mul_f64(0.2 + 0.8 * rand::random::<f64>());
    loop {
        let context = Context::background("maintenance", PATIENCE);
        if let Err(error) = round(database, &context, schemas, &sizes).await {
            tracing::warn!(code = error.code(), cause = error.chain(), "maintenance failed");
        }
        if shutdown.wait_or(pause).await {
            return;
        }
        pause = PERIOD;
    }
}

async fn round(
    database: &Database,
    context: &Context,
    schemas: &[&'static str],
    metrics: &TableMetrics,
) -> Result<()> {
    let tables: Vec<TableSize> = database
        .statement(context, async |mut connection| {
            let query = diesel::sql_query(SIZES).bind::<Array<Text>, _>(schemas);
            Ok(query.prepared().load(&mut connection).await?)
        })
        .await?;
    for table in tables {
        let labels = [table.schema.as_str(), table.name.as_str()];
        metrics.rows.with_label_values(&labels).set(table.rows);
        metrics.bytes.with_label_values(&labels).set(table.bytes);
    }
    Ok(())
}
