//! Server-sent events (the HTML standard's `text/event-stream`): what resumes a stream, and its frames.

use std::future::{Ready, ready};
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::web::{BufMut, Bytes, BytesMut};
use actix_web::{FromRequest, HttpRequest, HttpResponse};
use futures_util::Stream;
use serde::Serialize;

use super::headers;
use crate::platform::error::{Error, Kind, Result};

/// The number of the last event that the client saw; `None` for a client that begins.
pub struct LastEventId(pub Option<i64>);

impl FromRequest for LastEventId {
    type Error = Error;
    type Future = Ready<Result<Self>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let header = headers::single(request.headers(), "last-event-id");
        ready(header.and_then(|value| {
            let Some(value) = value else { return Ok(Self(None)) };
            let number = value.to_str().ok().and_then(parse);
            number.map(|number| Self(Some(number))).ok_or_else(|| {
                Error::new(
                    Kind::InvalidInput,
                    "invalid_last_event_id",
                    "Last-Event-ID must be the id of an event of this stream.",
                )
            })
        }))
    }
}

/// Digits alone: no sign, no space.
fn parse(text: &str) -> Option<i64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// The header, for the API documentation.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "only its description is used")]
pub struct LastEventIdHeader {
    /// The `id` of the last event seen: the stream goes on behind it. Left out: it begins now.
    #[param(rename = "Last-Event-ID", pattern = "^[0-9]{1,18}$", required = false)]
    last_event_id: Option<String>,
}

/// Frames that go out together.
#[derive(Default)]
pub struct Frames(BytesMut);

impl Frames {
    /// Tells the client how long to wait before it comes back.
    pub fn retry(&mut self, after: Duration) {
        self.push(&["retry: ", &after.as_millis().to_string(), "\n\n"]);
    }

    /// Tells the client where it is; no event is seen.
    pub fn position(&mut self, id: i64) {
        self.push(&["id: ", &id.to_string(), "\n\n"]);
    }

    /// An event.
    ///
    /// # Errors
    /// The data cannot be written as JSON.
    pub fn event(&mut self, id: i64, name: &str, data: &impl Serialize) -> Result<()> {
        // JSON has its line ends escaped: one line it is.
        let data = serde_json::to_string(data).map_err(Error::internal)?;
        self.push(&["id: ", &id.to_string(), "\nevent: ", name, "\ndata: ", &data, "\n\n"]);
        Ok(())
    }

    /// A comment, which clients pass over: it shows that the connection lives.
    pub fn heartbeat(&mut self) {
        self.push(&[":\n\n"]);
    }

    /// The bytes; empty when there is no frame.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0.freeze()
    }

    fn push(&mut self, parts: &[&str]) {
        for part in parts {
            self.0.put_slice(part.as_bytes());
        }
    }
}

/// An answer that goes on as long as the stream does. Proxies are told to neither keep nor gather it.
pub fn respond(frames: impl Stream<Item = Result<Bytes>> + 'static) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header(("Cache-Control", "no-store"))
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_as_the_standard_has_them() {
        let mut frames = Frames::default();
        frames.retry(Duration::from_millis(1500));
        frames.position(7);
        frames.event(8, "message", &serde_json::json!({"text": "a\nb\r"})).unwrap();
        frames.heartbeat();
        let expected = "retry: 1500\n\nid: 7\n\n\
             id: 8\nevent: message\ndata: {\"text\":\"a\\nb\\r\"}\n\n:\n\n";
        assert_eq!(frames.into_bytes(), expected.as_bytes());
    }

    #[test]
    fn ids_are_digits() {
        assert_eq!(parse("0"), Some(0));
        assert_eq!(parse("9223372036854775807"), Some(i64::MAX));
        for text in ["", "-1", "+1", " 1", "1.0", "0x1", "9223372036854775808", "١"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
