//! The root span of a request, and the ids that go with it.

use std::rc::Rc;

use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::HeaderValue;
use actix_web::{HttpMessage, body::MessageBody};
use tracing::Span;
use tracing_actix_web::RootSpanBuilder;
use uuid::Uuid;

use super::state::UNMATCHED;
use crate::platform::context::Deadline;
use crate::platform::telemetry::{otlp, trace::TraceContext};

/// The header that names a request, in and out.
pub(super) const REQUEST_ID: &str = "x-request-id";

/// What the server knows of a request before its handler runs.
pub(super) struct RequestMeta {
    /// Given by the caller, or made here.
    pub request_id: HeaderValue,
    /// The trace that the caller named.
    pub caller: Option<TraceContext>,
    /// The trace it belongs to.
    pub trace: TraceContext,
    /// The route's template, or "unmatched": never a raw path.
    pub route: String,
}

/// When the caller of this request stops waiting; put there by the pipeline.
#[derive(Clone, Copy)]
pub(super) struct RequestDeadline(pub Deadline);

impl RequestMeta {
    fn of(request: &ServiceRequest) -> Self {
        let headers = request.headers();
        let caller = headers.get("traceparent").and_then(|value| value.to_str().ok());
        let caller = caller.and_then(TraceContext::parse);
        let trace = caller.unwrap_or_else(TraceContext::random);
        let request_id =
            headers.get(REQUEST_ID).filter(|id| is_request_id(id)).cloned().unwrap_or_else(|| {
                let mut buffer = Uuid::encode_buffer();
                let text = Uuid::now_v7().hyphenated().encode_lower(&mut buffer);
                HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("none"))
            });
        let route = request.match_pattern().unwrap_or_else(|| UNMATCHED.to_owned());
        Self { request_id, caller, trace, route }
    }
}

/// A caller's id is taken over only when it is short and plain: it goes into logs and headers.
fn is_request_id(id: &HeaderValue) -> bool {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-_.".contains(b);
    (1..=64).contains(&id.len()) && id.as_bytes().iter().all(plain)
}

/// A method as a label: the standard ones, `_OTHER` for what a caller may invent.
pub(super) fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "_OTHER",
    }
}

/// Builds root spans from an allow-list: no query string, no raw path, no address, no agent.
pub struct RequestSpan;

impl RootSpanBuilder for RequestSpan {
    fn on_request_start(request: &ServiceRequest) -> Span {
        let mut meta = RequestMeta::of(request);
        // Without an exporter the trace is known already: to record a field later costs more.
        let trace_id = (!otlp::is_on()).then(|| meta.trace.trace_id_hex());
        let span = tracing::info_span!(
            "request",
            request_id = meta.request_id.to_str().unwrap_or_default(),
            trace_id,
            method = method_label(request.method()),
            route = meta.route,
            caller = tracing::field::Empty,
            status = tracing::field::Empty,
        );
        if otlp::is_on() {
            meta.trace = otlp::adopt(&span, meta.caller).unwrap_or(meta.trace);
            span.record("trace_id", meta.trace.trace_id_hex());
        }
        request.extensions_mut().insert(Rc::new(meta));
        span
    }

    fn on_request_end<B: MessageBody>(
        span: Span,
        outcome: &Result<ServiceResponse<B>, actix_web::Error>,
    ) {
        // For traces alone: log lines are written before.
        if !otlp::is_on() {
            return;
        }
        let status = match outcome {
            Ok(response) => response.status(),
            Err(error) => error.as_response_error().status_code(),
        };
        span.record("status", status.as_u16());
    }
}
