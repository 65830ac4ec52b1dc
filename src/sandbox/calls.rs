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
pub(super) struct Counts(Mutex<BTreeMap<&'static str, ByRoute>>);

impl Counts {
    pub(super) fn add(&self, stand_in: &'static str, route: String) {
        *self.lock().entry(stand_in).or_default().entry(route).or_default() += 1;
    }

    pub(super) fn get(&self, stand_in: &str, route: &str) -> u64 {
        let counts = self.lock();
        counts.get(stand_in).and_then(|routes| routes.get(route)).copied().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, ByRoute>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
