//! `ETag` and `If-Match` (RFC 9110, sections 8.8.3 and 13.1.1) over a row's version number.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::header::{ETAG, HeaderName, LOCATION};
use actix_web::{FromRequest, HttpRequest, HttpResponse};
use serde::Serialize;

use crate::platform::conditions::ExpectedVersion;
use crate::platform::error::{Error, Result};

/// The answer that shows what people edit, with its version.
pub fn versioned(version: i32, shown: &impl Serialize) -> HttpResponse {
    HttpResponse::Ok().insert_header(etag(version)).json(shown)
}

/// The answer to whoever made such a thing: where it is, and its version.
pub fn created(location: String, version: i32, made: &impl Serialize) -> HttpResponse {
    let mut answer = HttpResponse::Created();
    answer.insert_header(etag(version)).insert_header((LOCATION, location)).json(made)
}

/// The `ETag` header of a version.
fn etag(version: i32) -> (HeaderName, String) {
    (ETAG, format!("\"v{version}\""))
}

/// The caller's `If-Match`; without the header, or with `*`, any version will do.
pub struct IfMatch(pub ExpectedVersion);

/// Weak tags never match here (RFC 9110, section 13.1.1); tags of other forms match no version.
fn parse(header: &str) -> ExpectedVersion {
    if header.trim() == "*" {
        return ExpectedVersion::Any;
    }
    let version = |tag: &str| tag.trim().strip_prefix("\"v")?.strip_suffix('"')?.parse().ok();
    ExpectedVersion::OneOf(header.split(',').filter_map(version).collect())
}

impl FromRequest for IfMatch {
    type Error = Error;
    type Future = Ready<Result<Self>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        // Several headers are one list (RFC 9110, section 5.3).
        let headers =
            request.headers().get_all("if-match").map(|value| value.to_str().unwrap_or(""));
        let joined = headers.collect::<Vec<_>>().join(",");
        let expected = request.headers().contains_key("if-match").then(|| parse(&joined));
        ready(Ok(Self(expected.unwrap_or(ExpectedVersion::Any))))
    }
}

/// The header, for the API documentation.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "only its description is used")]
pub struct IfMatchHeader {
    /// The `ETag` that the edit is based on; a stale one is 412.
    #[param(rename = "If-Match", required = false)]
    if_match: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_strong_tag_of_the_same_version_matches() {
        for (header, matches) in [
            ("*", true),
            ("\"v7\"", true),
            ("\"v1\", \"v7\"", true),
            ("\"v6\"", false),
            ("W/\"v7\"", false),
            ("v7", false),
            ("", false),
        ] {
            assert_eq!(parse(header).check(7).is_ok(), matches, "{header}");
        }
    }
}
