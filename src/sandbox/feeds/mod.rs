//! Stands for `feeds`: delivers to channels, once for each request, and counts.
//!
//! A channel is rejected when it is not `contractor:PARK:ID` (`bad_channel`), when the id ends in
//! `-blocked` (`blocked`), when its own payload has a text that is empty or longer than 4096
//! characters (`bad_text`), or as a control route says. A common text like that is 400, and so are
//! unknown fields, another service, no channels or more than 1000. A request that comes again gets
//! the first answer, also with another body, which is counted as a mismatch.
//!
//! | control route | does |
//! | --- | --- |
//! | `GET /__sandbox/feeds/delivered?park=...` | `{"drivers", "deliveries", "doubled", "removed", "rejected", "requests", "mismatches"}`; without `park`, of all |
//! | `DELETE /__sandbox/feeds/delivered` | forgets all of it, and every request |
//! | `PUT /__sandbox/feeds/rejected/{channel}` `{"code"}` · `DELETE` | rejects a channel from now on |
//!
//! `doubled` counts payloads that a channel got before, by whatever request: a test that looks at it
//! gives each message a text of its own.

mod deliveries;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use actix_web::http::StatusCode;
use actix_web::middleware::from_fn;
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::json;

pub use self::deliveries::Delivered;

use self::deliveries::{Create, Deliveries, Failure};
use super::{State, bearer, refuse};

const MOST_CHANNELS: usize = 1_000;
const SERVICE: &str = "fleet-communications";

#[derive(Default)]
pub(super) struct Store(Mutex<Deliveries>);

impl Store {
    pub(super) fn count(&self, park: Option<&str>) -> Delivered {
        self.lock().count(park)
    }

    pub(super) fn by_channel(&self, park: &str) -> BTreeMap<String, u64> {
        self.lock().by_channel(park)
    }

    /// Whether there was room for it.
    pub(super) fn reject(&self, channel: &str, code: Option<String>) -> bool {
        self.lock().reject(channel, code)
    }

    fn lock(&self) -> MutexGuard<'_, Deliveries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.service(
        web::scope("/v1/feeds")
            .route("/create", web::post().to(create))
            .route("/remove", web::post().to(remove))
            .wrap(from_fn(bearer)),
    );
}

pub(super) fn control(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/feeds/delivered").get(delivered).delete(forget))
        .service(web::resource("/feeds/rejected/{channel}").put(reject).delete(accept));
}

async fn create(state: web::Data<State>, body: web::Bytes) -> HttpResponse {
    let create: Create = match serde_json::from_slice(&body) {
        Ok(create) => create,
        Err(error) => return bad_request("bad_request", &error.to_string()),
    };
    if create.request_id.is_empty() || create.service != SERVICE {
        return bad_request("bad_request", "`request_id` or `service` is wrong");
    }
    if !(1..=MOST_CHANNELS).contains(&create.channels.len()) {
        return bad_request("bad_channels", "there must be 1 to 1000 channels");
    }
    if !create.payload.is_valid() {
        return bad_request("bad_payload", "the text has 1 to 4096 characters, `kind` some");
    }
    let created = state.feeds.lock().create(create);
    match created {
        Ok(created) => HttpResponse::Ok().json(created),
        Err(Failure::Full) => {
            let message = "DELETE /__sandbox/feeds/delivered makes room";
            refuse(StatusCode::INTERNAL_SERVER_ERROR, "sandbox_full", message)
        }
        Err(Failure::Json(error)) => {
            refuse(StatusCode::INTERNAL_SERVER_ERROR, "json", &error.to_string())
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Remove {
    request_id: String,
}

async fn remove(state: web::Data<State>, body: web::Bytes) -> HttpResponse {
    match serde_json::from_slice::<Remove>(&body) {
        Ok(remove) => {
            let removed = state.feeds.lock().remove(&remove.request_id);
            HttpResponse::Ok().json(json!({ "removed": removed }))
        }
        Err(error) => bad_request("bad_request", &error.to_string()),
    }
}

fn bad_request(code: &str, message: &str) -> HttpResponse {
    refuse(StatusCode::BAD_REQUEST, code, message)
}

#[derive(Deserialize)]
struct OfPark {
    park: Option<String>,
}

async fn delivered(state: web::Data<State>, of: web::Query<OfPark>) -> HttpResponse {
    HttpResponse::Ok().json(state.feeds.count(of.park.as_deref()))
}

async fn forget(state: web::Data<State>) -> HttpResponse {
    state.feeds.lock().clear();
    HttpResponse::NoContent().finish()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rejection {
    code: String,
}

async fn reject(
    state: web::Data<State>,
    channel: web::Path<String>,
    body: web::Bytes,
) -> HttpResponse {
    match serde_json::from_slice::<Rejection>(&body) {
        Ok(rejection) if state.feeds.reject(&channel, Some(rejection.code.clone())) => {
            HttpResponse::NoContent().finish()
        }
        Ok(_) => bad_request("too_many", "too many channels are rejected already"),
        Err(error) => bad_request("bad_request", &error.to_string()),
    }
}

async fn accept(state: web::Data<State>, channel: web::Path<String>) -> HttpResponse {
    state.feeds.reject(&channel, None);
    HttpResponse::NoContent().finish()
}
