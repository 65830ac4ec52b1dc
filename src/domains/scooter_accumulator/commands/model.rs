//! What clients send and see.

use garde::Validate;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::kind::{CommandKind, Names};
use super::status::CommandStatus;
use super::store::Command;
use crate::domains::scooter_accumulator::events::CellReport;
use crate::platform::error::{Error, Result};

/// Cells that one command may name.
const MAX_CELLS: usize = 1_000;

/// A command to be given.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[garde(allow_unvalidated)]
#[serde(deny_unknown_fields)]
pub struct CommandOrder {
    /// What is to be done.
    #[serde(rename = "type")]
    pub kind: CommandKind,
    /// With which cells, by their numbers: of `unlock_cells` and `lock_cells`, and of no other.
    #[serde(default)]
    #[garde(inner(length(min = 1, max = 1000)))]
    #[schema(min_items = 1, max_items = 1000)]
    pub cells: Option<Vec<i32>>,
}

impl CommandOrder {
    /// The cells in order, each once.
    ///
    /// # Errors
    /// `invalid_request` where there are none and must be, are some and must not be, or one is named
    /// twice or cannot be.
    pub fn cells(&self) -> Result<Option<Vec<i32>>> {
        let cells = match (self.kind.entry().names, &self.cells) {
            (Names::Nothing, None) => return Ok(None),
            (Names::Nothing, Some(_)) => {
                return Err(Error::invalid("/cells", "must not be given: it is about the cabinet"));
            }
            (Names::Cells, None) => return Err(Error::invalid("/cells", "must be given")),
            (Names::Cells, Some(cells)) => cells,
        };
        if cells.is_empty() || cells.len() > MAX_CELLS {
            return Err(Error::invalid("/cells", "must name 1 to 1000 cells"));
        }
        let mut sorted = cells.clone();
        sorted.sort_unstable();
        sorted.dedup();
        if sorted.len() != cells.len() {
            return Err(Error::invalid("/cells", "must name each cell once"));
        }
        Ok(Some(sorted))
    }
}

/// A command, as it is answered.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CommandView {
    /// Made by the server; the cabinet is given it.
    pub id: Uuid,
    /// What is to be done.
    #[serde(rename = "type")]
    pub kind: CommandKind,
    /// With which cells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cells: Option<Vec<i32>>,
    /// How far it is.
    pub status: CommandStatus,
    /// When it was given.
    #[schema(value_type = String, format = DateTime)]
    pub issued_at: Timestamp,
    /// The cabinet refuses it after this.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
    /// The booking whose cells it opens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub booking_id: Option<Uuid>,
    /// What came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Answer>,
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Answer {
    /// Whether the cabinet carried it out.
    pub ok: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// Who says so.
    pub by: Witness,
    /// The cells, as the cabinet said in its answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cells: Vec<CellReport>,
}

/// How we know what came of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Witness {
    /// The cabinet's answer to it.
    Cabinet,
    /// No answer came; a later state of the cabinet shows it.
    State,
    /// It has never left this side.
    Server,
}

/// Why a command was not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// Its time was over before the cabinet, or the broker, took it.
    Expired,
    /// A door is stuck.
    Jammed,
    /// The cabinet was doing something else.
    Busy,
    /// The cabinet has no such cell.
    UnknownCell,
    /// The broker could not be reached; it has not left.
    NotSent,
    /// Something that the contract with cabinets does not name.
    #[serde(other)]
    Other,
}

impl Answer {
    /// That it has never left.
    pub fn never_left(why: Failure) -> Self {
        Self { ok: false, error: Some(why), by: Witness::Server, cells: Vec::new() }
    }
}

impl From<Command> for CommandView {
    fn from(command: Command) -> Self {
        Self {
            id: command.id,
            kind: command.kind,
            cells: command.cells,
            status: command.status,
            issued_at: command.issued_at,
            expires_at: command.expires_at,
            booking_id: command.booking_id,
            result: command.result,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_command_names_cells_where_it_is_about_cells() {
        for (order, cells) in [
            (json!({"type": "unlock_cells", "cells": [3, 1]}), Some(Some(vec![1, 3]))),
            (json!({"type": "lock_cells", "cells": [2]}), Some(Some(vec![2]))),
            (json!({"type": "get_state"}), Some(None)),
            (json!({"type": "reboot"}), Some(None)),
            (json!({"type": "unlock_cells"}), None),
            (json!({"type": "unlock_cells", "cells": []}), None),
            (json!({"type": "unlock_cells", "cells": [1, 1]}), None),
            (json!({"type": "reboot", "cells": [1]}), None),
        ] {
            let order: CommandOrder = serde_json::from_value(order).unwrap();
            assert_eq!(order.cells().ok(), cells, "{order:?}");
        }
        for order in [json!({"type": "explode"}), json!({}), json!({"type": "reboot", "x": 1})] {
            assert!(serde_json::from_value::<CommandOrder>(order).is_err());
        }
    }

    #[test]
    fn a_failure_of_a_later_version_is_read_back() {
        assert_eq!(serde_json::from_value::<Failure>(json!("on_fire")).unwrap(), Failure::Other);
    }
}
