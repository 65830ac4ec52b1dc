//! What clients send and see.

use garde::Validate;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::status::BookingStatus;
use crate::domains::scooter_accumulator::ids::{AccumulatorId, CabinetId};
use crate::platform::ids::ContractorId;

/// What a technician comes for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BookingKind {
    /// To take charged accumulators out.
    Pickup,
    /// To put accumulators into empty cells.
    Return,
}

/// What is to be booked.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBooking {
    /// At which cabinet.
    #[garde(skip)]
    pub cabinet_id: CabinetId,
    /// For which technician.
    #[garde(skip)]
    pub contractor_id: ContractorId,
    /// To take out or to put in.
    #[garde(skip)]
    pub kind: BookingKind,
    /// How many accumulators, or empty cells.
    #[garde(range(min = 1, max = 1000))]
    #[schema(minimum = 1, maximum = 1000)]
    pub count: i32,
    /// The least charge of what is to be taken out, in percent; then it need not be charged full. Only
    /// of a pick-up.
    #[serde(default)]
    #[garde(inner(range(min = 0, max = 100)))]
    #[schema(minimum = 0, maximum = 100)]
    pub min_charge: Option<i16>,
}

/// A cabinet that could be booked in place of one that could not.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Alternative {
    /// The cabinet.
    pub id: CabinetId,
    /// How far it is from the other one, in metres.
    pub distance_m: f64,
}

/// A booking, as it is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Booking {
    /// Made by the server.
    pub id: Uuid,
    /// At which cabinet.
    pub cabinet_id: CabinetId,
    /// For which technician.
    pub contractor_id: ContractorId,
    /// To take out or to put in.
    pub kind: BookingKind,
    /// How it stands.
    pub status: BookingStatus,
    /// How many cells it is of.
    pub count: i32,
    /// The least charge that was asked for, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 100)]
    pub min_charge: Option<i16>,
    /// The cells, in order.
    pub cells: Vec<BookedCell>,
    /// From then on an `active` one is `expired`.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it came to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
}

/// A cell of a booking.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BookedCell {
    /// Its number, from 1.
    pub n: i32,
    /// What is to be taken out of it, or to be put into it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accumulator_id: Option<AccumulatorId>,
    /// What became of it, once that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<CellOutcome>,
}

/// What became of a booked cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CellOutcome {
    /// It did not open.
    Failed,
    /// It was opened, and the cabinet has not told yet what is in it.
    Opened,
    /// What was in it was taken out.
    Taken,
    /// What was to be taken out is still in it.
    Left,
    /// What was to be put in is in the cabinet, in this cell or another.
    Returned,
    /// What was to be put in is not in the cabinet, whatever else is in the cell.
    Missing,
    /// It was not told in time; what was to be taken out counts as taken.
    Unreported,
    /// It was booked, but not needed.
    Unused,
}

impl CellOutcome {
    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Opened => "opened",
            Self::Taken => "taken",
            Self::Left => "left",
            Self::Returned => "returned",
            Self::Missing => "missing",
            Self::Unreported => "unreported",
            Self::Unused => "unused",
        }
    }
}

impl BookingKind {
    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pickup => "pickup",
            Self::Return => "return",
        }
    }

    /// As it is read back.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Pickup, Self::Return].into_iter().find(|kind| kind.as_str() == text)
    }
}
