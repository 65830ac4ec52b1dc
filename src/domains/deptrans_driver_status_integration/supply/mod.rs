//! What the company would lose if the regulator's rules blocked today, and how the queue is: looked up
//! now and then, never for a scrape.

mod settings;

use std::sync::Arc;
use std::time::Duration;

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Double, SmallInt};
use diesel_async::RunQueryDsl;
use tokio::time::Instant;

pub use self::settings::SupplySettings;
use super::regions::Regions;
use crate::platform::context::Context;
use crate::platform::database::Database;
use crate::platform::error::Result;
use crate::platform::shutdown::Shutdown;
use crate::platform::telemetry::metrics::{IntGauge, IntGaugeVec, Metrics};

/// One look takes no longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Drivers who are on line, or on an order, by the region in which their last status was looked at. The
/// counts of those at risk do not overlap.
const SUPPLY: &str = "SELECT q.region, count(*) AS total, \
       count(*) FILTER (WHERE p.deptrans_id IS NULL) AS no_id, \
       count(*) FILTER (WHERE p.deptrans_id IS NOT NULL AND NOT s.is_active) AS no_active_shift, \
       count(*) FILTER (WHERE p.deptrans_id IS NOT NULL AND s.is_active \
         AND s.ended_at <= now() + interval '1 hour') AS shift_ends_within_hour \
     FROM deptrans.status_queue q \
     LEFT JOIN deptrans.profiles p ON p.driver_license_pd_id = q.driver_license_pd_id \
     LEFT JOIN deptrans.session_statuses t ON t.driver_license_pd_id = q.driver_license_pd_id \
     CROSS JOIN LATERAL (SELECT t.ended_at, COALESCE(t.session_status = 'active', false) \
       AND COALESCE(t.ended_at > now(), true) AS is_active) s \
     WHERE NOT q.off_line AND q.region IS NOT NULL GROUP BY q.region";

const QUEUE: &str = "SELECT count(*) AS waiting, \
       COALESCE(extract(epoch FROM clock_timestamp() - min(queued_at)), 0)::float8 AS oldest \
     FROM deptrans.status_queue WHERE due_at IS NOT NULL";

#[derive(QueryableByName)]
struct Supply {
    #[diesel(sql_type = SmallInt)]
    region: i16,
    #[diesel(sql_type = BigInt)]
    total: i64,
    #[diesel(sql_type = BigInt)]
    no_id: i64,
    #[diesel(sql_type = BigInt)]
    no_active_shift: i64,
    #[diesel(sql_type = BigInt)]
    shift_ends_within_hour: i64,
}

#[derive(QueryableByName)]
struct Queue {
    #[diesel(sql_type = BigInt)]
    waiting: i64,
    #[diesel(sql_type = Double)]
    oldest: f64,
}

/// Registered once, with the domain.
#[derive(Clone)]
pub(super) struct SupplyMetrics {
    drivers: IntGaugeVec,
    waiting: IntGauge,
    oldest: IntGauge,
}

impl SupplyMetrics {
    pub fn register(metrics: &Metrics) -> Self {
        Self {
            drivers: metrics.gauges(
                "deptrans_supply_drivers",
                "Drivers who are on line in a region: total, and of them those at risk: no_id, \
                 no_active_shift (with an id), shift_ends_within_hour",
                &["region", "reason"],
            ),
            waiting: metrics.gauge(
                "deptrans_queue_statuses",
                "Drivers whose newest status waits to be sent to the regulator",
            ),
            oldest: metrics.gauge(
                "deptrans_queue_oldest_seconds",
                "How long the status that waits longest has waited",
            ),
        }
    }
}

/// Looks until the process stops.
pub(super) async fn run(
    database: Database,
    regions: Arc<Regions>,
    settings: SupplySettings,
    metrics: SupplyMetrics,
    stop: Shutdown,
) {
    let mut supply_at = Instant::now();
    let mut failed = false;
    loop {
        let with_supply = supply_at <= Instant::now();
        if with_supply {
            supply_at = Instant::now() + settings.supply();
        }
        match look(&database, &regions, &metrics, with_supply).await {
            Ok(()) => failed = false,
            Err(error) => {
                if !std::mem::replace(&mut failed, true) {
                    let (code, cause) = (error.code(), error.chain());
                    tracing::warn!(code, cause, "supply at risk is not known for now");
                }
            }
        }
        // Instances do not look all at once.
        if stop.wait_or(settings.queue().mul_f64(0.75 + 0.5 * rand::random::<f64>())).await {
            return;
        }
    }
}

async fn look(
    database: &Database,
    regions: &Regions,
    metrics: &SupplyMetrics,
    with_supply: bool,
) -> Result<()> {
    let context = Context::background("deptrans supply", PATIENCE);
    let (queue, supply) = database
        .statement(&context, async |mut connection: &_| {
            // Planned anew each time. Of a prepared statement without parameters PostgreSQL keeps the
            // first plan, whatever `plan_cache_mode` says: one for empty tables, perhaps.
            let queue: Queue = diesel::sql_query(QUEUE).get_result(&mut connection).await?;
            let mut supply: Option<Vec<Supply>> = None;
            if with_supply {
                supply = Some(diesel::sql_query(SUPPLY).load(&mut connection).await?);
            }
            Ok((queue, supply))
        })
        .await?;
    metrics.waiting.set(queue.waiting);
    #[allow(clippy::cast_possible_truncation, reason = "whole seconds will do")]
    metrics.oldest.set(queue.oldest.max(0.0) as i64);
    let Some(supply) = supply else { return Ok(()) };
    for region in regions.iter() {
        let found = supply.iter().find(|found| found.region == region.id);
        let show = |reason: &str, count: fn(&Supply) -> i64| {
            let labels = [region.name.as_str(), reason];
            metrics.drivers.with_label_values(&labels).set(found.map_or(0, count));
        };
        show("total", |found| found.total);
        show("no_id", |found| found.no_id);
        show("no_active_shift", |found| found.no_active_shift);
        show("shift_ends_within_hour", |found| found.shift_ends_within_hour);
    }
    Ok(())
}
