//! What reports of cells change of what is thought to be in them. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::wire::CellReport;
use crate::domains::scooter_accumulator::cabinets::cells::CellState;
use crate::domains::scooter_accumulator::ids::AccumulatorId;

/// What is thought to be in a cabinet: by cell, the accumulator and its charge.
pub type Inside = BTreeMap<i32, (AccumulatorId, i16)>;

/// What changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// No longer in the cabinet's cell, and in no other of those that were reported.
    pub gone: Vec<(i32, AccumulatorId)>,
    /// In a cell where they were not.
    pub came: Vec<(i32, AccumulatorId, Option<i16>)>,
    /// In their cell, with another charge.
    pub charges: Vec<(AccumulatorId, i16)>,
}

/// Compares reports that are news with what is thought.
pub fn compare(reports: &[&CellReport], inside: &Inside) -> Changes {
    let reported: BTreeSet<&AccumulatorId> =
        reports.iter().filter_map(|report| report.accumulator_id.as_ref()).collect();
    let mut changes = Changes::default();
    for report in reports {
        let thought = inside.get(&report.n);
        match (report.state, &report.accumulator_id) {
            // Nobody knows what is behind an open door; or something is in there, or it cannot tell.
            (CellState::Open, _)
            | (CellState::Charging | CellState::Charged | CellState::Broken, None) => {}
            (CellState::Empty, _) => {
                if let Some((id, _)) = thought.filter(|(id, _)| !reported.contains(id)) {
                    changes.gone.push((report.n, id.clone()));
                }
            }
            (_, Some(id)) => match thought {
                Some((known, charge)) if known == id => {
                    if let Some(now) = report.charge.filter(|now| now != charge) {
                        changes.charges.push((id.clone(), now));
                    }
                }
                _ => {
                    if let Some((other, _)) = thought.filter(|(known, _)| !reported.contains(known))
                    {
                        changes.gone.push((report.n, other.clone()));
                    }
                    changes.came.push((report.n, id.clone(), report.charge));
                }
            },
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use CellState::{Broken, Charged, Charging, Empty, Open};

    fn id(text: &str) -> AccumulatorId {
        AccumulatorId::parse(text).unwrap()
    }

    fn report(n: i32, state: CellState, holds: Option<&str>, charge: Option<i16>) -> CellReport {
        CellReport { n, state, accumulator_id: holds.map(id), charge }
    }

    fn compared(reports: &[CellReport]) -> Changes {
        let inside = Inside::from([(1, (id("a"), 50)), (2, (id("b"), 60))]);
        compare(&reports.iter().collect::<Vec<_>>(), &inside)
    }

    #[test]
    fn what_is_as_it_was_changes_nothing() {
        for same in [
            report(1, Charging, Some("a"), Some(50)),
            report(1, Charged, Some("a"), None),
            report(1, Open, None, None),
            report(1, Broken, None, None),
            report(1, Charging, None, None),
            report(3, Empty, None, None),
            report(3, Broken, None, None),
        ] {
            assert_eq!(compared(std::slice::from_ref(&same)), Changes::default(), "{same:?}");
        }
    }

    #[test]
    fn what_is_gone_what_came_and_what_is_charged() {
        let changes = compared(&[
            report(1, Empty, None, None),
            report(2, Charging, Some("b"), Some(61)),
            report(3, Charging, Some("c"), Some(5)),
        ]);
        assert_eq!(changes.gone, [(1, id("a"))]);
        assert_eq!(changes.charges, [(id("b"), 61)]);
        assert_eq!(changes.came, [(3, id("c"), Some(5))]);
    }

    #[test]
    fn one_that_took_anothers_place_is_not_it() {
        let changes = compared(&[report(1, Charged, Some("z"), None)]);
        assert_eq!((changes.gone, changes.came), (vec![(1, id("a"))], vec![(1, id("z"), None)]));
    }

    #[test]
    fn one_that_is_in_another_cell_is_not_gone() {
        let moved = compared(&[report(1, Empty, None, None), report(3, Charged, Some("a"), None)]);
        assert_eq!((moved.gone, moved.came), (vec![], vec![(3, id("a"), None)]));
        let exchanged =
            compared(&[report(1, Charged, Some("b"), None), report(2, Charged, Some("a"), None)]);
        assert_eq!(exchanged.gone, []);
        assert_eq!(exchanged.came, [(1, id("b"), None), (2, id("a"), None)]);
    }
}
