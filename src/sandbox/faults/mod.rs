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
//! | `delay` (`ms`) | the answer, later | yes, after the delay, also if the client has gone |
//! | `delay_after_work` (`ms`) | the same | yes, before the delay |
//! | `hold` | the answer, when its faults are cleared or others are set | yes, then, also if the client has gone |
//! | `hold_after_work` | the same | yes, before |
//! | `hang` | nothing, for ever | no |
//! | `close` | the connection ends (FIN) without a byte of an answer | no |
//! | `close_after_work` | the same | yes |
//! | `garbage` | 200, a body that is not JSON | no |
//! | `truncate` | the head and half of the announced body, then the connection ends | yes |
//! | `huge` | 200 and a body without end | no |
//! | `slow_body` (`ms`) | the head at once, then a byte every `ms` | yes |

mod board;

use std::any::Any;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd as _;
use std::rc::Rc;
use std::sync::Arc;
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
use serde_json::json;

pub(super) use self::board::Board;

use self::board::{Fault, Kind, Strike};
use super::{State, refuse};

/// Long enough for what was written to leave before the connection is shut.
const FLUSH: Duration = Duration::from_millis(50);

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
    let _underway = state.calls.begin(stand_in);
    let Ok(body) = request.extract::<Bytes>().await else {
        let message = "the body is too large or did not come whole";
        let answer = refuse(StatusCode::PAYLOAD_TOO_LARGE, "bad_body", message);
        return Ok(request.into_response(answer));
    };
    state.last.set(stand_in, &route, request.headers(), body.clone());
    request.set_payload(Payload::from(body));
    match state.faults.strike(stand_in, request.path()) {
        None => next.call(request).await,
        Some(strike) => suffer(strike, request, next).await,
    }
}

fn route(stand_in: &str, request: &ServiceRequest) -> String {
    let pattern = request.match_pattern();
    let pattern = pattern.as_deref().unwrap_or("unknown");
    let below = pattern.strip_prefix('/').and_then(|path| path.strip_prefix(stand_in));
    format!("{} {}", request.method(), below.unwrap_or(pattern))
}

async fn suffer(
    mut strike: Strike,
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> actix_web::Result<ServiceResponse<BoxBody>> {
    let connection = request.request().conn_data::<Connection>().cloned();
    let shut = move || connection.iter().for_each(Connection::shut);
    let fault = &strike.fault;
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
            let pause = fault.pause();
            work_after(async move { sleep(pause).await }, request, next).await
        }
        Kind::Hold => work_after(async move { strike.let_go().await }, request, next).await,
        Kind::HoldAfterWork => {
            let response = next.call(request).await?;
            strike.let_go().await;
            Ok(response)
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

/// In a task of its own: it goes on when the client gives up and this future is dropped.
async fn work_after(
    wait: impl Future<Output = ()> + 'static,
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> actix_web::Result<ServiceResponse<BoxBody>> {
    let work = actix_web::rt::spawn(async move {
        wait.await;
        next.call(request).await
    });
    work.await.map_err(actix_web::error::ErrorInternalServerError)?
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
