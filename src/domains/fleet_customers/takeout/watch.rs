//! Watches how long the oldest unfinished erasure has waited. Every instance does, so that whichever is
//! asked for its metrics knows.

use std::time::Duration;

use diesel::sql_types::BigInt;
use diesel_async::RunQueryDsl;

use crate::platform::context::Context;
use crate::platform::database::Database;
use crate::platform::shutdown::Shutdown;
use crate::platform::telemetry::metrics::IntGauge;

const PERIOD: Duration = Duration::from_secs(15);
const PATIENCE: Duration = Duration::from_secs(5);
const OLDEST: &str = "SELECT COALESCE(extract(epoch FROM clock_timestamp() - min(requested_at)), 0)::bigint \
     AS seconds FROM fleet_customers.erasures WHERE completed_at IS NULL";

#[derive(diesel::QueryableByName)]
struct Oldest {
    #[diesel(sql_type = BigInt)]
    seconds: i64,
}

/// Runs until `shutdown`.
pub(in super::super) async fn watch(database: Database, gauge: IntGauge, shutdown: Shutdown) {
    loop {
        let context = Context::background("erasures", PATIENCE);
        let oldest = database
            .statement(&context, async |mut connection| {
                // Not prepared: without parameters PostgreSQL would keep its first plan.
                Ok(diesel::sql_query(OLDEST).get_result::<Oldest>(&mut connection).await?)
            })
            .await;
        match oldest {
            Ok(oldest) => gauge.set(oldest.seconds),
            // What it was is still about right; the database's own metrics tell.
            Err(error) => tracing::debug!(code = error.code(), "cannot look for erasures"),
        }
        if shutdown.wait_or(PERIOD).await {
            return;
        }
    }
}
