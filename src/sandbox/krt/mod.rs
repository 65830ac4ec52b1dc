//! Stands for KRT, the regulator's system.
//!
//! Login `fleet` with password `sandbox` gets a token for an hour. The ids of drivers and the numbers of
//! their licences are those of `world`, and what was added. Who comes on line begins a shift of twelve
//! hours, which goes on while he is off line; then it is `expired`, and once he is off line he is
//! `resting` for eight hours. A `request_id` is taken once: its repetition gets the first answer.
//!
//! | control route | does |
//! | --- | --- |
//! | `PUT /__sandbox/krt` `{"login"?, "password"?, "token_seconds"?, "shift_seconds"?, "rest_seconds"?, "bulk"?: true, "per_second"?: 50}` | sets these; with `per_second` more statuses than that are 429; without `bulk` its route is 404 |
//! | `DELETE /__sandbox/krt/tokens` | refuses all tokens that were given |
//! | `PUT /__sandbox/krt/drivers/{driver_id}` `{"license_number"?, "session_status"?, "ended_at"?}` | adds a driver; the state of his shift is this one, whatever is reported |
//! | `GET /__sandbox/krt/reports` | what was reported: by driver, the oldest first |
//! | `GET /__sandbox/krt/counts` | how much |

mod regulator;
mod shifts;

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, RETRY_AFTER};
use actix_web::middleware::{Next, from_fn};
use actix_web::{HttpResponse, web};
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub use self::regulator::{KrtCounts, KrtReport};
pub(super) use self::regulator::{Regulator, Store};

use self::regulator::{Refusal, Status};
use super::driver_profiles::{bad_request, done, json_of};
use super::{State, refuse};

/// Most statuses in one request.
const BULK: usize = 500;

#[derive(Deserialize)]
struct Login {
    login: String,
    password: String,
}

#[derive(Deserialize)]
struct Check {
    driver_id: String,
    license_number: String,
}

#[derive(Deserialize)]
struct Bulk {
    items: Vec<Status>,
}

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.route("/api/v1/token", web::post().to(token)).service(
        web::scope("/api/v1")
            .route("/drivers/check", web::post().to(check))
            .route("/statuses", web::post().to(status))
            .route("/statuses/bulk", web::post().to(bulk))
            .wrap(from_fn(known_token)),
    );
}

pub(super) fn control(config: &mut web::ServiceConfig) {
    config
        .route("/krt", web::put().to(put))
        .route("/krt/tokens", web::delete().to(delete_tokens))
        .route("/krt/drivers/{driver_id}", web::put().to(put_driver))
        .route("/krt/reports", web::get().to(reports))
        .route("/krt/counts", web::get().to(counts));
}

async fn known_token(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> actix_web::Result<ServiceResponse<BoxBody>> {
    let authorization = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = authorization.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    let state = request.app_data::<web::Data<State>>().cloned();
    if !state.is_some_and(|state| state.krt.lock().knows(token, Timestamp::now())) {
        let answer = refuse(StatusCode::UNAUTHORIZED, "unauthorized", "the token is not valid");
        return Ok(request.into_response(answer));
    }
    next.call(request).await
}

/// Reads a body and does `work` with it.
fn with<T: DeserializeOwned>(
    state: &State,
    body: &[u8],
    work: impl FnOnce(&mut Regulator, T) -> HttpResponse,
) -> HttpResponse {
    match serde_json::from_slice(body) {
        Ok(body) => work(&mut state.krt.lock(), body),
        Err(error) => bad_request("bad_request", &error.to_string()),
    }
}

async fn token(state: web::Data<State>, body: web::Bytes) -> HttpResponse {
    with(&state, &body, |krt, Login { login, password }| {
        match krt.give_token(&login, &password, Timestamp::now()) {
            Some((token, expires_at)) => {
                HttpResponse::Ok().json(json!({ "token": token, "expires_at": expires_at }))
            }
            None => refuse(StatusCode::UNAUTHORIZED, "bad_login", "login or password is wrong"),
        }
    })
}

async fn check(state: web::Data<State>, body: web::Bytes) -> HttpResponse {
    with(&state, &body, |krt, Check { driver_id, license_number }| {
        match krt.license_of(&driver_id) {
            Some(license) => HttpResponse::Ok().json(json!({ "match": license == license_number })),
            None => refuse(StatusCode::NOT_FOUND, "unknown_driver", "there is no such driver"),
        }
    })
}

async fn status(state: web::Data<State>, body: web::Bytes) -> HttpResponse {
    with(&state, &body, |krt, status| match krt.take(status, Timestamp::now()) {
        Ok(shift) => HttpResponse::Ok().json(shift),
        Err(Refusal::TooMany) => HttpResponse::TooManyRequests()
            .insert_header((RETRY_AFTER, 1))
            .json(json!({ "code": "too_many", "message": "fewer calls, please" })),
        Err(Refusal::UnknownDriver) => {
            refuse(StatusCode::NOT_FOUND, "unknown_driver", "there is no such driver")
        }
        Err(Refusal::OtherLicense) => {
            let message = "the licence is not this driver's";
            refuse(StatusCode::UNPROCESSABLE_ENTITY, "other_license", message)
        }
    })
}

async fn bulk(state: web::Data<State>, body: web::Bytes) -> HttpResponse {
    if !state.krt.lock().has_bulk() {
        return refuse(StatusCode::NOT_FOUND, "unknown_route", "there is no such route");
    }
    with(&state, &body, |krt, Bulk { items }| {
        if items.len() > BULK {
            return bad_request("too_many_items", "at most 500 items");
        }
        let now = Timestamp::now();
        let items: Vec<Value> = items.into_iter().map(|item| one_of_bulk(krt, item, now)).collect();
        HttpResponse::Ok().json(json!({ "items": items }))
    })
}

fn one_of_bulk(krt: &mut Regulator, item: Status, now: Timestamp) -> Value {
    let request_id = item.request_id.clone();
    let code = match krt.take(item, now) {
        Ok(shift) => {
            return json!({
                "request_id": request_id,
                "code": 200,
                "session_status": shift.session_status,
                "ended_at": shift.ended_at,
            });
        }
        Err(Refusal::TooMany) => 429,
        Err(Refusal::UnknownDriver) => 404,
        Err(Refusal::OtherLicense) => 422,
    };
    json!({ "request_id": request_id, "code": code })
}

async fn put(state: web::Data<State>, body: web::Bytes) -> HttpResponse {
    done(json_of(&body).and_then(|change| state.krt.lock().configure(change)))
}

async fn delete_tokens(state: web::Data<State>) -> HttpResponse {
    state.krt.lock().revoke_tokens();
    done(Ok(()))
}

async fn put_driver(
    state: web::Data<State>,
    driver_id: web::Path<String>,
    body: web::Bytes,
) -> HttpResponse {
    done(json_of(&body).and_then(|change| state.krt.lock().set_driver(&driver_id, change)))
}

async fn reports(state: web::Data<State>) -> HttpResponse {
    HttpResponse::Ok().json(state.krt.lock().by_driver())
}

async fn counts(state: web::Data<State>) -> HttpResponse {
    HttpResponse::Ok().json(state.krt.lock().counts())
}
