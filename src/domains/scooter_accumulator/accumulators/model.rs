//! What clients send and see.

use garde::Validate;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::domains::scooter_accumulator::ids::{AccumulatorId, CabinetId, ScooterId};
use crate::domains::scooter_accumulator::places::{self, MoveKind, Place};
use crate::platform::http::pagination::Paging;
use crate::platform::ids::ContractorId;

/// An accumulator to be made known.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAccumulator {
    /// What cabinets read from it.
    #[garde(skip)]
    pub id: AccumulatorId,
    /// Percent.
    #[garde(range(min = 0, max = 100))]
    #[schema(minimum = 0, maximum = 100)]
    pub charge: i16,
    /// Where it is; null: lost.
    #[serde(deserialize_with = "Option::deserialize")]
    #[garde(skip)]
    #[schema(required = true)]
    pub place: Option<Place>,
    /// Whether a person is to look at it.
    #[serde(default)]
    #[garde(skip)]
    pub flagged: bool,
}

/// What a person says of an accumulator.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AccumulatorEdit {
    /// The same as in the path, if it is given.
    #[serde(default)]
    #[garde(skip)]
    pub id: Option<AccumulatorId>,
    /// Percent.
    #[garde(range(min = 0, max = 100))]
    #[schema(minimum = 0, maximum = 100)]
    pub charge: i16,
    /// Where it is; null: lost.
    #[serde(deserialize_with = "Option::deserialize")]
    #[garde(skip)]
    #[schema(required = true)]
    pub place: Option<Place>,
    /// Whether a person is to look at it.
    #[serde(default)]
    #[garde(skip)]
    pub flagged: bool,
}

/// An accumulator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Accumulator {
    /// What cabinets read from it.
    pub id: AccumulatorId,
    /// Percent.
    #[schema(minimum = 0, maximum = 100)]
    pub charge: i16,
    /// Where it is; null: lost.
    #[schema(required = true)]
    pub place: Option<Place>,
    /// A person is to look at it: it was taken without a booking, or a cabinet reported it and nobody
    /// had made it known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub flagged: bool,
}

impl From<places::Accumulator> for Accumulator {
    fn from(accumulator: places::Accumulator) -> Self {
        let places::Accumulator { id, charge, place, flagged, version: _ } = accumulator;
        Self { id, charge, place, flagged }
    }
}

/// A move of an accumulator.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct HistoryItem {
    /// When it was written down.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// What made it move.
    pub kind: MoveKind,
    /// Where it was; null: lost, or not known yet.
    #[schema(required = true)]
    pub from: Option<Place>,
    /// Where it came to; null: lost.
    #[schema(required = true)]
    pub to: Option<Place>,
    /// Of which booking.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub booking_id: Option<Uuid>,
    /// By which command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command_id: Option<Uuid>,
}

/// Which accumulators are asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AccumulatorQuery {
    /// Those that this technician has.
    pub contractor_id: Option<ContractorId>,
    /// Those in this scooter.
    pub scooter_id: Option<ScooterId>,
    /// Those in this cabinet.
    pub cabinet_id: Option<CabinetId>,
    /// Those that a person is to look at, or is not.
    pub flagged: Option<bool>,
    /// Items in the page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(min_length = 1, max_length = 1024)]
    cursor: Option<String>,
}

impl AccumulatorQuery {
    /// Which page.
    pub fn paging(&self) -> Paging {
        Paging::new(self.limit, self.cursor.clone())
    }
}

/// A swap at a scooter.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(clippy::struct_field_names, reason = "they are ids, and are called so outside")]
pub struct NewSwap {
    /// The technician.
    #[garde(skip)]
    pub contractor_id: ContractorId,
    /// Goes from the technician into the scooter.
    #[garde(skip)]
    pub charged_accumulator_id: AccumulatorId,
    /// Comes out of the scooter to the technician; left out when there was none in it.
    #[serde(default)]
    #[garde(skip)]
    pub discharged_accumulator_id: Option<AccumulatorId>,
}

/// What a swap led to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Swap {
    /// The scooter.
    pub scooter_id: ScooterId,
    /// The technician.
    pub contractor_id: ContractorId,
    /// In the scooter now.
    pub charged_accumulator: Accumulator,
    /// With the technician now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discharged_accumulator: Option<Accumulator>,
}
