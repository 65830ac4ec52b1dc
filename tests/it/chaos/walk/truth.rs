//! Where everything really is, and what the database must therefore have.

use std::collections::{BTreeMap, BTreeSet};

use fleet::sandbox::cabinets::Cabinet;
use serde_json::Value;

use crate::chaos::cabinets::Site;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Pickup,
    Return,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Pickup => "pickup",
            Self::Return => "return",
        }
    }
}

/// A booking that was made.
#[derive(Clone)]
pub struct Booked {
    pub id: String,
    pub cabinet: Cabinet,
    pub technician: &'static str,
    pub kind: Kind,
    pub cells: BTreeMap<usize, Option<String>>,
    /// As it ended, which it stays.
    pub fate: Option<String>,
}

/// What is not in a cabinet; what is in one, the cabinet itself knows.
#[derive(Default)]
pub struct Truth {
    pub hands: BTreeMap<String, BTreeSet<String>>,
    pub scooters: BTreeMap<String, String>,
    pub lost: BTreeSet<String>,
    /// What somebody took whom nobody had let in: flagged for ever.
    pub stolen: BTreeSet<String>,
    pub bookings: Vec<Booked>,
}

/// What is in a cell.
pub fn held(cabinet: &Cabinet, n: usize) -> Option<String> {
    Some(cabinet.cells().get(n - 1)?.holds.as_ref()?.id.clone())
}

impl Truth {
    /// Each accumulator and its place.
    pub fn places(&self, cabinets: &[Cabinet]) -> BTreeMap<String, String> {
        let mut places = BTreeMap::new();
        for cabinet in cabinets {
            for (n, cell) in (1..).zip(cabinet.cells()) {
                let place = format!("{} {n}", cabinet.id());
                places.extend(cell.holds.map(|held| (held.id, place)));
            }
        }
        for (technician, has) in &self.hands {
            places.extend(has.iter().map(|id| (id.clone(), technician.clone())));
        }
        places.extend(self.scooters.iter().map(|(scooter, id)| (id.clone(), scooter.clone())));
        places.extend(self.lost.iter().map(|id| (id.clone(), "nowhere".to_owned())));
        places
    }

    pub fn live(&self) -> impl Iterator<Item = (usize, &Booked)> {
        self.bookings.iter().enumerate().filter(|(_, booked)| booked.fate.is_none())
    }

    pub fn is_booked(&self, cabinet: &Cabinet, n: usize) -> bool {
        let mut live = self.live();
        live.any(|(_, it)| it.cabinet.id() == cabinet.id() && it.cells.contains_key(&n))
    }

    /// The cells that can be booked: with something to take out, or without.
    pub fn free(&self, cabinet: &Cabinet, kind: Kind) -> Vec<usize> {
        let cells = 1..=cabinet.cells().len();
        let fits = |n: &usize| held(cabinet, *n).is_some() == (kind == Kind::Pickup);
        cells.filter(fits).filter(|n| !self.is_booked(cabinet, *n)).collect()
    }

    pub fn has(&self, technician: &str) -> Vec<String> {
        self.hands.get(technician).into_iter().flatten().cloned().collect()
    }
}

/// Whether a booking that was executed stands as it must after what was done at its cells, of which
/// `opened` were. True: it has ended.
pub fn judge(booked: &Booked, opened: &BTreeSet<usize>, shown: &Value) -> bool {
    let (kind, cabinet) = (booked.kind, &booked.cabinet);
    let cells = shown["cells"].as_array().expect("cells");
    let is_inside =
        |id: &str| (1..=cabinet.cells().len()).any(|n| held(cabinet, n).as_deref() == Some(id));
    let (mut all_done, mut changed) = (true, false);
    let status = shown["status"].as_str().expect("a status");
    for cell in cells {
        let n = usize::try_from(cell["n"].as_u64().expect("a number")).unwrap();
        let named = cell["accumulator_id"].as_str();
        let (now, is_opened) = (held(cabinet, n), opened.contains(&n));
        let outcome = cell["outcome"].as_str().unwrap_or("none");
        let is_as_it_was = match kind {
            Kind::Pickup => now.is_some() && now.as_deref() == named,
            Kind::Return => now.is_none(),
        };
        assert!(is_opened || is_as_it_was, "nobody opened {n}: {shown}");
        changed |= !is_as_it_was;
        // A door that was opened and shut on what was behind it, and of which nobody heard, was shut.
        let fits = match (status, kind, outcome) {
            ("active", ..) => is_as_it_was && outcome == "none",
            (_, Kind::Pickup, "taken") => !is_as_it_was,
            (_, Kind::Pickup, "left") => is_as_it_was && is_opened,
            (_, _, "failed") => is_as_it_was,
            (_, Kind::Return, "returned") => named.is_some_and(is_inside),
            (_, Kind::Return, "missing") => is_opened && !named.is_some_and(is_inside),
            (_, Kind::Return, "unused") => named.is_none() && !is_opened,
            _ => false,
        };
        assert!(fits, "cell {n} holds {now:?}, opened: {is_opened}: {shown}");
        all_done &= match kind {
            Kind::Pickup => outcome == "taken",
            Kind::Return => named.is_none_or(is_inside),
        };
    }
    match status {
        "active" => {
            assert!(!changed, "something was done: {shown}");
            false
        }
        "completed" | "incomplete" => {
            assert!(!opened.is_empty(), "no door was opened: {shown}");
            assert_eq!(status == "completed", all_done, "{shown}");
            true
        }
        _ => panic!("it must have come to an end: {shown}"),
    }
}

impl Site {
    /// Where the database has each accumulator.
    pub async fn places(&self) -> BTreeMap<String, String> {
        let sql = "SELECT id, CASE WHEN cabinet_id IS NOT NULL THEN cabinet_id || ' ' || cell \
             ELSE COALESCE(contractor_id, scooter_id, 'nowhere') END \
             FROM scooter_accumulator.accumulators";
        let rows = self.database.query(sql, &[]).await;
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }

    /// How each booking and its cells stand.
    pub async fn fates(&self) -> BTreeMap<String, String> {
        let sql = "SELECT b.id::text, concat_ws(' ', b.status, string_agg(concat_ws(':', c.cell, \
               c.accumulator_id, c.outcome), ' ' ORDER BY c.cell)) \
             FROM scooter_accumulator.bookings b \
             LEFT JOIN scooter_accumulator.booking_cells c ON c.booking_id = b.id GROUP BY b.id";
        let rows = self.database.query(sql, &[]).await;
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }

    pub async fn flagged(&self) -> BTreeSet<String> {
        let sql = "SELECT id FROM scooter_accumulator.accumulators WHERE flagged";
        self.database.query(sql, &[]).await.iter().map(|row| row.get(0)).collect()
    }
}
