//! Faults on demand, around every stand-in.
//!
//! `PUT /__sandbox/faults/{stand_in}` sets the fault of a stand-in in place of what was set before,
//! `DELETE` clears it, `GET /__sandbox/faults` lists them. With `route` it strikes only where the
//! path contains that text; with `times` it clears itself after so many strikes. A list sets
//! several (at most 16): a call meets the first that strikes its route.
//!
//! | kind | what the client sees | is the work done? |
//! | --- | --- | --- |
//! | `status` (`status`, `retry_after`?) | that status with an error body | no |
//! | `answer` (`status`, `body`, `retry_after`?) | that status with that JSON body | no |
//! | `delay` (`ms`) | the answer, later | yes, after the delay |
//! | `delay_after_work` (`ms`) | the same | yes, before the delay |
//! | `hang` | nothing, for ever | no |
//! | `close` | the connection ends (FIN) without a byte of an answer | no |
//! | `close_after_work` | the same | yes |
//! | `garbage` | 200, a body that is not JSON | no |
//! | `truncate` | the head and half of the announced body, then the connection ends | yes |
//! | `huge` | 200 and a body without end | no |
//! | `slow_body` (`ms`) | the head at once, then a byte every `ms` | yes |

use std::any::Any;
use std::collections::BTreeMap;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd as _;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody as _, SizedStream, to_bytes};
use actix_web::dev::{Extensions, Payload, ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, RETRY_AFTER};
use actix_web::middleware::Next;
use actix_web::rt::net::TcpStream as ServerStream;
use actix_web::rt::time::sleep;
use actix_web::web::Bytes;
use actix_web::{HttpResponse, web};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{STAND_INS, State, refuse};

/// Long enough for what was written to leave before the connection is shut.
const FLUSH: Duration = Duration::from_millis(50);
const LONGEST_MS: u64 = 600_000;
/// How many faults a stand-in can have at a time.
const MOST: usize = 16;

/// A fault as it is asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fault {
    kind: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_after: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<serde_json::Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    route: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    times: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Status,
    Answer,
    Delay,
    DelayAfterWork,
    Hang,
    Close,
    CloseAfterWork,
    Garbage,
    Truncate,
    Huge,
    SlowBody,
}

impl Fault {
    fn check(&self) -> Result<(), String> {
        let takes_ms = matches!(self.kind, Kind::Delay | Kind::DelayAfterWork | Kind::SlowBody);
        if takes_ms != self.ms.is_some_and(|ms| ms <= LONGEST_MS)
            || (!takes_ms && self.ms.is_some())
        {
            return Err(format!(
                "`ms` (at most {LONGEST_MS}) belongs to delay, delay_after_work and slow_body"
            ));
        }
        let valid_status = self.status.is_some_and(|status| (200..=599).contains(&status));
        let is_status = matches!(self.kind, Kind::Status | Kind::Answer);
        if is_status != valid_status || (!is_status && self.status.is_some()) {
            return Err("`status` (200..=599) belongs to status and answer".into());
        }
        if self.retry_after.is_some() && !is_status {
            return Err("`retry_after` belongs to status and answer".into());
        }
        if self.body.is_some() != (self.kind == Kind::Answer) {
            return Err("`body` belongs to answer".into());
        }
        if self.times == Some(0) {
            return Err("`times` must be at least 1".into());
        }
        Ok(())
    }

    fn pause(&self) -> Duration {
        Duration::from_millis(self.ms.unwrap_or_default())
    }
}

/// As they are listed: one, or several.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Faults {
    One(Fault),
    Several(Vec<Fault>),
}

type ByStandIn = BTreeMap<&'static str, Vec<Fault>>;

/// The faults that are set for each stand-in.
#[derive(Default)]
pub(super) struct Board(Mutex<ByStandIn>);

impl Board {
    pub(super) fn set(&self, stand_in: &str, fault: serde_json::Value) -> Result<(), String> {
        let name = STAND_INS.iter().find(|name| **name == stand_in);
        let name = name.ok_or_else(|| format!("there is no stand-in `{stand_in}`"))?;
        let faults = if fault.is_array() { fault } else { json!([fault]) };
        let faults: Vec<Fault> =
            serde_json::from_value(faults).map_err(|error| error.to_string())?;
        if faults.is_empty() || faults.len() > MOST {
            return Err(format!("a list has 1 to {MOST} faults"));
        }
        faults.iter().try_for_each(Fault::check)?;
        self.lock().insert(name, faults);
        Ok(())
    }

    pub(super) fn clear(&self, stand_in: &str) {
        self.lock().remove(stand_in);
    }

    /// The fault that strikes a request of `path`, if one does.
    fn strike(&self, stand_in: &str, path: &str) -> Option<Fault> {
        let mut board = self.lock();
        let faults = board.get_mut(stand_in)?;
        let strikes =
            |fault: &Fault| fault.route.as_ref().is_none_or(|route| path.contains(route.as_str()));
        let index = faults.iter().position(strikes)?;
        let fault = faults.get_mut(index)?;
        let struck = fault.clone();
        match &mut fault.times {
            Some(1) => drop(faults.remove(index)),
            Some(times) => *times -= 1,
            None => {}
        }
        if faults.is_empty() {
            board.remove(stand_in);
        }
        Some(struck)
    }

    fn list(&self) -> BTreeMap<&'static str, Faults> {
        let board = self.lock();
        let faults = board.iter().map(|(name, faults)| {
            let faults = match faults.as_slice() {
                [fault] => Faults::One(fault.clone()),
                faults => Faults::Several(faults.to_vec()),
            };
            (*name, faults)
        });
        faults.collect()
    }

    fn lock(&self) -> MutexGuard<'_, ByStandIn> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/faults", web::get().to(list))
        .service(web::resource("/faults/{stand_in}").put(put).delete(delete));
}

async fn list(state: web::Data<State>) -> HttpResponse {
    HttpResponse::Ok().json(state.faults.list())
}

async fn put(state: web::Data<State>, stand_in: web::Path<String>, body: Bytes) -> HttpResponse {
    let fault = serde_json::from_slice(&body).map_err(|error| error.to_string());
    match fault.and_then(|fault| state.faults.set(&stand_in, fault)) {
        Ok(()) => HttpResponse::NoContent().finish(),
        Err(message) => refuse(StatusCode::BAD_REQUEST, "bad_fault", &message),
    }
}

async fn delete(state: web::Data<State>, stand_in: web::Path<String>) -> HttpResponse {
    state.faults.clear(&stand_in);
    HttpResponse::NoContent().finish()
}

/// A second handle of a client's socket, by which it can be shut below HTTP.
#[derive(Clone)]
pub(super) struct Connection(Arc<TcpStream>);

impl Connection {
    /// For `HttpServer::on_connect`.
    pub(super) fn remember(stream: &dyn Any, extensions: &mut Extensions) {
        let socket = stream.downcast_ref::<ServerStream>();
        if let Some(Ok(socket)) = socket.map(|socket| socket.as_fd().try_clone_to_owned()) {
            extensions.insert(Self(Arc::new(TcpStream::from(socket))));
        }
    }

    /// Ends the connection in both directions. What actix still writes goes nowhere.
    fn shut(&self) {
        // It fails only when the client has closed it before.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

/// Middleware around a stand-in: counts the call, remembers it, then does what its fault says.
pub(super) async fn around(
    stand_in: &'static str,
    mut request: ServiceRequest,
    next: Next<BoxBody>,
) -> actix_web::Result<ServiceResponse<BoxBody>> {
    let Some(state) = request.app_data::<web::Data<State>>().cloned() else {
        return next.call(request).await;
    };
    let route = route(stand_in, &request);
    state.calls.add(stand_in, route.clone());
    let Ok(body) = request.extract::<Bytes>().await else {
        let message = "the body is too large or did not come whole";
        let answer = refuse(StatusCode::PAYLOAD_TOO_LARGE, "bad_body", message);
        return Ok(request.into_response(answer));
    };
    state.last.set(stand_in, &route, request.headers(), body.clone());
    request.set_payload(Payload::from(body));
    match state.faults.strike(stand_in, request.path()) {
        None => next.call(request).await,
        Some(fault) => suffer(&fault, request, next).await,
    }
}

fn route(stand_in: &str, request: &ServiceRequest) -> String {
    let pattern = request.match_pattern();
    let pattern = pattern.as_deref().unwrap_or("unknown");
    let below = pattern.strip_prefix('/').and_then(|path| path.strip_prefix(stand_in));
    format!("{} {}", request.method(), below.unwrap_or(pattern))
}

async fn suffer(
    fault: &Fault,
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> actix_web::Result<ServiceResponse<BoxBody>> {
    let connection = request.request().conn_data::<Connection>().cloned();
    let shut = move || connection.iter().for_each(Connection::shut);
    match fault.kind {
        Kind::Status | Kind::Answer => Ok(request.into_response(answer(fault))),
        Kind::Garbage => Ok(request.into_response(json_head().body("<html>not JSON</html>"))),
        Kind::Huge => Ok(request.into_response(json_head().streaming(endless()))),
        Kind::Hang => std::future::pending().await,
        Kind::Close => {
            shut();
            Ok(request.into_response(HttpResponse::InternalServerError()))
        }
        Kind::CloseAfterWork => {
            let response = next.call(request).await?;
            shut();
            Ok(response)
        }
        Kind::Delay => {
            sleep(fault.pause()).await;
            next.call(request).await
        }
        Kind::DelayAfterWork => {
            let response = next.call(request).await?;
            sleep(fault.pause()).await;
            Ok(response)
        }
        Kind::Truncate => truncated(next.call(request).await?, shut).await,
        Kind::SlowBody => slowed(next.call(request).await?, fault.pause()).await,
    }
}

fn answer(fault: &Fault) -> HttpResponse {
    let status = fault.status.and_then(|status| StatusCode::from_u16(status).ok());
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut builder = HttpResponse::build(status);
    if let Some(seconds) = fault.retry_after {
        builder.insert_header((RETRY_AFTER, seconds));
    }
    match &fault.body {
        Some(body) => builder.json(body),
        None => builder.json(json!({ "code": "sandbox_fault", "message": "as asked for" })),
    }
}

fn json_head() -> actix_web::HttpResponseBuilder {
    let mut builder = HttpResponse::Ok();
    builder.insert_header((CONTENT_TYPE, "application/json"));
    builder
}

fn endless() -> impl stream::Stream<Item = actix_web::Result<Bytes>> {
    stream::repeat_with(|| Ok(Bytes::from_static(&[b' '; 16 * 1024])))
}

/// Announces the whole body, sends half of it and ends the connection.
async fn truncated(
    response: ServiceResponse<BoxBody>,
    shut: impl Fn() + 'static,
) -> actix_web::Result<ServiceResponse<BoxBody>> {
    let (request, response) = response.into_parts();
    let (response, body) = response.into_parts();
    let body = to_bytes(body).await.map_err(actix_web::error::ErrorInternalServerError)?;
    let announced = body.len().max(2) as u64;
    let half = body.slice(..body.len() / 2);
    let shut = Rc::new(shut);
    let parts = stream::unfold(Some(half), move |half| {
        let shut = Rc::clone(&shut);
        async move {
            if let Some(half) = half {
                return Some((Ok::<_, actix_web::Error>(half), None));
            }
            sleep(FLUSH).await;
            shut();
            None
        }
    });
    let body = SizedStream::new(announced, parts).boxed();
    Ok(ServiceResponse::new(request, response.set_body(body)))
}

async fn slowed(
    response: ServiceResponse<BoxBody>,
    pause: Duration,
) -> actix_web::Result<ServiceResponse<BoxBody>> {
    let (request, response) = response.into_parts();
    let (response, body) = response.into_parts();
    let body = to_bytes(body).await.map_err(actix_web::error::ErrorInternalServerError)?;
    let length = body.len() as u64;
    let bytes = stream::unfold(body, move |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        sleep(pause).await;
        let byte = rest.split_to(1);
        Some((Ok::<_, actix_web::Error>(byte), rest))
    });
    let body = SizedStream::new(length, bytes).boxed();
    Ok(ServiceResponse::new(request, response.set_body(body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_that_mean_nothing_are_refused() {
        let board = Board::default();
        for fault in [
            json!({}),
            json!({"kind": "earthquake"}),
            json!({"kind": "status"}),
            json!({"kind": "status", "status": 99}),
            json!({"kind": "delay"}),
            json!({"kind": "delay", "ms": 600_001}),
            json!({"kind": "hang", "ms": 1}),
            json!({"kind": "close", "status": 500}),
            json!({"kind": "close", "times": 0}),
            json!({"kind": "close", "retry_after": 1}),
            json!({"kind": "close", "when": "now"}),
            json!({"kind": "close", "body": {}}),
            json!({"kind": "answer", "status": 409}),
            json!({"kind": "answer", "body": {}}),
            json!({"kind": "delay_after_work"}),
            json!([]),
            json!([{"kind": "close"}, {"kind": "delay"}]),
            json!(vec![json!({"kind": "close"}); MOST + 1]),
        ] {
            assert!(board.set("personal", fault.clone()).is_err(), "{fault}");
        }
        assert!(board.set("nobody", json!({"kind": "close"})).is_err());
    }

    #[test]
    fn a_fault_strikes_its_route_so_many_times() {
        let board = Board::default();
        board.set("personal", json!({"kind": "close", "route": "/find", "times": 2})).unwrap();
        assert!(board.strike("personal", "/personal/v1/phones/store").is_none());
        for _ in 0..2 {
            assert!(board.strike("personal", "/personal/v1/phones/find").is_some());
        }
        assert!(board.strike("personal", "/personal/v1/phones/find").is_none());
    }

    #[test]
    fn of_several_faults_the_first_that_fits_strikes() {
        let board = Board::default();
        let faults = json!([
            {"kind": "close_after_work", "route": "/commit", "times": 1},
            {"kind": "answer", "status": 409, "body": {"code": "commit_in_progress"},
             "route": "/commit", "retry_after": 1, "times": 1},
            {"kind": "hang", "route": "/info"},
        ]);
        board.set("int-api", faults).unwrap();
        let kind = |path| board.strike("int-api", path).map(|fault| fault.kind);
        assert_eq!(kind("/int-api/v1/orders/info"), Some(Kind::Hang));
        assert_eq!(kind("/int-api/v1/orders/commit"), Some(Kind::CloseAfterWork));
        assert_eq!(kind("/int-api/v1/orders/commit"), Some(Kind::Answer));
        assert_eq!(kind("/int-api/v1/orders/commit"), None);
        assert_eq!(kind("/int-api/v1/orders/info"), Some(Kind::Hang));
        board.clear("int-api");
        assert_eq!(kind("/int-api/v1/orders/info"), None);
    }
}
