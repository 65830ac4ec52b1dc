//! How often each stand-in was called, for tests that count.
//!
//! `GET /__sandbox/calls` → `{"personal": {"POST /v1/phones/find": 3}}`; `DELETE` starts again.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use actix_web::{HttpResponse, web};

use super::State;

type ByRoute = BTreeMap<String, u64>;

/// Calls by stand-in and route template.
#[derive(Default)]
pub(super) struct Counts {
    made: Mutex<BTreeMap<&'static str, ByRoute>>,
    in_flight: Mutex<BTreeMap<&'static str, InFlight>>,
}

/// Calls that are not answered yet.
#[derive(Debug, Clone, Copy, Default)]
struct InFlight {
    now: usize,
    most: usize,
}

/// A call until it is answered, or its client has gone.
pub(super) struct Underway<'a>(&'a Counts, &'static str);

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        if let Some(in_flight) = self.0.in_flight().get_mut(self.1) {
            in_flight.now = in_flight.now.saturating_sub(1);
        }
    }
}

impl Counts {
    pub(super) fn add(&self, stand_in: &'static str, route: String) {
        *self.lock().entry(stand_in).or_default().entry(route).or_default() += 1;
    }

    pub(super) fn get(&self, stand_in: &str, route: &str) -> u64 {
        let counts = self.lock();
        counts.get(stand_in).and_then(|routes| routes.get(route)).copied().unwrap_or_default()
    }

    /// Counts a call of a stand-in as in flight while what is returned lives.
    pub(super) fn begin(&self, stand_in: &'static str) -> Underway<'_> {
        let mut all = self.in_flight();
        let in_flight = all.entry(stand_in).or_default();
        in_flight.now += 1;
        in_flight.most = in_flight.most.max(in_flight.now);
        Underway(self, stand_in)
    }

    /// Most calls of a stand-in that were in flight at once.
    pub(super) fn most_in_flight(&self, stand_in: &str) -> usize {
        self.in_flight().get(stand_in).map_or(0, |in_flight| in_flight.most)
    }

    fn in_flight(&self) -> MutexGuard<'_, BTreeMap<&'static str, InFlight>> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, ByRoute>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.service(
        web::resource("/calls")
            .get(async |state: web::Data<State>| HttpResponse::Ok().json(&*state.calls.lock()))
            .delete(async |state: web::Data<State>| {
                state.calls.lock().clear();
                HttpResponse::NoContent().finish()
            }),
    );
}
