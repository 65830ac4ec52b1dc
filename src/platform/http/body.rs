//! Reads and checks a JSON body: type, size, time, syntax, shape, values, in that order.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::web::{self, Bytes, BytesMut};
use actix_web::{FromRequest, HttpRequest};
use futures_util::StreamExt;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::objects::Objects;
use super::state::HttpState;
use crate::platform::error::{Error, Kind, Result};
use crate::platform::validation::{push_key, told, validate};

/// A JSON body that has the right shape and passed its own rules.
pub struct Json<T> {
    /// What was sent.
    pub value: T,
    /// The bytes as they came, for whoever must know whether two bodies are the same.
    pub bytes: Bytes,
}

impl<T> FromRequest for Json<T>
where
    T: DeserializeOwned + garde::Validate<Context = ()> + 'static,
{
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let limits = limits(request);
        let head = check_head(request, limits.bytes);
        let payload = payload.take();
        Box::pin(async move {
            head?;
            let bytes = read(payload, limits).await?;
            let value = parse(&bytes)?;
            validate(&value)?;
            Ok(Self { value, bytes })
        })
    }
}

#[derive(Clone, Copy)]
struct Limits {
    bytes: usize,
    time: Duration,
}

fn limits(request: &HttpRequest) -> Limits {
    request.app_data::<web::Data<HttpState>>().map_or(
        Limits { bytes: 0, time: Duration::ZERO },
        |state| Limits {
            bytes: state.settings.body_limit_bytes,
            time: state.settings.body_timeout(),
        },
    )
}

/// What can be refused before a byte of the body is read.
fn check_head(request: &HttpRequest, limit: usize) -> Result<()> {
    let content_type =
        request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if !content_type.is_some_and(is_json) {
        return Err(Error::new(
            Kind::UnsupportedMediaType,
            "unsupported_media_type",
            "The body must be sent as application/json.",
        ));
    }
    // Nothing is unpacked here: a small body could be a large one then.
    let coding = request.headers().get(header::CONTENT_ENCODING);
    if coding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Error::new(
            Kind::UnsupportedMediaType,
            "unsupported_content_encoding",
            "The body must be sent as it is, without Content-Encoding.",
        ));
    }
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) { Err(too_large(limit)) } else { Ok(()) }
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    ["application/json", "application/merge-patch+json"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(essence))
}

fn too_large(limit: usize) -> Error {
    Error::new(
        Kind::PayloadTooLarge,
        "body_too_large",
        format!("The body is over the limit of {limit} bytes."),
    )
}

async fn read(mut payload: Payload, limits: Limits) -> Result<Bytes> {
    let gather = async {
        let mut body = BytesMut::new();
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|error| {
                Error::new(Kind::InvalidInput, "body_incomplete", "The body did not arrive whole.")
                    .with_source(error.to_string())
            })?;
            if body.len() + chunk.len() > limits.bytes {
                return Err(too_large(limits.bytes));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    };
    tokio::time::timeout(limits.time, gather).await.unwrap_or_else(|_| {
        Err(Error::new(
            Kind::RequestTimeout,
            "body_timeout",
            "The body did not arrive in the time a request has for it.",
        ))
    })
}

/// Parses JSON and says where in the document a fault is.
///
/// # Errors
/// `invalid_json` for what is no JSON, `invalid_request` for JSON of the wrong shape.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    if bytes.is_empty() {
        return Err(Error::new(
            Kind::InvalidInput,
            "invalid_json",
            "The body is empty; it must be JSON.",
        ));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(Objects(&mut deserializer)).map_err(|error| {
        // Some wrong shapes (a number for an enum's name, too deep, too great a number) are told as
        // wrong syntax; what can be skipped over as JSON is JSON.
        // (Skipping does not look into texts, so the encoding is checked apart.)
        let is_json = || {
            std::str::from_utf8(bytes)
                .is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
        };
        if error.inner().is_data() || is_json() {
            let detail = told(&without_position(&error.inner().to_string()));
            return Error::invalid(pointer(error.path()), detail);
        }
        malformed(error.inner())
    })?;
    deserializer.end().map_err(|error| malformed(&error))?;
    Ok(value)
}

fn malformed(error: &serde_json::Error) -> Error {
    Error::new(
        Kind::InvalidInput,
        "invalid_json",
        format!("The body is not JSON (line {}, column {}).", error.line(), error.column()),
    )
}

/// serde_json ends its messages with " at line L column C", which a pointer says better.
fn without_position(message: &str) -> String {
    message.rsplit_once(" at line ").map_or(message, |(text, _)| text).to_owned()
}

/// The JSON pointer (RFC 6901) of a path in a document.
fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => push_key(&mut pointer, &index.to_string()),
            Segment::Map { key } | Segment::Enum { variant: key } => push_key(&mut pointer, key),
            Segment::Unknown => {}
        }
    }
    pointer
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize, garde::Validate)]
    #[serde(deny_unknown_fields)]
    struct Route {
        #[garde(length(min = 1), dive)]
        points: Vec<Point>,
        #[serde(default)]
        #[garde(skip)]
        #[allow(dead_code, reason = "only its parsing is of interest")]
        kind: Option<Kind>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        Short,
    }

    #[derive(Debug, Deserialize, garde::Validate)]
    #[serde(deny_unknown_fields)]
    struct Point {
        #[garde(range(min = -90.0, max = 90.0))]
        lat: f64,
    }

    fn fault(body: &str) -> (String, String) {
        let checked = parse::<Route>(body.as_bytes()).and_then(|route| validate(&route));
        let error = checked.unwrap_err();
        let pointer = error.fields().first().map(|field| field.pointer.clone());
        (error.code().to_owned(), pointer.unwrap_or_default())
    }

    #[test]
    fn only_an_object_is_a_structure() {
        for (body, pointer) in [
            ("[]", ""),
            (r#"[[{"lat":1}]]"#, ""),
            (r#"{"points":[[1.5]]}"#, "/points/0"),
            (r#"{"points":[{"lat":1},[2]],"kind":"short"}"#, "/points/1"),
        ] {
            assert_eq!(fault(body), ("invalid_request".to_owned(), pointer.to_owned()), "{body}");
        }
        assert!(parse::<Route>(br#"{"points":[{"lat":1.5}],"kind":"short"}"#).is_ok());
    }

    #[test]
    fn faults_are_told_in_words_for_people_who_do_not_know_our_code() {
        for (body, detail) in [
            ("[]", "must be an object"),
            (r#"{"points":5}"#, "must be a list"),
            (r#"{"points":[{"lat":"x"}]}"#, "must be a number"),
        ] {
            let error = parse::<Route>(body.as_bytes()).unwrap_err();
            assert_eq!(error.fields().first().unwrap().detail, detail, "{body}");
        }
        let nothing = parse::<Route>(b"").unwrap_err();
        assert_eq!((nothing.code(), nothing.fields().len()), ("invalid_json", 0));
        assert!(nothing.detail().contains("empty"), "{}", nothing.detail());
    }

    #[test]
    fn faults_are_addressed_by_pointers() {
        for (body, code, pointer) in [
            ("{", "invalid_json", ""),
            ("{} x", "invalid_request", ""),
            (r#"{"points":[]} x"#, "invalid_json", ""),
            (r#"{"points":[{"lat":1e999}]}"#, "invalid_request", "/points/0/lat"),
            (r#"{"kind":5,"points":[]}"#, "invalid_request", "/kind"),
            (r#"{"points":[{"lat":"x"}]}"#, "invalid_request", "/points/0/lat"),
            (r#"{"points":[{"lat":1,"lon":2}]}"#, "invalid_request", "/points/0/lon"),
            (r#"{"points":[{"lat":1},{"lat":91}]}"#, "invalid_request", "/points/1/lat"),
            (r#"{"points":[]}"#, "invalid_request", "/points"),
        ] {
            assert_eq!(fault(body), (code.to_owned(), pointer.to_owned()), "{body}");
        }
    }
}
