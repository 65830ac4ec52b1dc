//! Stands for `driver-profiles`: which licence a park's driver has. Its drivers are those of `world`.
//!
//! | control route | does |
//! | --- | --- |
//! | `PUT /__sandbox/driver-profiles` `{"drivers": 1000000}` | so many computed drivers, here and in driver-categories-api, and no others; all cursors are refused |
//! | `DELETE /__sandbox/driver-profiles/cursors` | refuses all cursors that were given out |
//! | `PUT /__sandbox/driver-profiles/{park_id}/{driver_id}` `{"license_pd_id": "..." or null}` or `{"license_number": "..."}` or `{"is_deleted": true}` | changes a profile, or adds one; a number is given to `personal` |

use std::sync::{Mutex, MutexGuard, PoisonError};

use actix_web::http::StatusCode;
use actix_web::middleware::from_fn;
use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::revisions::{Revisions, Told, is_deleted};
use super::{State, bearer, refuse, world};

/// A profile's licence.
type License = Option<String>;

#[derive(Serialize)]
pub(super) struct Profile {
    park_id: String,
    driver_id: String,
    license_pd_id: License,
    is_deleted: bool,
}

impl Told for License {
    type Item = Profile;

    fn usual(index: u64) -> Self {
        world::person(index).map(world::license_pd_id)
    }

    fn item((park_id, driver_id): (String, String), told: Option<Self>) -> Profile {
        let is_deleted = told.is_none();
        Profile { park_id, driver_id, license_pd_id: told.flatten(), is_deleted }
    }
}

pub(super) struct Store(Mutex<Revisions<License>>);

impl Store {
    pub(super) fn new(drivers: u64) -> Self {
        Self(Mutex::new(Revisions::new(drivers)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Revisions<License>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// # Errors
    /// What is wrong with the change.
    pub(super) fn set_profile(
        &self,
        park_id: &str,
        driver_id: &str,
        change: &Value,
    ) -> Result<(), String> {
        let told = if is_deleted(change) {
            None
        } else if let Some(number) = change.get("license_number").and_then(Value::as_str) {
            Some(Some(self.personal.store_license(number)?))
        } else {
            match change.get("license_pd_id") {
                Some(Value::String(id)) => Some(Some(id.clone())),
                Some(Value::Null) => Some(None),
                _ => return Err("`license_pd_id`, `license_number` or `is_deleted`".into()),
            }
        };
        self.driver_profiles.lock().set(park_id, driver_id, told)
    }

    /// # Errors
    /// There are too many.
    pub(super) fn set_drivers(&self, drivers: u64) -> Result<(), String> {
        self.driver_profiles.lock().resize(drivers)?;
        self.driver_categories.lock().resize(drivers)
    }
}

/// The body of a request for a page.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ask {
    pub(super) cursor: Option<String>,
    pub(super) limit: usize,
}

/// Answers a request for a page, whose items are called `name`.
pub(super) fn answer<T: Told>(name: &str, feed: &Revisions<T>, body: &[u8]) -> HttpResponse {
    let ask: Ask = match serde_json::from_slice(body) {
        Ok(ask) => ask,
        Err(error) => return bad_request("bad_request", &error.to_string()),
    };
    match feed.page(ask.cursor.as_deref(), ask.limit) {
        Ok(page) => HttpResponse::Ok().json(json!({
            name: page.items,
            "cursor": page.cursor,
            "has_more": page.has_more,
        })),
        Err(code) => bad_request(code, "it is out of range, or none of this feed's"),
    }
}

pub(super) fn bad_request(code: &str, message: &str) -> HttpResponse {
    refuse(StatusCode::BAD_REQUEST, code, message)
}

/// Answers a control route.
pub(super) fn done(result: Result<(), String>) -> HttpResponse {
    match result {
        Ok(()) => HttpResponse::NoContent().finish(),
        Err(message) => bad_request("bad_change", &message),
    }
}

pub(super) fn json_of(body: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.service(
        web::scope("/v1/profiles").route("/updates", web::post().to(updates)).wrap(from_fn(bearer)),
    );
}

pub(super) fn control(config: &mut web::ServiceConfig) {
    config
        .route("/driver-profiles", web::put().to(put))
        .route("/driver-profiles/cursors", web::delete().to(forget_cursors))
        .route("/driver-profiles/{park_id}/{driver_id}", web::put().to(put_profile));
}

async fn updates(state: web::Data<State>, body: web::Bytes) -> HttpResponse {
    answer("profiles", &state.driver_profiles.lock(), &body)
}

async fn put(state: web::Data<State>, body: web::Bytes) -> HttpResponse {
    let drivers = json_of(&body).and_then(|body| {
        body.get("drivers").and_then(Value::as_u64).ok_or_else(|| "`drivers`: a number".to_owned())
    });
    done(drivers.and_then(|drivers| state.set_drivers(drivers)))
}

async fn forget_cursors(state: web::Data<State>) -> HttpResponse {
    state.driver_profiles.lock().forget_cursors();
    done(Ok(()))
}

async fn put_profile(
    state: web::Data<State>,
    path: web::Path<(String, String)>,
    body: web::Bytes,
) -> HttpResponse {
    let (park_id, driver_id) = path.into_inner();
    done(json_of(&body).and_then(|change| state.set_profile(&park_id, &driver_id, &change)))
}
