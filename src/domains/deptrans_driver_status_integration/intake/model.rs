//! Bodies of the intake over HTTP.

use garde::Validate;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// Most events of one request.
const MOST: usize = 1_000;

/// Events as they come from Kafka.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StatusEvents {
    /// Up to 1 000, of any drivers, in any order. Each is read for itself.
    #[garde(length(max = MOST))]
    #[schema(max_items = 1000, value_type = Vec<EventSchema>)]
    pub events: Vec<Box<RawValue>>,
}

/// A driver went on line, off line, or took an order. Further fields are ignored.
#[derive(ToSchema)]
#[schema(as = StatusEvent)]
#[allow(dead_code, reason = "only its description is used; event.rs reads it")]
struct EventSchema {
    /// The park: 1 to 64 printable ASCII characters without spaces, as are all ids.
    park_id: String,
    /// The driver's profile in the park.
    driver_id: String,
    /// online, busy (carries out an order) or offline.
    status: String,
    /// RFC 3339, up to nanoseconds; of two events of a driver the later one counts, whenever they
    /// come. At most an hour in the future.
    occurred_at: String,
    /// Decides between equal times.
    event_id: String,
}

/// What became of events.
#[derive(Debug, Serialize, ToSchema)]
pub struct StatusEventsOutcome {
    /// Those that are now the newest of their driver.
    pub accepted: usize,
    /// Those than which a newer one was known, or came with them; also those that came before.
    pub superseded: usize,
    /// Those that could not be read; they are not kept.
    pub rejected: Vec<RejectedEvent>,
}

/// An event that could not be read.
#[derive(Debug, Serialize, ToSchema)]
pub struct RejectedEvent {
    /// Its place in the request, from 0.
    pub index: usize,
    /// What is wrong with it.
    pub detail: String,
}
