//! Stands for `driver-trackstory`: where drivers are.
//!
//! Each moves round a place of his own, once in some minutes, unless the sandbox is frozen. Of those of
//! `world` nine in ten are in Moscow (the first hundred all), most of the others in Tver, and one in
//! fifty has no position. Whoever is not of `world` is in Moscow.
//!
//! | control route | does |
//! | --- | --- |
//! | `PUT /__sandbox/driver-trackstory/{park_id}/{driver_id}` `{"lat": 55.7, "lon": 37.6}` or `null` | he is there, or nowhere |
//! | `DELETE /__sandbox/driver-trackstory/{park_id}/{driver_id}` | he is where he usually is |

use std::collections::HashMap;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use actix_web::middleware::from_fn;
use actix_web::{HttpResponse, web};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::driver_profiles::{bad_request, done, json_of};
use super::parks::drivers::mix;
use super::{State, bearer, world};

/// Most drivers in one request.
const BATCH: usize = 500;
const MOST_PLACED: usize = 200_000;
/// So many of `world` are in Moscow for certain.
const CERTAIN: u64 = 100;

const MOSCOW: Place = Place { lat: 55.75, lon: 37.62 };
const TVER: Place = Place { lat: 56.86, lon: 35.90 };
/// How far from the middle a driver's own place is, in degrees, and how far round that he goes.
const SPREAD: Place = Place { lat: 0.08, lon: 0.12 };
const ROUND: f64 = 0.01;

/// Somewhere, in degrees.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Place {
    pub(super) lat: f64,
    pub(super) lon: f64,
}

type Key = (String, String);

pub(super) struct Store {
    placed: Mutex<HashMap<Key, Option<Place>>>,
    frozen: bool,
}

impl Store {
    pub(super) fn new(frozen: bool) -> Self {
        Self { placed: Mutex::default(), frozen }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Option<Place>>> {
        self.placed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// # Errors
    /// Too many were placed.
    pub(super) fn place(
        &self,
        park: &str,
        driver: &str,
        place: Option<Place>,
    ) -> Result<(), String> {
        let (mut placed, key) = (self.lock(), (park.to_owned(), driver.to_owned()));
        if placed.len() >= MOST_PLACED && !placed.contains_key(&key) {
            return Err(format!("{MOST_PLACED} drivers were placed"));
        }
        placed.insert(key, place);
        Ok(())
    }

    fn position(&self, key: Key, now: Timestamp) -> Option<Position> {
        let placed = self.lock().get(&key).copied();
        let seconds = if self.frozen { 0.0 } else { now.as_duration().as_secs_f64() };
        let place = placed.unwrap_or_else(|| usual(&key.0, &key.1, seconds))?;
        let (park_id, driver_id) = key;
        Some(Position { park_id, driver_id, place, at: now })
    }
}

/// Where a driver is.
fn usual(park: &str, driver: &str, seconds: f64) -> Option<Place> {
    let index = world::index(park, driver);
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one((park, driver));
    let dice = mix(index.unwrap_or(hash));
    let middle = match (index, dice % 100) {
        (Some(CERTAIN..), 0..2) => return None,
        (Some(CERTAIN..), 2..10) => TVER,
        _ => MOSCOW,
    };
    // From -1 to 1.
    let share = |shift: u32| {
        let bits = u16::try_from(mix(dice) >> shift & 0xffff).unwrap_or_default();
        f64::from(bits) / 32_767.5 - 1.0
    };
    let angle = seconds / (120.0 + 60.0 * share(32)) + share(48) * std::f64::consts::PI;
    Some(Place {
        lat: middle.lat + SPREAD.lat * share(0) + ROUND * angle.sin(),
        lon: middle.lon + SPREAD.lon * share(16) + ROUND * angle.cos(),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    drivers: Vec<Named>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    park_id: String,
    driver_id: String,
}

#[derive(Serialize)]
struct Position {
    park_id: String,
    driver_id: String,
    #[serde(flatten)]
    place: Place,
    at: Timestamp,
}

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.service(
        web::scope("/v1").route("/positions", web::post().to(positions)).wrap(from_fn(bearer)),
    );
}

pub(super) fn control(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/driver-trackstory/{park_id}/{driver_id}").put(put).delete(delete));
}

async fn positions(state: web::Data<State>, body: web::Bytes) -> HttpResponse {
    let ask: Ask = match serde_json::from_slice(&body) {
        Ok(ask) => ask,
        Err(error) => return bad_request("bad_request", &error.to_string()),
    };
    if ask.drivers.len() > BATCH {
        return bad_request("too_many_drivers", "at most 500 drivers");
    }
    let now = Timestamp::now();
    let keys = ask.drivers.into_iter().map(|named| (named.park_id, named.driver_id));
    let positions: Vec<_> =
        keys.filter_map(|key| state.driver_trackstory.position(key, now)).collect();
    HttpResponse::Ok().json(json!({ "positions": positions }))
}

async fn put(
    state: web::Data<State>,
    path: web::Path<(String, String)>,
    body: web::Bytes,
) -> HttpResponse {
    let place = json_of(&body).and_then(|place| {
        serde_json::from_value::<Option<Place>>(place).map_err(|error| error.to_string())
    });
    done(place.and_then(|place| state.driver_trackstory.place(&path.0, &path.1, place)))
}

async fn delete(state: web::Data<State>, path: web::Path<(String, String)>) -> HttpResponse {
    state.driver_trackstory.lock().remove(&path.into_inner());
    done(Ok(()))
}
