//! `driver-trackstory`: where drivers are.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::platform::context::Context;
use crate::platform::error::Result;
use crate::platform::upstream::{
    Answer, Call, Upstream, UpstreamError, UpstreamMetrics, UpstreamSettings,
};

/// Most drivers in one request.
pub const BATCH: usize = 500;

/// A park's driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct DriverRef<'a> {
    /// The park.
    pub park_id: &'a str,
    /// The driver's id within the park.
    pub driver_id: &'a str,
}

/// Where a driver was last seen.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Position {
    /// The park.
    pub park_id: String,
    /// The driver's id within the park.
    pub driver_id: String,
    /// Degrees north, -90 to 90.
    pub lat: f64,
    /// Degrees east, -180 to 180.
    pub lon: f64,
    /// When.
    pub at: Timestamp,
}

impl Position {
    fn is_on_earth(&self) -> bool {
        self.lat.abs() <= 90.0 && self.lon.abs() <= 180.0
    }
}

#[derive(Deserialize)]
struct Positions {
    positions: Vec<Position>,
}

/// The client of `driver-trackstory`. Cheap to clone.
#[derive(Clone)]
pub struct DriverTrackstory {
    upstream: Upstream,
}

impl DriverTrackstory {
    /// # Errors
    /// When the token cannot be sent in a header.
    pub fn new(settings: &UpstreamSettings, metrics: &UpstreamMetrics) -> Result<Self> {
        Ok(Self { upstream: Upstream::new("driver_trackstory", settings, metrics)? })
    }

    /// What is wrong with it as far as calls have shown.
    #[must_use]
    pub fn trouble(&self) -> Option<&'static str> {
        self.upstream.trouble()
    }

    /// Where these drivers are, in no order; those without a position are left out. Asks for
    /// [`BATCH`] at a time.
    ///
    /// # Errors
    /// When one of the requests has no usable answer.
    pub async fn positions(
        &self,
        ctx: &Context,
        drivers: &[DriverRef<'_>],
    ) -> Result<Vec<Position>, UpstreamError> {
        let mut found = Vec::with_capacity(drivers.len());
        for batch in drivers.chunks(BATCH) {
            let body = json!({ "drivers": batch });
            let call = Call::post("positions", "/v1/positions", &body)?.idempotent();
            match self.upstream.call_json::<Positions>(ctx, call).await? {
                Answer::Ok(Positions { positions }) => {
                    found.extend(positions.into_iter().filter(Position::is_on_earth));
                }
                Answer::Refused(reply) => return Err(reply.unexpected()),
            }
        }
        Ok(found)
    }
}
