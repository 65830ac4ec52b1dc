//! `application/problem+json` (RFC 9457): the one form of everything that goes wrong.

use std::collections::BTreeMap;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use serde::Serialize;
use utoipa::openapi::{self, RefOr};

use crate::platform::error::{Error, Extensions, FieldError, Kind};

/// The media type of every error.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// An error as it is answered.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Problem<'a> {
    /// A URI reference that names the kind of problem; `about:blank` where the status says it all.
    #[serde(rename = "type")]
    pub kind: &'a str,
    /// The status in words.
    pub title: &'a str,
    /// The HTTP status code.
    pub status: u16,
    /// What went wrong this time, for a person.
    pub detail: &'a str,
    /// A stable `snake_case` word a program can switch on.
    pub code: &'a str,
    /// The trace this request belongs to: give it to support.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub trace_id: &'a str,
    /// The faults in the request, addressed by JSON pointers.
    #[serde(skip_serializing_if = "<[FieldError]>::is_empty")]
    pub errors: &'a [FieldError],
    /// Further members that a code's documentation names.
    #[serde(flatten)]
    #[schema(value_type = Object, additional_properties)]
    pub extensions: &'a Extensions,
}

/// The status an error is answered with.
#[must_use]
pub fn status(kind: Kind) -> StatusCode {
    match kind {
        Kind::InvalidInput => StatusCode::BAD_REQUEST,
        Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
        Kind::Forbidden => StatusCode::FORBIDDEN,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Kind::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
        Kind::Conflict => StatusCode::CONFLICT,
        Kind::Gone => StatusCode::GONE,
        Kind::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
        Kind::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Kind::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Kind::Unprocessable => StatusCode::UNPROCESSABLE_ENTITY,
        Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Kind::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The answer to `error` in the trace `trace_id` (may be empty).
#[must_use]
pub fn respond(error: &Error, trace_id: &str) -> HttpResponse {
    let status = status(error.kind());
    let mut response = HttpResponseBuilder::new(status);
    response.insert_header((header::CONTENT_TYPE, CONTENT_TYPE));
    if let Some(after) = error.retry_after() {
        response.insert_header((header::RETRY_AFTER, after.as_secs().max(1).to_string()));
    }
    if status == StatusCode::UNAUTHORIZED {
        response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
    }
    let allow = error.extensions().get("allow");
    if let Some(allow) = allow.and_then(|text| serde_json::from_str::<String>(text.get()).ok()) {
        response.insert_header((header::ALLOW, allow));
    }
    let problem = Problem {
        kind: "about:blank",
        title: status.canonical_reason().unwrap_or("Error"),
        status: status.as_u16(),
        detail: error.detail(),
        code: error.code(),
        trace_id,
        errors: error.fields(),
        extensions: error.extensions(),
    };
    response.body(serde_json::to_vec(&problem).unwrap_or_default())
}

impl ResponseError for Error {
    fn status_code(&self) -> StatusCode {
        status(self.kind())
    }

    fn error_response(&self) -> HttpResponse {
        respond(self, "")
    }
}

/// The platform's error for an answer that a library gave by itself.
#[must_use]
pub fn for_status(code: StatusCode) -> Error {
    match code {
        StatusCode::NOT_FOUND => Error::not_found("route_not_found", "There is no such route."),
        StatusCode::PAYLOAD_TOO_LARGE => Error::new(
            Kind::PayloadTooLarge,
            "body_too_large",
            "The request body is over the limit.",
        ),
        StatusCode::REQUEST_TIMEOUT => Error::new(
            Kind::RequestTimeout,
            "request_timeout",
            "The request did not arrive in time.",
        ),
        code if code.is_client_error() => {
            Error::new(Kind::InvalidInput, "invalid_request", "The request is not valid.")
        }
        _ => Error::new(Kind::Internal, "internal", "The server failed to handle the request."),
    }
}

/// For the API documentation: the problems that `statuses` stand for.
fn documented(statuses: &[(u16, &str)]) -> BTreeMap<String, RefOr<openapi::Response>> {
    let schema = || RefOr::Ref(openapi::Ref::from_schema_name("Problem"));
    statuses
        .iter()
        .map(|(status, text)| {
            let content = openapi::ContentBuilder::new().schema(Some(schema())).build();
            let response = openapi::ResponseBuilder::new()
                .description(*text)
                .content(CONTENT_TYPE, content)
                .build();
            (status.to_string(), RefOr::T(response))
        })
        .collect()
}

const ALWAYS: [(u16, &str); 7] = [
    (400, "Malformed: see `errors`"),
    (401, "No token, or an unknown one"),
    (403, "The caller may not use this audience or domain"),
    (408, "The request did not arrive in time"),
    (500, "A fault of the server"),
    (503, "A dependency, the domain, or the process cannot serve this now; see `code`"),
    (504, "The caller's deadline passed"),
];

/// Problems of a route that reads a request without a body.
pub struct ReadProblems;

/// Problems of a route that hands out changes behind a cursor.
pub struct FeedProblems;

/// Problems of a route that reads a request with a JSON body.
pub struct BodyProblems;

/// Problems of a route that creates, under an `Idempotency-Key`.
pub struct CreateProblems;

/// Problems of a route without a body that changes what must be in the right state.
pub struct StateProblems;

/// Problems of a route with a JSON body that changes what must be in the right state.
pub struct ChangeProblems;

/// Problems of a route that edits, under `If-Match`.
pub struct EditProblems;

/// Problems of a route that deletes, under `If-Match`.
pub struct DeleteProblems;

/// Problems of a route that edits, under `If-Match`, what must be in the right state.
pub struct EditStateProblems;

/// Problems of a route that deletes, under `If-Match`, what must be in the right state.
pub struct DeleteStateProblems;

const NOT_FOUND: (u16, &str) = (404, "There is no such thing in the caller's park");
const GONE: (u16, &str) = (410, "The cursor is too old: begin anew, without one");
const BODY: [(u16, &str); 2] =
    [(413, "The body is over the limit"), (415, "The body is not of a type this route reads")];
const CREATE: [(u16, &str); 2] = [
    (409, "The same key is being worked on, or the state stands against it; see `code`"),
    (422, "The same key was used with another body"),
];
const STATE: (u16, &str) = (409, "The state stands against it; see `code`");
const STALE: (u16, &str) = (412, "`If-Match` names an older version");

macro_rules! problem_responses {
    ($name:ty, $($part:expr),*) => {
        impl utoipa::IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<openapi::Response>> {
                let parts: &[&[(u16, &str)]] = &[$($part),*];
                documented(&parts.concat())
            }
        }
    };
}

problem_responses!(ReadProblems, &ALWAYS, &[NOT_FOUND]);
problem_responses!(FeedProblems, &ALWAYS, &[GONE]);
problem_responses!(BodyProblems, &ALWAYS, &[NOT_FOUND], &BODY);
problem_responses!(CreateProblems, &ALWAYS, &[NOT_FOUND], &BODY, &CREATE);
problem_responses!(StateProblems, &ALWAYS, &[NOT_FOUND], &[STATE]);
problem_responses!(ChangeProblems, &ALWAYS, &[NOT_FOUND], &BODY, &[STATE]);
problem_responses!(DeleteProblems, &ALWAYS, &[NOT_FOUND], &[STALE]);
problem_responses!(EditProblems, &ALWAYS, &[NOT_FOUND], &BODY, &[STALE]);
problem_responses!(EditStateProblems, &ALWAYS, &[NOT_FOUND], &BODY, &[STATE, STALE]);
problem_responses!(DeleteStateProblems, &ALWAYS, &[NOT_FOUND], &[STATE, STALE]);

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::body::to_bytes;

    #[actix_web::test]
    async fn the_answer_holds_the_outward_text_and_never_the_cause() {
        let error = Error::internal(std::io::Error::other("password=hunter2"))
            .with_extension("current", &serde_json::json!({"a": 1}));
        let response = respond(&error, "abc");
        assert_eq!(response.status(), 500);
        let body = to_bytes(response.into_body()).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["code"], "internal");
        assert_eq!(body["trace_id"], "abc");
        assert_eq!(body["current"]["a"], 1);
        assert!(!body.to_string().contains("hunter2"));
    }
}
