//! What the reports of a cabinet make of a booking. Pure: facts in, what to write out, so that it does
//! not matter in which order the reports came.

use std::collections::BTreeSet;

use crate::domains::scooter_accumulator::bookings::{BookingKind, CellOutcome as Outcome};
use crate::domains::scooter_accumulator::cabinets::cells::CellState;
use crate::domains::scooter_accumulator::ids::AccumulatorId;

/// All that matters of a booking whose command went out.
#[derive(Debug, Clone)]
pub struct BookingFacts {
    pub kind: BookingKind,
    pub cells: Vec<CellFacts>,
    /// Of the booking's accumulators: those its technician has now.
    pub with_technician: BTreeSet<AccumulatorId>,
    /// Of the booking's accumulators: those in a cell of this cabinet now.
    pub in_cabinet: BTreeSet<AccumulatorId>,
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
    pub named: Option<AccumulatorId>,
    /// What is in the cell, by the accumulators' own places.
    pub holds: Option<AccumulatorId>,
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
    ToTechnician(AccumulatorId),
    /// Into a cell: something is in there that the cabinet cannot name, and this is what it must be.
    ToCell(AccumulatorId, i32),
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
            (cell.n, if opened { Outcome::Opened } else { Outcome::Failed })
        })
        .collect()
}

/// What is to be written of a booking whose doors were opened. `overdue`: the time for reports is over.
#[must_use]
pub fn review(facts: &BookingFacts, overdue: bool) -> Review {
    let mut review = Review::default();
    let mut after: Vec<Option<Outcome>> = Vec::with_capacity(facts.cells.len());
    let is_full = !has_room(facts);
    for cell in &facts.cells {
        let outcome = match (cell.outcome, facts.kind) {
            (Some(Outcome::Opened), BookingKind::Pickup) => {
                Some(picked_up(facts, cell, &mut review))
            }
            (Some(Outcome::Opened), BookingKind::Return) => {
                Some(returned(facts, cell, &mut review))
            }
            (outcome, _) => outcome,
        };
        let outcome = match (outcome, facts.kind) {
            (Some(Outcome::Opened), BookingKind::Pickup) if overdue => Some(Outcome::Unreported),
            (Some(Outcome::Opened), BookingKind::Return) if overdue || is_full => {
                Some(Outcome::Missing)
            }
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

fn picked_up(facts: &BookingFacts, cell: &CellFacts, review: &mut Review) -> Outcome {
    let holds_named = cell.named.is_some() && cell.holds == cell.named;
    match cell.state {
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
    }
}

/// What the cell names is back when it is in the cabinet, in whichever of its cells; what else is in
/// the cell says nothing of it.
fn returned(facts: &BookingFacts, cell: &CellFacts, review: &mut Review) -> Outcome {
    if cell.named.as_ref().is_some_and(|named| facts.in_cabinet.contains(named)) {
        return Outcome::Returned;
    }
    match unnamed(facts, cell).filter(|_| cell.state.is_shut_on_something()) {
        Some(named) => {
            review.moves.push(Move::ToCell(named, cell.n));
            Outcome::Returned
        }
        // Shut with nothing in it, too: what is put in may take a moment to be seen.
        None => Outcome::Opened,
    }
}

/// Whether something can still be put in: doors that were opened do not open again, so that a cell is
/// done with once it is shut on something.
fn has_room(facts: &BookingFacts) -> bool {
    let was_opened =
        |cell: &&CellFacts| matches!(cell.outcome, Some(Outcome::Opened | Outcome::Returned));
    facts.cells.iter().filter(was_opened).any(|cell| !cell.state.is_shut_on_something())
}

/// The booking's accumulator, where something is in its cell that the cabinet does not name.
fn unnamed(facts: &BookingFacts, cell: &CellFacts) -> Option<AccumulatorId> {
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
            let is_home = |named: &AccumulatorId| {
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

#[cfg(test)]
mod tests {
    use super::*;
    use CellState::{Broken, Charged, Charging, Empty, Open};

    fn id(text: &str) -> AccumulatorId {
        AccumulatorId::parse(text).unwrap()
    }

    /// A cell that was opened: its number, its state, what it is booked for, what is in it.
    fn opened(n: i32, state: CellState, named: Option<&str>, holds: Option<&str>) -> CellFacts {
        let (named, holds) = (named.map(id), holds.map(id));
        CellFacts { n, outcome: Some(Outcome::Opened), state, named, holds }
    }

    fn facts(kind: BookingKind, cells: Vec<CellFacts>, with_technician: &[&str]) -> BookingFacts {
        let inside = cells.iter().filter_map(|cell| cell.holds.clone());
        let named: BTreeSet<_> = cells.iter().filter_map(|cell| cell.named.clone()).collect();
        let in_cabinet = inside.filter(|id| named.contains(id)).collect();
        let with_technician = with_technician.iter().copied().map(id).collect();
        BookingFacts { kind, cells, with_technician, in_cabinet }
    }

    fn pickup(cells: Vec<CellFacts>, with_technician: &[&str]) -> BookingFacts {
        facts(BookingKind::Pickup, cells, with_technician)
    }

    fn bringing(cells: Vec<CellFacts>, with_technician: &[&str]) -> BookingFacts {
        facts(BookingKind::Return, cells, with_technician)
    }

    #[test]
    fn what_is_behind_an_open_door_is_the_technicians() {
        let facts = pickup(vec![opened(1, Open, Some("a"), Some("a"))], &[]);
        let moves = vec![Move::ToTechnician(id("a"))];
        assert_eq!(review(&facts, false), Review { moves, ..Review::default() });
        // And once only.
        let facts = pickup(vec![opened(1, Open, Some("a"), None)], &["a"]);
        assert_eq!(review(&facts, false), Review::default());
    }

    #[test]
    fn shut_doors_settle_a_pick_up() {
        let taken = opened(1, Empty, Some("a"), None);
        let left = opened(2, Charging, Some("b"), Some("b"));
        let changed = opened(2, Charged, Some("b"), Some("z"));
        for (cells, outcomes, end) in [
            (vec![taken.clone()], vec![(1, Outcome::Taken)], End::Completed),
            (
                vec![taken.clone(), left],
                vec![(1, Outcome::Taken), (2, Outcome::Left)],
                End::Incomplete,
            ),
            (vec![taken, changed], vec![(1, Outcome::Taken), (2, Outcome::Taken)], End::Completed),
        ] {
            let expected = Review { outcomes, moves: Vec::new(), end: Some(end) };
            assert_eq!(review(&pickup(cells, &["a", "b"]), false), expected);
        }
    }

    #[test]
    fn a_door_that_stays_open_waits_until_the_time_is_over() {
        let cells = vec![opened(1, Empty, Some("a"), None), opened(2, Open, Some("b"), None)];
        let facts = pickup(cells, &["a", "b"]);
        assert_eq!(review(&facts, false).outcomes, [(1, Outcome::Taken)]);
        assert_eq!(review(&facts, false).end, None);
        let late = review(&facts, true);
        assert_eq!(late.outcomes, [(1, Outcome::Taken), (2, Outcome::Unreported)]);
        assert_eq!(late.end, Some(End::Incomplete));
    }

    #[test]
    fn a_cell_that_did_not_open_makes_a_booking_incomplete() {
        let failed =
            CellFacts { outcome: Some(Outcome::Failed), ..opened(2, Broken, Some("b"), Some("b")) };
        let facts = pickup(vec![opened(1, Empty, Some("a"), None), failed], &["a"]);
        assert_eq!(review(&facts, false).end, Some(End::Incomplete));
        assert_eq!(review(&facts, false).moves, []);
    }

    #[test]
    fn what_the_cabinet_cannot_name_is_what_was_to_be_there() {
        let facts = pickup(vec![opened(1, Charging, Some("a"), None)], &["a"]);
        let moves = vec![Move::ToCell(id("a"), 1)];
        let outcomes = vec![(1, Outcome::Left)];
        assert_eq!(review(&facts, false), Review { outcomes, moves, end: Some(End::Incomplete) });

        let facts = bringing(vec![opened(1, Charging, Some("a"), None)], &["a"]);
        let moves = vec![Move::ToCell(id("a"), 1)];
        let outcomes = vec![(1, Outcome::Returned)];
        assert_eq!(review(&facts, false), Review { outcomes, moves, end: Some(End::Completed) });
        // Somebody else has it by now: it is not here.
        let facts = pickup(vec![opened(1, Charging, Some("a"), None)], &[]);
        assert_eq!(review(&facts, false).moves, []);
    }

    #[test]
    fn a_return_is_complete_when_all_is_in_any_of_its_cells() {
        let cells = vec![
            opened(1, Charging, Some("a"), Some("b")),
            opened(2, Charging, Some("b"), Some("a")),
        ];
        let done = review(&bringing(cells, &[]), false);
        assert_eq!(done.end, Some(End::Completed));
        assert_eq!(done.outcomes, [(1, Outcome::Returned), (2, Outcome::Returned)]);
    }

    /// What one cell that is booked for `a` shows, by its state and what is in it.
    fn brought(state: CellState, holds: Option<&str>, with_technician: &[&str]) -> Review {
        review(&bringing(vec![opened(1, state, Some("a"), holds)], with_technician), false)
    }

    #[test]
    fn a_return_is_decided_by_what_its_cell_names() {
        let done = |outcome, end| Review { outcomes: vec![(1, outcome)], end, ..Review::default() };
        for state in [Charging, Charged] {
            let home = brought(state, Some("a"), &[]);
            assert_eq!(home, done(Outcome::Returned, Some(End::Completed)), "it is in the cell");
            let other = brought(state, Some("z"), &["a"]);
            assert_eq!(other, done(Outcome::Missing, Some(End::Incomplete)), "another is in it");
            let gone = brought(state, None, &[]);
            assert_eq!(gone, done(Outcome::Missing, Some(End::Incomplete)), "he did not have it");
        }
        let broken = brought(Broken, Some("a"), &[]);
        assert_eq!(broken, done(Outcome::Returned, Some(End::Completed)), "behind a broken door");
        for (state, holds) in [(Empty, None), (Open, None), (Broken, None), (Broken, Some("z"))] {
            assert_eq!(brought(state, holds, &["a"]), Review::default(), "it may come: {state:?}");
        }
    }

    #[test]
    fn another_in_one_cell_waits_for_what_can_still_come_into_the_next() {
        let cells = |state, holds| {
            vec![
                opened(1, Charging, Some("a"), Some("z")),
                opened(2, state, Some("b"), holds),
                CellFacts { outcome: Some(Outcome::Failed), ..opened(3, Broken, Some("c"), None) },
            ]
        };
        for state in [Open, Empty, Broken] {
            let waits = review(&bringing(cells(state, None), &["a", "b", "c"]), false);
            assert_eq!(waits, Review::default(), "{state:?}");
        }
        let first = review(&bringing(cells(Charging, Some("a")), &["b", "c"]), false);
        assert_eq!(first.outcomes, [(1, Outcome::Returned), (2, Outcome::Missing)]);
        let second = review(&bringing(cells(Charging, Some("b")), &["a", "c"]), false);
        assert_eq!(second.outcomes, [(1, Outcome::Missing), (2, Outcome::Returned)]);
        assert_eq!([first.end, second.end], [Some(End::Incomplete); 2]);
    }

    #[test]
    fn what_is_back_in_anothers_cell_leaves_its_own_door_for_the_other() {
        // The first went into the second cell; its own stands open.
        let cells = vec![
            CellFacts { outcome: Some(Outcome::Returned), ..opened(1, Open, Some("a"), None) },
            opened(2, Charging, Some("b"), Some("a")),
        ];
        assert_eq!(review(&bringing(cells.clone(), &["b"]), false), Review::default());
        let late = review(&bringing(cells, &["b"]), true);
        assert_eq!((late.outcomes, late.end), (vec![(2, Outcome::Missing)], Some(End::Incomplete)));
    }

    #[test]
    fn what_is_not_reported_in_time_stays_the_technicians() {
        let cells = vec![
            opened(1, Charging, Some("a"), Some("a")),
            opened(2, Empty, Some("b"), None),
            CellFacts { outcome: Some(Outcome::Unused), ..opened(3, Empty, None, None) },
        ];
        let facts = bringing(cells, &["b"]);
        assert_eq!(review(&facts, false).end, None, "it may be seen in a moment");
        let late = review(&facts, true);
        assert_eq!(late.outcomes, [(1, Outcome::Returned), (2, Outcome::Missing)]);
        assert_eq!((late.end, late.moves), (Some(End::Incomplete), vec![]));
    }

    #[test]
    fn a_later_state_tells_whether_a_door_was_opened() {
        let cell = |n, state, named, holds| CellFacts {
            outcome: None,
            ..opened(n, state, Some(named), holds)
        };
        let cells = vec![
            cell(1, Charged, "a", Some("a")),
            cell(2, Open, "b", Some("b")),
            cell(3, Empty, "c", None),
            cell(4, Charged, "d", Some("z")),
            cell(5, Broken, "e", Some("e")),
        ];
        let opened_or_not = |opened: &[(i32, bool)]| -> Vec<(i32, Outcome)> {
            let of = |opened| if opened { Outcome::Opened } else { Outcome::Failed };
            opened.iter().map(|(n, opened)| (*n, of(*opened))).collect()
        };
        let expected = [(1, false), (2, true), (3, true), (4, true), (5, false)];
        assert_eq!(judge(&pickup(cells, &[])), opened_or_not(&expected));

        let cells = vec![
            cell(1, Empty, "a", None),
            cell(2, Open, "b", None),
            cell(3, Charging, "c", Some("c")),
        ];
        let expected = [(1, false), (2, true), (3, true)];
        assert_eq!(judge(&bringing(cells, &["a", "b"])), opened_or_not(&expected));
    }
}
