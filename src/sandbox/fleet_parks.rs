//! Stands for `fleet-parks`: what is known about a park.
//!
//! | id | there is |
//! | --- | --- |
//! | `park-1` | a `saas` park in Moscow (RUB) |
//! | `park-2` | a `whitelabel` park in Almaty (KZT) |
//! | `park-3` | an `aggregator` park in Yekaterinburg (RUB, five hours ahead of UTC) |
//! | any other `park-...` | the same as `park-1` |
//! | `inactive-...` | the same, `is_active` is false |
//! | anything else (`unknown-...`) | no such park: 404 |
//!
//! `PUT /__sandbox/fleet-parks/{park_id}` with some of a park's fields lays them over what is
//! above; a park that was not there is made of `park-1`. `DELETE` takes them away again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use actix_web::http::StatusCode;
use actix_web::middleware::from_fn;
use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};

use super::{State, bearer, refuse};

/// How many parks can be changed.
const MOST: usize = 10_000;

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Park {
    id: String,
    dispatch_mode: DispatchMode,
    locale: String,
    currency: String,
    time_zone: String,
    country_id: String,
    city_id: String,
    is_active: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum DispatchMode {
    Whitelabel,
    Saas,
    Aggregator,
}

impl Park {
    /// The park that is there without changes.
    fn usual(id: &str) -> Option<Self> {
        match id {
            _ if id.starts_with("park-") => Some(Self::plain(id)),
            _ if id.starts_with("inactive-") => Some(Self { is_active: false, ..Self::plain(id) }),
            _ => None,
        }
    }

    fn plain(id: &str) -> Self {
        let (dispatch_mode, currency, time_zone, country_id, city_id) = match id {
            "park-2" => (DispatchMode::Whitelabel, "KZT", "Asia/Almaty", "kaz", "almaty"),
            "park-3" => {
                (DispatchMode::Aggregator, "RUB", "Asia/Yekaterinburg", "rus", "yekaterinburg")
            }
            _ => (DispatchMode::Saas, "RUB", "Europe/Moscow", "rus", "moscow"),
        };
        Self {
            id: id.to_owned(),
            dispatch_mode,
            locale: "ru".into(),
            currency: currency.into(),
            time_zone: time_zone.into(),
            country_id: country_id.into(),
            city_id: city_id.into(),
            is_active: true,
        }
    }
}

/// Some fields of a park.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    dispatch_mode: Option<DispatchMode>,
    locale: Option<String>,
    currency: Option<String>,
    time_zone: Option<String>,
    country_id: Option<String>,
    city_id: Option<String>,
    is_active: Option<bool>,
}

impl Change {
    fn lay_over(self, park: Park) -> Park {
        Park {
            id: park.id,
            dispatch_mode: self.dispatch_mode.unwrap_or(park.dispatch_mode),
            locale: self.locale.unwrap_or(park.locale),
            currency: self.currency.unwrap_or(park.currency),
            time_zone: self.time_zone.unwrap_or(park.time_zone),
            country_id: self.country_id.unwrap_or(park.country_id),
            city_id: self.city_id.unwrap_or(park.city_id),
            is_active: self.is_active.unwrap_or(park.is_active),
        }
    }
}

/// The parks that are not as usual.
#[derive(Default)]
pub(super) struct Store(Mutex<HashMap<String, Change>>);

impl Store {
    /// # Errors
    /// What is wrong with the change.
    pub(super) fn change(&self, park_id: &str, change: serde_json::Value) -> Result<(), String> {
        let change = serde_json::from_value(change).map_err(|error| error.to_string())?;
        let mut changes = self.lock();
        if changes.len() >= MOST && !changes.contains_key(park_id) {
            return Err(format!("{MOST} parks are changed already"));
        }
        changes.insert(park_id.to_owned(), change);
        Ok(())
    }

    fn get(&self, park_id: &str) -> Option<Park> {
        let Some(change) = self.lock().get(park_id).cloned() else { return Park::usual(park_id) };
        Some(change.lay_over(Park::usual(park_id).unwrap_or_else(|| Park::plain(park_id))))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Change>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.service(
        web::scope("/v1/parks").route("/{park_id}", web::get().to(get)).wrap(from_fn(bearer)),
    );
}

pub(super) fn control(config: &mut web::ServiceConfig) {
    config.service(web::resource("/fleet-parks/{park_id}").put(put).delete(delete));
}

async fn get(state: web::Data<State>, park_id: web::Path<String>) -> HttpResponse {
    match state.fleet_parks.get(&park_id) {
        Some(park) => HttpResponse::Ok().json(park),
        None => refuse(StatusCode::NOT_FOUND, "not_found", "there is no such park"),
    }
}

async fn put(
    state: web::Data<State>,
    park_id: web::Path<String>,
    body: web::Bytes,
) -> HttpResponse {
    let change = serde_json::from_slice(&body).map_err(|error| error.to_string());
    match change.and_then(|change| state.fleet_parks.change(&park_id, change)) {
        Ok(()) => HttpResponse::NoContent().finish(),
        Err(message) => refuse(StatusCode::BAD_REQUEST, "bad_park", &message),
    }
}

async fn delete(state: web::Data<State>, park_id: web::Path<String>) -> HttpResponse {
    state.fleet_parks.lock().remove(park_id.as_str());
    HttpResponse::NoContent().finish()
}
