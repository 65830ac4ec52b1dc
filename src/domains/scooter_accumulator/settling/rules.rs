//! What the reports of a cabinet make of a booking. Pure: facts in, what to write out, so that it does
//! not matter in which order the reports came.

use std::collections::BTreeSet;

use super::outcome::Outcome;

/// All that matters of a booking whose command went out.
#[derive(Debug, Clone)]
pub struct BookingFacts {
    pub kind: BookingKind,
    pub cells: Vec<CellFacts>,
    /// Of the booking's accumulators: those its technician has now.
    pub with_technician: BTreeSet<String>,
    /// Of the booking's accumulators: those in a cell of this cabinet now.
    pub in_cabinet: BTreeSet<String>,
}

/// All that matters of one of its cells.
#[derive(Debug, Clone)]
pub struct CellFacts {
    pub n: i32,
    /// What became of it so far.
    pub outcome: Option<Outcome>,
    /// As last reported.
    pub state: CellState,
    /// The booking's accumulator: to be taken out, or to be put in.
    pub named: Option<String>,
    /// What is in the cell, by the accumulators' own places.
    pub holds: Option<String>,
}

/// What to write.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Review {
    /// Cells whose outcome is another now.
    pub outcomes: Vec<(i32, Outcome)>,
    pub moves: Vec<Move>,
    /// How the booking ended, if it did.
    pub end: Option<End>,
}

/// An accumulator to be moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    /// To the booking's technician: the door in front of it is open.
    ToTechnician(String),
    /// Into a cell: something is in there that the cabinet cannot name, and this is what it must be.
    ToCell(String, i32),
}

/// How a booking ends whose doors were opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// All of it was done.
    Completed,
    /// Some of it was not.
    Incomplete,
}

/// What a complete state tells of cells that may or may not have been opened, when the command cannot
/// be carried out any more: opened or not, of each whose outcome is not known.
#[must_use]
pub fn judge(facts: &BookingFacts) -> Vec<(i32, Outcome)> {
    let unknown = facts.cells.iter().filter(|cell| cell.outcome.is_none());
    unknown
        .map(|cell| {
            let as_before = match facts.kind {
                BookingKind::Pickup => cell.holds.is_some() && cell.holds == cell.named,
                BookingKind::Return => cell.holds.is_none(),
            };
            let opened = cell.state == CellState::Open || !as_before;
            (cell.n, if opened { Outcome::Opened } else { Outcome::Unopened })
        })
        .collect()
}

/// What is to be written of a booking whose doors were opened. `overdue`: the time for reports is over.
#[must_use]
pub fn review(facts: &BookingFacts, overdue: bool) -> Review {
    let mut review = Review::default();
    let mut after: Vec<Option<Outcome>> = Vec::with_capacity(facts.cells.len());
    for cell in &facts.cells {
        let outcome = match (cell.outcome, facts.kind) {
            (Some(Outcome::Opened), BookingKind::Pickup) => picked_up(facts, cell, &mut review),
            (Some(Outcome::Opened), BookingKind::Return) => returned(facts, cell, &mut review),
            (outcome, _) => outcome,
        };
        let outcome = match (outcome, facts.kind) {
            (Some(Outcome::Opened), BookingKind::Pickup) if overdue => Some(Outcome::Unreported),
            (Some(Outcome::Opened), BookingKind::Return) if overdue => Some(Outcome::Unfilled),
            (outcome, _) => outcome,
        };
        if let Some(outcome) = outcome.filter(|_| outcome != cell.outcome) {
            review.outcomes.push((cell.n, outcome));
        }
        after.push(outcome);
    }
    review.end = end(facts, &after, &review.moves, overdue);
    review
}

fn picked_up(facts: &BookingFacts, cell: &CellFacts, review: &mut Review) -> Option<Outcome> {
    let holds_named = cell.named.is_some() && cell.holds == cell.named;
    Some(match cell.state {
        CellState::Open => {
            if holds_named && let Some(named) = &cell.named {
                review.moves.push(Move::ToTechnician(named.clone()));
            }
            Outcome::Opened
        }
        CellState::Empty => Outcome::Taken,
        CellState::Charging | CellState::Charged if holds_named => Outcome::Left,
        CellState::Charging | CellState::Charged => match unnamed(facts, cell) {
            Some(named) => {
                review.moves.push(Move::ToCell(named, cell.n));
                Outcome::Left
            }
            None => Outcome::Taken,
        },
        // Shut or not, and with what: it cannot tell.
        CellState::Broken => Outcome::Opened,
    })
}

fn returned(facts: &BookingFacts, cell: &CellFacts, review: &mut Review) -> Option<Outcome> {
    Some(match cell.state {
        // Shut, but with nothing in it yet: what is put in may take a moment to be seen.
        CellState::Open | CellState::Broken | CellState::Empty => Outcome::Opened,
        CellState::Charging | CellState::Charged => match unnamed(facts, cell) {
            Some(named) => {
                review.moves.push(Move::ToCell(named, cell.n));
                Outcome::Filled
            }
            None if cell.holds.is_some() => Outcome::Filled,
            None => Outcome::Opened,
        },
    })
}

/// The booking's accumulator, where something is in its cell that the cabinet does not name.
fn unnamed(facts: &BookingFacts, cell: &CellFacts) -> Option<String> {
    let named = cell.named.clone().filter(|_| cell.holds.is_none())?;
    facts.with_technician.contains(&named).then_some(named)
}

fn end(
    facts: &BookingFacts,
    after: &[Option<Outcome>],
    moves: &[Move],
    overdue: bool,
) -> Option<End> {
    let all_done = match facts.kind {
        BookingKind::Pickup => after.iter().all(|outcome| *outcome == Some(Outcome::Taken)),
        BookingKind::Return => {
            let is_home = |named: &String| {
                let comes = |step: &Move| matches!(step, Move::ToCell(id, _) if id == named);
                facts.in_cabinet.contains(named) || moves.iter().any(comes)
            };
            facts.cells.iter().filter_map(|cell| cell.named.as_ref()).all(is_home)
        }
    };
    let settled = after.iter().all(|outcome| outcome.is_some_and(|it| it != Outcome::Opened));
    match (all_done, settled || overdue) {
        (true, _) => Some(End::Completed),
        (false, true) => Some(End::Incomplete),
        (false, false) => None,
    }
}
