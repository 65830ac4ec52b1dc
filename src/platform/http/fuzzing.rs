//! Any bytes in the headers that are read, and in a body.

use std::sync::LazyLock;

use actix_web::FromRequest as _;
use actix_web::dev::Payload;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::test::TestRequest;

use super::auth::Callers;
use super::etag::IfMatch;
use super::idempotency::{IdempotencyKey, canonical};
use super::{pagination, pipeline};
use crate::platform::config::ConfigSource;
use crate::platform::config::auth::{Audience, AuthSettings};
use crate::platform::telemetry::trace::TraceContext;

/// Nobody: no token is known.
static CALLERS: LazyLock<Callers> = LazyLock::new(|| {
    let settings = ConfigSource::texts(Vec::new()).load().ok();
    let settings = settings.and_then(|config| config.section::<AuthSettings>("auth").ok());
    Callers::new(&settings.unwrap_or(AuthSettings { callers: Vec::new() }))
});

/// All headers with this value.
pub fn headers(bytes: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
    let text = value.to_str().ok();
    assert!(CALLERS.authorise(text, "domain", Audience::Internal).is_err());
    if let Some(trace) = text.and_then(TraceContext::parse) {
        assert_eq!(TraceContext::parse(&trace.to_string()), Some(trace));
    }
    assert!(pipeline::patience(&value).is_none_or(|patience| !patience.is_zero()));

    let names = ["if-match", "idempotency-key"].map(HeaderName::from_static);
    let request = names
        .into_iter()
        .fold(TestRequest::default(), |request, name| request.insert_header((name, value.clone())));
    let request = request.to_http_request();
    let key = IdempotencyKey::from_request(&request, &mut Payload::None).into_inner();
    if let Some(key) = key.as_ref().ok().and_then(IdempotencyKey::as_str) {
        assert!(!key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic()));
    }
    let expected = IfMatch::from_request(&request, &mut Payload::None).into_inner();
    assert!(expected.is_ok_and(|IfMatch(expected)| {
        let _ = expected.check(1);
        true
    }));
}

/// A body that is compared with an earlier one: its canonical form is its own.
pub fn body(bytes: &[u8]) {
    let once = canonical(bytes);
    assert_eq!(canonical(&once), once);
}

/// A cursor of a list: a position that is read is the same when it is written and read again.
pub fn cursor(text: &str) {
    type Position = (i64, String, Option<f64>);
    let Ok(position) = pagination::decode::<Position>(text) else { return };
    let written = pagination::encode(&position);
    let read = written.and_then(|cursor| pagination::decode::<Position>(&cursor));
    assert!(read.is_ok_and(|read| read == position));
}
