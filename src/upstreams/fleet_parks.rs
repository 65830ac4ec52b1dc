//! `fleet-parks`: how a park works.

use awc::http::{Method, StatusCode};
use serde::Deserialize;

use crate::platform::context::Context;
use crate::platform::error::Result;
use crate::platform::ids::ParkId;
use crate::platform::upstream::{
    Answer, Call, Upstream, UpstreamError, UpstreamMetrics, UpstreamSettings,
};

/// A park, as far as orders need it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Park {
    /// How its orders are dispatched: `whitelabel`, `saas`, `aggregator`.
    pub dispatch_mode: String,
    /// Language, such as `ru`.
    pub locale: String,
    /// ISO 4217.
    pub currency: String,
    /// IANA name.
    pub time_zone: String,
    /// Whether it works at all.
    pub is_active: bool,
}

/// The client of `fleet-parks`. Cheap to clone.
#[derive(Clone)]
pub struct FleetParks {
    upstream: Upstream,
}

impl FleetParks {
    /// # Errors
    /// When the token cannot be sent in a header.
    pub fn new(settings: &UpstreamSettings, metrics: &UpstreamMetrics) -> Result<Self> {
        Ok(Self { upstream: Upstream::new("fleet_parks", settings, metrics)? })
    }

    /// What is wrong with it as far as calls have shown.
    #[must_use]
    pub fn trouble(&self) -> Option<&'static str> {
        self.upstream.trouble()
    }

    /// A park; `None` when there is no such park.
    ///
    /// # Errors
    /// When there is no usable answer.
    pub async fn park(&self, ctx: &Context, id: &ParkId) -> Result<Option<Park>, UpstreamError> {
        let path = format!("/v1/parks/{}", percent_encoded(id.as_str()));
        match self.upstream.call_json(ctx, Call::new(Method::GET, "park", path)).await? {
            Answer::Ok(park) => Ok(Some(park)),
            Answer::Refused(reply) if reply.status == StatusCode::NOT_FOUND => Ok(None),
            Answer::Refused(reply) => Err(reply.unexpected()),
        }
    }
}

/// One segment of a path (RFC 3986): a park's id may hold any printable character.
fn percent_encoded(segment: &str) -> String {
    use std::fmt::Write as _;
    segment.bytes().fold(String::with_capacity(segment.len()), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_id_leaves_its_segment() {
        assert_eq!(percent_encoded("park-1_a~"), "park-1_a~");
        assert_eq!(percent_encoded("../x?y#z%"), "%2E%2E%2Fx%3Fy%23z%25");
    }
}
