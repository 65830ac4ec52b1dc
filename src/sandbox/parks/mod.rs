//! Stands for `parks`: the drivers of a park, page by page.
//!
//! `park-1` has 25 000 drivers, `park-2` 20, `park-3` 12 000; any other `park-...` and
//! `inactive-...` has 100, and any other id none. They are the same after every restart. Of 100
//! drivers 85 are `working`, 10 `not_working` and 5 `fired`; work rules are `rule-1` to `rule-4`.
//! Of those who work, two of five are `online` and one is `busy`, which changes every 15 minutes
//! (each driver at his own time) unless the park or the sandbox is frozen.
//!
//! An empty list in a filter is no filter. Unknown fields, a limit out of 1..=1000 and a cursor that
//! is another park's are 400. A page shorter than the limit is the last one.
//!
//! | control route | does |
//! | --- | --- |
//! | `PUT /__sandbox/parks/{park_id}` `{"drivers"?: 100000, "frozen"?: true}` | so many drivers (at most 1 000 000) and none that were changed or added; stops or starts time |
//! | `PUT /__sandbox/parks/{park_id}/drivers/{id}` `{"first_name"?, "work_rule_id"?, "work_status"?, "current_status"?}` | changes a driver, or adds one; an empty `first_name` is left out of answers |
//! | `DELETE /__sandbox/parks/{park_id}` | makes it the usual park |

pub(super) mod drivers;

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use actix_web::http::StatusCode;
use actix_web::middleware::from_fn;
use actix_web::{HttpResponse, web};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::drivers::{Change, CurrentStatus, Driver, Drivers, Filter, WorkStatus};
use super::{State, bearer, refuse};

const MOST_DRIVERS: u64 = 1_000_000;
const MOST_CHANGES: usize = 10_000;
const MOST_PARKS: usize = 10_000;
const PAGE: usize = 1_000;

/// The parks that are not as usual.
pub(super) struct Store {
    parks: RwLock<HashMap<String, Drivers>>,
    frozen: bool,
}

impl Store {
    /// Parks in which time stands still, if `frozen`.
    pub(super) fn new(frozen: bool) -> Self {
        Self { parks: RwLock::default(), frozen }
    }

    /// # Errors
    /// What is wrong with the settings.
    pub(super) fn set(&self, park_id: &str, settings: Value) -> Result<(), String> {
        let settings: Settings = parse(settings)?;
        if settings.drivers.is_some_and(|drivers| drivers > MOST_DRIVERS) {
            return Err(format!("at most {MOST_DRIVERS} drivers"));
        }
        self.edit(park_id, |park| {
            if let Some(drivers) = settings.drivers {
                park.resize(drivers);
            }
            park.frozen = settings.frozen.unwrap_or(park.frozen);
            Ok(())
        })
    }

    /// # Errors
    /// What is wrong with the change.
    pub(super) fn set_driver(&self, park_id: &str, id: &str, change: Value) -> Result<(), String> {
        let change: Change = parse(change)?;
        self.edit(park_id, |park| {
            let changed = park.change(id, change, MOST_CHANGES);
            changed.then_some(()).ok_or_else(|| format!("{MOST_CHANGES} drivers are changed"))
        })
    }

    /// The ids of all the drivers of a park.
    pub(super) fn ids(&self, park_id: &str) -> Vec<String> {
        self.with(park_id, |park| (0..park.end()).filter_map(|at| park.id(at)).collect())
    }

    fn edit(
        &self,
        park_id: &str,
        edit: impl FnOnce(&mut Drivers) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut parks = self.write();
        if parks.len() >= MOST_PARKS && !parks.contains_key(park_id) {
            return Err(format!("{MOST_PARKS} parks are changed"));
        }
        let usual = || Drivers::new(park_id, self.frozen);
        edit(parks.entry(park_id.to_owned()).or_insert_with(usual))
    }

    fn with<T>(&self, park_id: &str, read: impl FnOnce(&Drivers) -> T) -> T {
        match self.read().get(park_id) {
            Some(park) => read(park),
            None => read(&Drivers::new(park_id, self.frozen)),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<String, Drivers>> {
        self.parks.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<String, Drivers>> {
        self.parks.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn parse<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| error.to_string())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    drivers: Option<u64>,
    frozen: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    park_id: String,
    #[serde(default)]
    work_rule_ids: Vec<String>,
    #[serde(default)]
    work_statuses: Vec<WorkStatus>,
    #[serde(default)]
    current_statuses: Vec<CurrentStatus>,
    #[serde(default)]
    ids: Vec<String>,
    limit: usize,
    cursor: Option<String>,
}

#[derive(Serialize)]
struct Page {
    driver_profiles: Vec<Driver>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.service(
        web::scope("/v1/driver-profiles")
            .route("/list", web::post().to(list))
            .wrap(from_fn(bearer)),
    );
}

pub(super) fn control(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/parks/{park_id}").put(put).delete(delete))
        .service(web::resource("/parks/{park_id}/drivers/{id}").put(put_driver));
}

async fn list(state: web::Data<State>, body: web::Bytes) -> HttpResponse {
    let list: List = match serde_json::from_slice(&body) {
        Ok(list) => list,
        Err(error) => return bad_request("bad_request", &error.to_string()),
    };
    if !(1..=PAGE).contains(&list.limit) {
        return bad_request("bad_limit", "`limit` must be 1 to 1000");
    }
    match state.parks.with(&list.park_id.clone(), |park| page(park, list)) {
        Some(page) => HttpResponse::Ok().json(page),
        None => bad_request("bad_cursor", "the cursor is not one of this park's"),
    }
}

/// Nothing when the cursor is not one of the park's.
fn page(park: &Drivers, list: List) -> Option<Page> {
    let start = match &list.cursor {
        Some(cursor) => position(park, cursor)?,
        None => 0,
    };
    let filter = Filter {
        work_rule_ids: list.work_rule_ids,
        work_statuses: list.work_statuses,
        current_statuses: list.current_statuses,
    };
    let positions: Box<dyn Iterator<Item = u64>> = if list.ids.is_empty() {
        Box::new(start..park.end())
    } else {
        let mut named: Vec<u64> = list.ids.iter().filter_map(|id| park.position(id)).collect();
        named.sort_unstable();
        named.dedup();
        Box::new(named.into_iter().filter(move |position| *position >= start))
    };
    let now = Timestamp::now();
    let mut found = positions.filter_map(|at| Some((at, park.wanted(at, &filter, now)?)));
    let driver_profiles = found.by_ref().take(list.limit).map(|(_, driver)| driver).collect();
    // Only when there is one more.
    let cursor = found.next().map(|(next, _)| cursor(park, next));
    Some(Page { driver_profiles, cursor })
}

fn cursor(park: &Drivers, position: u64) -> String {
    URL_SAFE_NO_PAD.encode(format!("{:x}.{position}", park.seed))
}

fn position(park: &Drivers, cursor: &str) -> Option<u64> {
    let cursor = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    let (seed, position) = cursor.split_once('.')?;
    (u64::from_str_radix(seed, 16) == Ok(park.seed)).then_some(())?;
    position.parse().ok()
}

fn bad_request(code: &str, message: &str) -> HttpResponse {
    refuse(StatusCode::BAD_REQUEST, code, message)
}

async fn put(
    state: web::Data<State>,
    park_id: web::Path<String>,
    body: web::Bytes,
) -> HttpResponse {
    done(json(&body).and_then(|settings| state.parks.set(&park_id, settings)))
}

async fn put_driver(
    state: web::Data<State>,
    path: web::Path<(String, String)>,
    body: web::Bytes,
) -> HttpResponse {
    let (park_id, id) = path.into_inner();
    done(json(&body).and_then(|change| state.parks.set_driver(&park_id, &id, change)))
}

async fn delete(state: web::Data<State>, park_id: web::Path<String>) -> HttpResponse {
    state.parks.write().remove(park_id.as_str());
    done(Ok(()))
}

fn json(body: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

fn done(result: Result<(), String>) -> HttpResponse {
    match result {
        Ok(()) => HttpResponse::NoContent().finish(),
        Err(message) => bad_request("bad_park", &message),
    }
}
