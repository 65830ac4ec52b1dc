//! Stands for `driver-categories-api`: in which categories a park's driver works. Its drivers are those
//! of `world`; `PUT /__sandbox/driver-profiles` sets how many.
//!
//! | control route | does |
//! | --- | --- |
//! | `DELETE /__sandbox/driver-categories-api/cursors` | refuses all cursors that were given out |
//! | `PUT /__sandbox/driver-categories-api/{park_id}/{driver_id}` `{"categories": [...]}` or `{"is_deleted": true}` | changes a driver, or adds one |

use std::sync::{Mutex, MutexGuard, PoisonError};

use actix_web::middleware::from_fn;
use actix_web::{HttpResponse, web};
use serde::{Deserialize as _, Serialize};
use serde_json::Value;

use super::driver_profiles::{answer, done, json_of};
use super::revisions::{Revisions, Told, is_deleted};
use super::{State, bearer, world};

type Categories = Vec<String>;

#[derive(Serialize)]
pub(super) struct Item {
    park_id: String,
    driver_id: String,
    categories: Categories,
    is_deleted: bool,
}

impl Told for Categories {
    type Item = Item;

    fn usual(index: u64) -> Self {
        world::categories(index).iter().map(|name| (*name).to_owned()).collect()
    }

    fn item((park_id, driver_id): (String, String), told: Option<Self>) -> Item {
        let is_deleted = told.is_none();
        Item { park_id, driver_id, categories: told.unwrap_or_default(), is_deleted }
    }
}

pub(super) struct Store(Mutex<Revisions<Categories>>);

impl Store {
    pub(super) fn new(drivers: u64) -> Self {
        Self(Mutex::new(Revisions::new(drivers)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Revisions<Categories>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// # Errors
    /// What is wrong with the change.
    pub(super) fn set(&self, park_id: &str, driver_id: &str, change: &Value) -> Result<(), String> {
        let told = if is_deleted(change) {
            None
        } else {
            let names = change.get("categories").ok_or("`categories` or `is_deleted`")?;
            Some(Categories::deserialize(names).map_err(|error| error.to_string())?)
        };
        self.lock().set(park_id, driver_id, told)
    }
}

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.service(
        web::scope("/v1/categories")
            .route("/updates", web::post().to(updates))
            .wrap(from_fn(bearer)),
    );
}

pub(super) fn control(config: &mut web::ServiceConfig) {
    config
        .route("/driver-categories-api/cursors", web::delete().to(forget_cursors))
        .route("/driver-categories-api/{park_id}/{driver_id}", web::put().to(put_categories));
}

async fn updates(state: web::Data<State>, body: web::Bytes) -> HttpResponse {
    answer("items", &state.driver_categories.lock(), &body)
}

async fn forget_cursors(state: web::Data<State>) -> HttpResponse {
    state.driver_categories.lock().forget_cursors();
    done(Ok(()))
}

async fn put_categories(
    state: web::Data<State>,
    path: web::Path<(String, String)>,
    body: web::Bytes,
) -> HttpResponse {
    let (park_id, driver_id) = path.into_inner();
    done(
        json_of(&body)
            .and_then(|change| state.driver_categories.set(&park_id, &driver_id, &change)),
    )
}
