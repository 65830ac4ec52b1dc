//! How parks work, as `fleet-parks` says, kept for a short time.
//!
//! What is older than its time to live is refreshed by one call however many ask, in a task of its
//! own: a caller that goes away does not end it for the others. Callers wait for it a moment; when it
//! takes longer, or `fleet-parks` does not answer, what is known goes on being used until it is too
//! old. Only a park that works is used so: that there is none, or that it rests, is a final answer,
//! and must be news.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::rt;
use moka::sync::Cache;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::metrics::OrderMetrics;
use super::settings::OrdersSettings;
use crate::platform::context::Context;
use crate::platform::error::{Error, Result};
use crate::platform::ids::ParkId;
use crate::platform::upstream::UpstreamError;
use crate::upstreams::fleet_parks::{FleetParks, Park};

/// The code of a `fleet-parks` that cannot serve.
const FLEET_PARKS: &str = "fleet_parks_unavailable";
/// The longest a refresh takes, attempts and pauses included.
const REFRESH_PATIENCE: Duration = Duration::from_secs(5);
/// How long a caller waits for what is newer than what is known.
const STALE_WAIT: Duration = Duration::from_millis(250);
/// After a failure nobody asks again for so long.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(500);

/// Parks by id.
pub(super) struct ParkCache {
    entries: Cache<ParkId, Arc<Entry>>,
    source: Arc<Source>,
}

struct Source {
    fleet_parks: FleetParks,
    ttl: Duration,
    stale: Duration,
    metrics: OrderMetrics,
}

/// One park.
#[derive(Default)]
struct Entry {
    state: Mutex<State>,
    /// Tells those who wait that a refresh ended.
    refreshed: Notify,
}

#[derive(Default)]
struct State {
    known: Option<Known>,
    failed: Option<(Instant, UpstreamError)>,
    refreshing: bool,
}

/// What `fleet-parks` said: a park, or that there is none.
#[derive(Clone)]
struct Known {
    park: Option<Arc<Park>>,
    at: Instant,
}

/// What can be done for a caller now.
enum Look {
    Use(Known, Use),
    /// A refresh runs; meanwhile this would do.
    WaitBriefly(Known),
    Wait,
    Fail(UpstreamError),
}

#[derive(Clone, Copy)]
enum Use {
    Fresh,
    Stale,
}

impl ParkCache {
    pub fn new(fleet_parks: FleetParks, settings: &OrdersSettings, metrics: OrderMetrics) -> Self {
        let (ttl, stale) = (settings.park_ttl(), settings.park_stale());
        let entries =
            Cache::builder().max_capacity(settings.parks_kept).time_to_idle(stale).build();
        Self { entries, source: Arc::new(Source { fleet_parks, ttl, stale, metrics }) }
    }

    /// What is wrong with `fleet-parks` as far as calls have shown.
    pub fn trouble(&self) -> Option<&'static str> {
        self.source.fleet_parks.trouble()
    }

    /// A park that takes orders.
    ///
    /// # Errors
    /// `park_not_found`, `park_inactive`; `fleet_parks_unavailable` when nothing recent enough is
    /// known.
    pub async fn get(&self, context: &Context, id: &ParkId) -> Result<Arc<Park>> {
        let metrics = &self.source.metrics;
        let entry = self.entries.get_with_by_ref(id, Arc::default);
        let (mut waited, mut is_patient) = (false, true);
        loop {
            let refreshed = entry.refreshed.notified();
            let look = match entry.look(&self.source, id, context) {
                Look::WaitBriefly(known) if !is_patient => Look::Use(known, Use::Stale),
                look => look,
            };
            match look {
                Look::Use(known, how) => {
                    match how {
                        Use::Stale => metrics.park_stale.inc(),
                        Use::Fresh if waited => metrics.park_misses.inc(),
                        Use::Fresh => metrics.park_hits.inc(),
                    }
                    metrics.park_age.observe(known.at.elapsed().as_secs_f64());
                    return usable(known.park);
                }
                Look::Fail(error) => {
                    metrics.park_failures.inc();
                    return Err(super::service::unavailable(error, FLEET_PARKS));
                }
                Look::WaitBriefly(_) => {
                    waited = true;
                    let deadline = context.deadline.at_most(STALE_WAIT);
                    is_patient = deadline.run(refreshed).await.is_ok();
                    continue;
                }
                Look::Wait => waited = true,
            }
            context.deadline.run(refreshed).await.map_err(|_| {
                metrics.park_failures.inc();
                super::service::out_of_time(FLEET_PARKS)
            })?;
        }
    }
}

fn usable(park: Option<Arc<Park>>) -> Result<Arc<Park>> {
    let park = park.ok_or_else(|| Error::not_found("park_not_found", "There is no such park."))?;
    if park.is_active {
        return Ok(park);
    }
    let detail = "The park does not work at present.";
    Err(Error::new(crate::platform::error::Kind::Conflict, "park_inactive", detail))
}

impl Entry {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at what is known, and begins a refresh where one is due and none runs.
    fn look(self: &Arc<Self>, source: &Arc<Source>, id: &ParkId, context: &Context) -> Look {
        let now = Instant::now();
        let mut state = self.lock();
        if let Some(known) = state.known.as_ref().filter(|known| now - known.at < source.ttl) {
            return Look::Use(known.clone(), Use::Fresh);
        }
        let failed = state.failed.as_ref().filter(|(at, _)| now - *at < PAUSE_AFTER_FAILURE);
        let failed = failed.map(|(_, error)| error.clone());
        if failed.is_none() && !state.refreshing {
            state.refreshing = true;
            let refresh = Refresh { entry: Arc::clone(self), outcome: None };
            rt::spawn(refresh.run(Arc::clone(source), id.clone(), context.trace));
        }
        let works = |known: &&Known| known.park.as_ref().is_some_and(|park| park.is_active);
        let known = state.known.as_ref().filter(|known| now - known.at < source.stale);
        match (known.filter(works), failed) {
            (Some(known), Some(_)) => Look::Use(known.clone(), Use::Stale),
            (Some(known), None) => Look::WaitBriefly(known.clone()),
            (None, Some(error)) => Look::Fail(error),
            (None, None) => Look::Wait,
        }
    }
}

/// A refresh that runs. However it ends, those who wait are told.
struct Refresh {
    entry: Arc<Entry>,
    outcome: Option<Result<Option<Park>, UpstreamError>>,
}

impl Refresh {
    async fn run(
        mut self,
        source: Arc<Source>,
        id: ParkId,
        trace: crate::platform::telemetry::trace::TraceContext,
    ) {
        let context = Context { trace, ..Context::background(super::NAME, REFRESH_PATIENCE) };
        self.outcome = Some(source.fleet_parks.park(&context, &id).await);
    }
}

impl Drop for Refresh {
    fn drop(&mut self) {
        let mut state = self.entry.lock();
        state.refreshing = false;
        match self.outcome.take() {
            Some(Ok(park)) => {
                state.known = Some(Known { park: park.map(Arc::new), at: Instant::now() });
                state.failed = None;
            }
            Some(Err(error)) => state.failed = Some((Instant::now(), error)),
            None => {}
        }
        drop(state);
        self.entry.refreshed.notify_waiters();
    }
}
