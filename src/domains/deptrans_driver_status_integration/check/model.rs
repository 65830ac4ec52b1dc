//! Bodies as callers see them.

use garde::Validate;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::platform::ids::{ContractorId, ParkId};

/// Most drivers of one check.
const MOST: usize = 1_000;

/// Drivers to check.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// Up to 1 000; one may be named twice.
    #[garde(length(min = 1, max = MOST))]
    #[schema(min_items = 1, max_items = 1000)]
    pub drivers: Vec<DriverKey>,
}

/// A driver's profile in a park.
#[derive(Debug, Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DriverKey {
    /// The park.
    pub park_id: ParkId,
    /// The driver's id within the park.
    pub driver_id: ContractorId,
}

/// What was found out.
#[derive(Debug, Serialize, ToSchema)]
pub struct Checked {
    /// In the order in which they were asked.
    pub items: Vec<CheckedDriver>,
}

/// Whether a driver may take orders now.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub struct CheckedDriver {
    /// The park.
    pub park_id: ParkId,
    /// The driver's id within the park.
    pub driver_id: ContractorId,
    /// Whether he may.
    pub allowed: bool,
    /// Whether a reason blocks him. It only warns where his region is in its first stage, and outside
    /// of all regions.
    pub blocking: bool,
    /// What stands against it, or soon will.
    pub reasons: Vec<Reason>,
}

/// What stands against a driver's taking orders.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Reason {
    /// What it is.
    pub code: Code,
    /// When the shift ends, with `shift_ends_at`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub at: Option<Timestamp>,
}

/// Sorts of reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// No id at the regulator is bound to his licence, or nothing is known of him.
    NoId,
    /// The regulator knows of no shift of his, or it is over, or he has to rest.
    NoActiveShift,
    /// His shift ends soon. Never blocks.
    ShiftEndsAt,
}

impl Code {
    /// As in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoId => "no_id",
            Self::NoActiveShift => "no_active_shift",
            Self::ShiftEndsAt => "shift_ends_at",
        }
    }
}
