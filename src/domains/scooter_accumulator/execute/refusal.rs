//! What a command that has ended tells its caller.

use std::time::Duration;

use crate::domains::scooter_accumulator::cabinets::cells::CellState;
use crate::domains::scooter_accumulator::commands::{
    Command, CommandStatus, Failure, broker_unavailable,
};
use crate::platform::error::{Error, Kind};

/// Whether a command that has ended opened a door.
pub(super) fn opened_any(command: &Command) -> bool {
    let is_open = |n: &i32| {
        let cells = command.result.iter().flat_map(|answer| &answer.cells);
        cells.into_iter().any(|cell| cell.n == *n && cell.state == CellState::Open)
    };
    match command.status {
        // With every cell broken, what was carried out opened nothing.
        CommandStatus::Succeeded => {
            let told = command.result.as_ref().map_or(0, |answer| answer.cells.len());
            told == 0 || command.cells.iter().flatten().any(|n| !is_broken(command, *n))
        }
        _ => command.cells.iter().flatten().any(is_open),
    }
}

fn is_broken(command: &Command, n: i32) -> bool {
    let mut cells = command.result.iter().flat_map(|answer| &answer.cells);
    cells.any(|cell| cell.n == n && cell.state == CellState::Broken)
}

/// Why no door was opened.
pub(super) fn refusal(command: &Command) -> Error {
    let conflict = |code, detail| Error::new(Kind::Conflict, code, detail);
    match command.result.as_ref().and_then(|answer| answer.error) {
        Some(Failure::NotSent) => broker_unavailable(),
        Some(Failure::Expired) => no_answer(),
        Some(Failure::Jammed) => conflict("cabinet_jammed", "A door of the cabinet is stuck."),
        Some(Failure::Busy) => {
            conflict("cabinet_busy", "The cabinet is doing something else; try again.")
        }
        Some(Failure::UnknownCell) => {
            conflict("cabinet_unknown_cell", "The cabinet does not know one of the cells.")
        }
        Some(Failure::Other) | None => {
            conflict("cabinet_refused", "The cabinet did not open the cells.")
        }
    }
}

/// The cabinet did not answer in time.
pub(super) fn no_answer() -> Error {
    let detail = "The cabinet did not answer in time; the booking shows what becomes of it.";
    Error::new(Kind::DeadlineExceeded, "cabinet_no_answer", detail)
        .with_retry_after(Duration::from_secs(1))
}
