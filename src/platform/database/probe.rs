//! Whether the database answers, for `/readyz`.

use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::Database;
use crate::platform::context::Deadline;
use crate::platform::readiness::ReadinessRow;

/// How long a probe waits for the answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long one answer serves: probes come from several sides, and from anybody.
const FRESH: Duration = Duration::from_millis(500);

/// Asks at most twice a second, however often it is asked.
#[derive(Default)]
pub struct Probe(Mutex<Option<(Instant, ReadinessRow)>>);

impl Probe {
    /// The database's row. A busy pool is no fault of the database.
    pub async fn row(&self, database: &Database) -> ReadinessRow {
        let mut last = self.0.lock().await;
        if let Some((at, row)) = last.as_ref()
            && at.elapsed() < FRESH
        {
            return row.clone();
        }
        let row = match database.ping(Deadline::after(PATIENCE)).await {
            Ok(()) => ReadinessRow::ok("postgresql"),
            Err(error) if error.code() == "overloaded" => ReadinessRow::ok("postgresql"),
            Err(_) => ReadinessRow::unavailable("postgresql", "database_unavailable"),
        };
        *last = Some((Instant::now(), row.clone()));
        row
    }
}
