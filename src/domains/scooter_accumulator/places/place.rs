//! A place, and why an accumulator came to it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domains::scooter_accumulator::ids::{CabinetId, ScooterId};
use crate::platform::error::{Error, Result};
use crate::platform::ids::ContractorId;

/// Where an accumulator is. One that is lost has none.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(untagged, try_from = "PlaceColumns")]
pub enum Place {
    /// In a cabinet's cell.
    Cell(InCell),
    /// With a technician.
    Contractor(WithContractor),
    /// In a scooter.
    Scooter(InScooter),
}

/// In a cabinet's cell.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InCell {
    /// The cabinet.
    pub cabinet_id: CabinetId,
    /// The cell's number, from 1.
    #[schema(minimum = 1)]
    pub cell: i32,
}

/// With a technician.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WithContractor {
    /// The technician.
    pub contractor_id: ContractorId,
}

/// In a scooter.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InScooter {
    /// The scooter.
    pub scooter_id: ScooterId,
}

/// A place as it is stored, in four columns; and as it is read from JSON, so that a fault is told by
/// the member that has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlaceColumns {
    #[serde(default)]
    pub cabinet_id: Option<CabinetId>,
    #[serde(default)]
    pub cell: Option<i32>,
    #[serde(default)]
    pub contractor_id: Option<ContractorId>,
    #[serde(default)]
    pub scooter_id: Option<ScooterId>,
}

impl Place {
    /// A cell of a cabinet.
    pub fn cell(cabinet_id: CabinetId, cell: i32) -> Self {
        Self::Cell(InCell { cabinet_id, cell })
    }

    /// A technician.
    pub fn contractor(contractor_id: ContractorId) -> Self {
        Self::Contractor(WithContractor { contractor_id })
    }

    /// A scooter.
    pub fn scooter(scooter_id: ScooterId) -> Self {
        Self::Scooter(InScooter { scooter_id })
    }

    /// The cell, if it is one.
    pub fn in_cell(&self) -> Option<&InCell> {
        match self {
            Self::Cell(place) => Some(place),
            Self::Contractor(_) | Self::Scooter(_) => None,
        }
    }
}

impl From<Option<&Place>> for PlaceColumns {
    fn from(place: Option<&Place>) -> Self {
        let mut columns = Self::default();
        match place.cloned() {
            None => {}
            Some(Place::Cell(InCell { cabinet_id, cell })) => {
                columns.cabinet_id = Some(cabinet_id);
                columns.cell = Some(cell);
            }
            Some(Place::Contractor(place)) => columns.contractor_id = Some(place.contractor_id),
            Some(Place::Scooter(place)) => columns.scooter_id = Some(place.scooter_id),
        }
        columns
    }
}

impl TryFrom<PlaceColumns> for Place {
    type Error = &'static str;

    fn try_from(columns: PlaceColumns) -> Result<Self, Self::Error> {
        match columns {
            PlaceColumns {
                cabinet_id: Some(cabinet_id),
                cell: Some(cell),
                contractor_id: None,
                scooter_id: None,
            } if cell >= 1 => Ok(Self::cell(cabinet_id, cell)),
            PlaceColumns {
                cabinet_id: None,
                cell: None,
                contractor_id: Some(contractor_id),
                scooter_id: None,
            } => Ok(Self::contractor(contractor_id)),
            PlaceColumns {
                cabinet_id: None,
                cell: None,
                contractor_id: None,
                scooter_id: Some(scooter_id),
            } => Ok(Self::scooter(scooter_id)),
            _ => {
                Err("must be one place: cabinet_id and cell (from 1), contractor_id, or scooter_id")
            }
        }
    }
}

impl PlaceColumns {
    /// What is stored, read back.
    pub fn place(self) -> Result<Option<Place>> {
        if self == Self::default() {
            return Ok(None);
        }
        Place::try_from(self).map(Some).map_err(Error::internal)
    }
}

/// What made an accumulator move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MoveKind {
    /// It became known.
    Created,
    /// A person said so.
    Edited,
    /// Its cell was unlocked for a pick-up.
    Unlocked,
    /// A cabinet reported it in a cell.
    Reported,
    /// A cabinet no longer reports it, and somebody was at the open door.
    Taken,
    /// It was swapped into or out of a scooter.
    Swapped,
    /// A cabinet reported it in the cell of a booking to return it.
    Returned,
    /// A booking was settled.
    Settled,
    /// A cabinet no longer reports it, and nobody had it opened.
    Lost,
}

impl MoveKind {
    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Edited => "edited",
            Self::Unlocked => "unlocked",
            Self::Reported => "reported",
            Self::Taken => "taken",
            Self::Swapped => "swapped",
            Self::Returned => "returned",
            Self::Settled => "settled",
            Self::Lost => "lost",
        }
    }

    /// As it is read back.
    pub fn parse(text: &str) -> Option<Self> {
        const ALL: [MoveKind; 9] = [
            MoveKind::Created,
            MoveKind::Edited,
            MoveKind::Unlocked,
            MoveKind::Reported,
            MoveKind::Taken,
            MoveKind::Swapped,
            MoveKind::Returned,
            MoveKind::Settled,
            MoveKind::Lost,
        ];
        ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// Why a move was made, for the history.
#[derive(Debug, Clone, Copy)]
pub struct Cause {
    /// What happened.
    pub kind: MoveKind,
    /// Of which booking.
    pub booking_id: Option<Uuid>,
    /// By which command.
    pub command_id: Option<Uuid>,
}

impl Cause {
    /// Nothing of a cabinet's.
    pub fn of(kind: MoveKind) -> Self {
        Self { kind, booking_id: None, command_id: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_place_is_one_of_three() {
        for (value, fits) in [
            (json!({"cabinet_id": "c", "cell": 1}), true),
            (json!({"contractor_id": "t"}), true),
            (json!({"scooter_id": "s"}), true),
            (json!({"cabinet_id": "c", "cell": 0}), false),
            (json!({"cabinet_id": "c"}), false),
            (json!({"cell": 1}), false),
            (json!({"contractor_id": "t", "scooter_id": "s"}), false),
            (json!({"cabinet_id": "c", "cell": 1, "scooter_id": "s"}), false),
            (json!({"contractor_id": "t", "x": 1}), false),
            (json!({}), false),
        ] {
            let place = serde_json::from_value::<Place>(value.clone());
            assert_eq!(place.is_ok(), fits, "{value}");
            if let Ok(place) = place {
                assert_eq!(serde_json::to_value(&place).unwrap(), value);
                assert_eq!(PlaceColumns::from(Some(&place)).place().unwrap(), Some(place));
            }
        }
    }
}
