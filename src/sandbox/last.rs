//! The last request that each operation of a stand-in got, for tests that look what was sent.
//!
//! `GET /__sandbox/{stand_in}/last/{operation}` → `{"headers": {...}, "body": ...}`; an operation
//! is the last fixed segment of a route (`draft`). Also requests that met a fault are here. The
//! body is as it came in; what is not JSON is a string.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;
use actix_web::web::Bytes;
use actix_web::{HttpResponse, web};
use serde_json::value::RawValue;

use super::{State, refuse};

type Operation = (String, String);

/// By stand-in and operation: as many as there are routes.
#[derive(Default)]
pub(super) struct Last(Mutex<HashMap<Operation, (HeaderMap, Bytes)>>);

impl Last {
    /// `route` is a call's method and path template.
    pub(super) fn set(&self, stand_in: &str, route: &str, headers: &HeaderMap, body: Bytes) {
        let key = (stand_in.to_owned(), operation(route).to_owned());
        self.lock().insert(key, (headers.clone(), body));
    }

    pub(super) fn get(&self, stand_in: &str, operation: &str) -> Option<(HeaderMap, Bytes)> {
        self.lock().get(&(stand_in.to_owned(), operation.to_owned())).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Operation, (HeaderMap, Bytes)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn operation(route: &str) -> &str {
    route.rsplit('/').find(|segment| !segment.starts_with('{')).unwrap_or(route)
}

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.route("/{stand_in}/last/{operation}", web::get().to(get));
}

async fn get(state: web::Data<State>, path: web::Path<Operation>) -> HttpResponse {
    let (stand_in, operation) = path.into_inner();
    let Some((headers, body)) = state.last.get(&stand_in, &operation) else {
        return refuse(StatusCode::NOT_FOUND, "not_found", "it was not called yet");
    };
    let headers: BTreeMap<_, _> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes())))
        .collect();
    match serde_json::from_slice::<&RawValue>(&body) {
        Ok(body) => HttpResponse::Ok().json(Seen { headers, body }),
        Err(_) => HttpResponse::Ok().json(Seen { headers, body: String::from_utf8_lossy(&body) }),
    }
}

#[derive(serde::Serialize)]
struct Seen<H, B> {
    headers: H,
    body: B,
}

#[cfg(test)]
mod tests {
    use super::operation;

    #[test]
    fn an_operation_is_the_last_fixed_segment() {
        assert_eq!(operation("POST /v1/orders/draft"), "draft");
        assert_eq!(operation("GET /v1/parks/{park_id}"), "parks");
        assert_eq!(operation("unknown"), "unknown");
    }
}
