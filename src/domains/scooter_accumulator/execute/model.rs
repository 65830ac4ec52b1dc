//! What clients send.

use garde::Validate;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::domains::scooter_accumulator::ids::AccumulatorId;

/// How a booking is executed.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[garde(allow_unvalidated)]
#[serde(deny_unknown_fields)]
pub struct ExecuteOrder {
    /// Of a return: what is brought, at most as many as cells are booked. Not given for a pick-up.
    #[serde(default)]
    #[garde(inner(length(min = 1, max = 1000)))]
    #[schema(min_items = 1, max_items = 1000)]
    pub accumulator_ids: Option<Vec<AccumulatorId>>,
}
