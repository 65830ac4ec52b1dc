//! Opens and closes outages by what calls to KRT tell.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::store::{self, State};
use crate::domains::deptrans_driver_status_integration::krt::{Beat, Gateway};
use crate::platform::context::Context;
use crate::platform::database::Database;
use crate::platform::error::Result;
use crate::platform::shutdown::Shutdown;

/// How often it is looked at.
const EVERY: Duration = Duration::from_secs(1);
/// One look takes no longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs until the process stops.
pub(super) async fn run(database: Database, krt: Arc<Gateway>, after: Duration, stop: Shutdown) {
    let mut told: Option<Instant> = None;
    let mut failed = false;
    let every = EVERY.min(after);
    loop {
        let beat = krt.pulse().beat();
        let news = beat.answered_at.filter(|at| told != Some(*at));
        match look(&database, beat, news, after).await {
            Ok(_) => {
                told = news.or(told);
                failed = false;
            }
            Err(error) => {
                if !std::mem::replace(&mut failed, true) {
                    let (code, cause) = (error.code(), error.chain());
                    tracing::warn!(code, cause, "outages of KRT are not noted for now");
                }
            }
        }
        tokio::select! {
            () = stop.wait() => return,
            () = krt.pulse().recovered() => {}
            () = sleep(every) => {}
        }
    }
}

async fn look(
    database: &Database,
    beat: Beat,
    news: Option<Instant>,
    after: Duration,
) -> Result<State> {
    let context = Context::background("krt outages", PATIENCE);
    let ago = |at: Instant| at.elapsed().as_secs_f64();
    database
        .statement(&context, async |connection| {
            if let Some(answered_at) = news {
                let first = beat.recovered_at.unwrap_or(answered_at);
                if store::close(connection, ago(answered_at), ago(first)).await? {
                    tracing::info!("the outage of KRT is over");
                }
            }
            if let Some(since) = beat.failing_since.filter(|since| since.elapsed() >= after)
                && store::open(connection, ago(since), after.as_secs_f64()).await?
            {
                tracing::error!("an outage of KRT began; statuses wait in the queue");
            }
            store::follow(connection).await
        })
        .await
}
