//! What every request passes, whichever domain it is for: admission, deadline, panics, problem
//! answers, metrics, and the one log line of a request that failed.

use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{HttpMessage, HttpResponse, ResponseError, web};
use futures_util::FutureExt;

use super::permit::Permit;
use super::span::{REQUEST_ID, RequestDeadline, RequestMeta, method_label};
use super::state::HttpState;
use super::{headers, problem};
use crate::platform::context::Deadline;
use crate::platform::error::{Error, Kind, Result};

/// The header by which a caller says how long it will wait.
const TIMEOUT_HEADER: &str = "x-request-timeout-ms";

/// The middleware; see the module's documentation. The layer outside it must be a `TracingLogger` with
/// [`RequestSpan`](super::RequestSpan).
///
/// # Errors
/// A request whose handler was given up or panicked: the error carries the whole answer.
pub async fn pipeline(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> std::result::Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let started = Instant::now();
    let (Some(state), Some(meta)) = (
        request.app_data::<web::Data<HttpState>>().cloned(),
        request.extensions().get::<Rc<RequestMeta>>().cloned(),
    ) else {
        return Err(Error::internal("the server was put together wrongly").into());
    };
    let method = method_label(request.method());
    let outcome = run(&state, &meta, request, next).await;
    // A request that was given up or panicked took its `HttpRequest` along, so its answer goes up
    // as an error that carries the whole response.
    let outcome = match outcome {
        Ok(mut response) => {
            if let Some(error) = failure_of(&response) {
                log_failure(&error);
                let answer = problem::respond(&error, &meta.trace.trace_id_hex());
                response = response.into_response(answer);
            }
            insert_request_id(response.headers_mut(), &meta);
            Ok(response)
        }
        Err(error) => {
            log_failure(&error);
            Err(Failed { error, meta: Rc::clone(&meta) })
        }
    };
    let status = match &outcome {
        Ok(response) => response.status(),
        Err(failed) => failed.status_code(),
    };
    let domain = state.domain_of(&meta.route);
    let labels = [domain, meta.route.as_str(), method];
    state.metrics.durations.with_label_values(&labels).observe(started.elapsed().as_secs_f64());
    let status = status.as_str();
    state.metrics.requests.with_label_values(&[domain, &meta.route, method, status]).inc();
    outcome.map_err(Into::into)
}

/// Admits and runs the request within its deadline.
async fn run(
    state: &HttpState,
    meta: &RequestMeta,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>> {
    // Probes and scrapes are answered however much there is to do.
    let permit = if state.is_service_route(&meta.route) { None } else { Some(admit(state, meta)) };
    let admitted =
        permit.transpose().and_then(|permit| Ok((permit, deadline(state, meta, &request)?)));
    let (_permit, deadline) = match admitted {
        Ok(admitted) => admitted,
        Err(error) => return Ok(request.error_response(error)),
    };
    request.extensions_mut().insert(RequestDeadline(deadline));
    match deadline.run(AssertUnwindSafe(next.call(request)).catch_unwind()).await {
        Ok(Ok(Ok(response))) => Ok(response.map_into_boxed_body()),
        Ok(Ok(Err(error))) => Err(problem::for_status(error.as_response_error().status_code())),
        Ok(Err(_panic)) => {
            state.metrics.panics.inc();
            Err(Error::internal("a handler panicked"))
        }
        Err(elapsed) => Err(elapsed),
    }
}

fn admit<'a>(state: &'a HttpState, meta: &RequestMeta) -> Result<Permit<'a>> {
    state.places.take(state.domain_of(&meta.route)).ok_or_else(|| {
        state.metrics.shed.inc();
        Error::unavailable("overloaded", "The server has too much to do; try again soon.")
            .with_retry_after(Duration::from_secs(1))
    })
}

/// The caller's patience, bounded by the configuration; of one who names none, the route's time.
fn deadline(state: &HttpState, meta: &RequestMeta, request: &ServiceRequest) -> Result<Deadline> {
    let settings = &state.settings;
    let Some(value) = headers::single(request.headers(), TIMEOUT_HEADER)? else {
        return Ok(Deadline::after(state.default_timeout(&meta.route)));
    };
    patience(value)
        .map(|patience| Deadline::after(patience.min(settings.max_timeout())))
        .ok_or_else(|| {
            Error::new(
                Kind::InvalidInput,
                "invalid_timeout",
                "X-Request-Timeout-Ms must be a whole number of milliseconds, at least 1.",
            )
        })
}

/// What the header says.
pub(super) fn patience(value: &header::HeaderValue) -> Option<Duration> {
    let millis = value.to_str().ok()?.parse::<u64>().ok()?;
    (millis > 0).then(|| Duration::from_millis(millis))
}

/// What went wrong in a response: our error, or an answer a library gave in its own form.
fn failure_of(response: &ServiceResponse<BoxBody>) -> Option<Error> {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return None;
    }
    if let Some(error) = response.response().error() {
        return Some(match error.as_error::<Error>() {
            Some(error) => error.to_answer(),
            None => problem::for_status(status),
        });
    }
    // `/readyz` answers 503 with its own JSON; what libraries answer by themselves is not JSON of
    // any kind.
    let json = |kind: &HeaderValue| kind.as_bytes().ends_with(b"json");
    let is_ours = response.headers().get(header::CONTENT_TYPE).is_some_and(json);
    (!is_ours).then(|| problem::for_status(status))
}

/// Faults are logged once, here, with their chain; what a caller did wrong only for who looks.
fn log_failure(error: &Error) {
    match error.kind() {
        Kind::Internal => {
            tracing::error!(code = error.code(), cause = error.chain(), "request failed");
        }
        Kind::Unavailable | Kind::DeadlineExceeded => {
            tracing::warn!(
                code = error.code(),
                cause = error.chain(),
                "request could not be served"
            );
        }
        _ => tracing::debug!(code = error.code(), cause = error.chain(), "request refused"),
    }
}

fn insert_request_id(headers: &mut header::HeaderMap, meta: &RequestMeta) {
    headers.insert(HeaderName::from_static(REQUEST_ID), meta.request_id.clone());
}

/// The answer to a request whose handler is gone.
struct Failed {
    error: Error,
    meta: Rc<RequestMeta>,
}

impl std::fmt::Debug for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}

impl ResponseError for Failed {
    fn status_code(&self) -> actix_web::http::StatusCode {
        problem::status(self.error.kind())
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = problem::respond(&self.error, &self.meta.trace.trace_id_hex());
        let id: HeaderValue = self.meta.request_id.clone();
        response.headers_mut().insert(HeaderName::from_static(REQUEST_ID), id);
        response
    }
}
