//! What a cabinet is inside: cells with doors, a clock of its own, and what it makes of a command.
//! It knows no connection: what it does ends in events, which somebody else publishes.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

/// From this charge on an accumulator counts as charged.
const CHARGED: f64 = 95.0;
/// A charge is told anew when it has moved by so much.
const TOLD_STEP: u8 = 5;
/// Commands whose results are remembered.
const MOST_REMEMBERED: usize = 10_000;

/// An accumulator in a cell.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Accumulator {
    /// Its id.
    pub id: String,
    /// Percent.
    pub charge: f64,
}

/// A cell.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cell {
    /// What is in it.
    pub holds: Option<Accumulator>,
    /// Its door is open.
    pub open: bool,
    /// Its lock does nothing any more, and it says so.
    pub broken: bool,
    /// Its door does not open, which it finds out when it should.
    pub jammed: bool,
}

impl Cell {
    /// A shut cell with this in it.
    #[must_use]
    pub fn holding(id: impl Into<String>, charge: f64) -> Self {
        Self { holds: Some(Accumulator { id: id.into(), charge }), ..Self::default() }
    }

    /// A shut cell with nothing in it.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    fn level(&self) -> Option<u8> {
        self.holds.as_ref().map(|held| whole(held.charge))
    }

    /// As the contract shows it. An open door says nothing of contents.
    fn told_as(&self, n: usize) -> Value {
        if self.open {
            return json!({ "n": n, "state": "open" });
        }
        let state = match &self.holds {
            _ if self.broken => "broken",
            None => "empty",
            Some(held) if held.charge >= CHARGED => "charged",
            Some(_) => "charging",
        };
        match &self.holds {
            None => json!({ "n": n, "state": state }),
            Some(held) => json!({
                "n": n, "state": state, "accumulator_id": held.id, "charge": whole(held.charge),
            }),
        }
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is 0 to 100")]
fn whole(charge: f64) -> u8 {
    charge.clamp(0.0, 100.0).floor() as u8
}

/// A command as it came.
#[derive(Debug, Deserialize)]
pub(super) struct Command {
    v: u32,
    #[serde(rename = "command_id")]
    pub id: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    cells: Vec<usize>,
    pub purpose: Option<String>,
    expires_at: Timestamp,
}

/// What a command ended in.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Carried {
    /// What it says, in this order.
    pub events: Vec<Value>,
    /// Doors that opened by it, for the technician who waits.
    pub opened: Vec<usize>,
    /// It goes out and comes back.
    pub reboots: bool,
}

/// A cabinet's insides.
#[derive(Debug)]
pub(super) struct Cabinet {
    pub cells: Vec<Cell>,
    /// How far its clock is ahead.
    pub skew: SignedDuration,
    pub busy: bool,
    /// The charges that were told last, by cell.
    told: HashMap<usize, u8>,
    answered: HashMap<String, Value>,
}

impl Cabinet {
    pub fn new(cells: Vec<Cell>) -> Self {
        Self {
            cells,
            skew: SignedDuration::ZERO,
            busy: false,
            told: HashMap::new(),
            answered: HashMap::new(),
        }
    }

    /// By its own clock.
    pub fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        now.checked_add(self.skew).unwrap_or(now)
    }

    /// Forgets which commands it had.
    pub fn forget(&mut self) {
        self.answered.clear();
    }

    pub fn event(&self, kind: &str, body: Value) -> Value {
        let mut event = json!({
            "v": 1, "event_id": Uuid::now_v7().to_string(), "at": self.now().to_string(), "type": kind,
        });
        if let (Value::Object(event), Value::Object(body)) = (&mut event, body) {
            event.extend(body);
        }
        event
    }

    /// Everything it knows.
    pub fn state(&mut self) -> Value {
        let cells: Vec<usize> = (1..=self.cells.len()).collect();
        let cells = self.tell(&cells);
        self.event("state", json!({ "cells": cells, "firmware": "sandbox-1" }))
    }

    /// These cells changed.
    pub fn changed(&mut self, cells: &[usize]) -> Value {
        let cells = self.tell(cells);
        self.event("cell_changed", json!({ "cells": cells }))
    }

    fn tell(&mut self, cells: &[usize]) -> Vec<Value> {
        for n in cells {
            let level = self.cell(*n).and_then(Cell::level);
            self.told.insert(*n, level.unwrap_or_default());
        }
        cells.iter().filter_map(|n| Some(self.cell(*n)?.told_as(*n))).collect()
    }

    pub fn cell(&self, n: usize) -> Option<&Cell> {
        self.cells.get(n.checked_sub(1)?)
    }

    pub fn cell_mut(&mut self, n: usize) -> Option<&mut Cell> {
        self.cells.get_mut(n.checked_sub(1)?)
    }

    /// Carries out a command, or refuses it; one that it had before is answered as before.
    pub fn carry_out(&mut self, command: &Command) -> Carried {
        if let Some(before) = self.answered.get(&command.id) {
            return Carried {
                events: vec![self.event("command_result", before.clone())],
                ..Carried::default()
            };
        }
        let mut carried = Carried::default();
        let result = self.try_carry_out(command, &mut carried);
        let mut body = json!({ "command_id": command.id });
        if let (Value::Object(body), Value::Object(result)) = (&mut body, result) {
            body.extend(result);
        }
        if self.answered.len() >= MOST_REMEMBERED {
            self.forget();
        }
        self.answered.insert(command.id.clone(), body.clone());
        carried.events.insert(0, self.event("command_result", body));
        carried
    }

    fn try_carry_out(&mut self, command: &Command, carried: &mut Carried) -> Value {
        let refused = |error: &str| json!({ "ok": false, "error": error });
        if command.expires_at <= self.now() {
            return refused("expired");
        }
        if self.busy || command.v != 1 {
            return refused("busy");
        }
        if command.cells.iter().any(|n| self.cell(*n).is_none()) {
            return refused("unknown_cell");
        }
        match command.kind.as_str() {
            "unlock_cells" => self.unlock(&command.cells, carried),
            "lock_cells" => {
                for n in &command.cells {
                    if let Some(cell) = self.cell_mut(*n) {
                        cell.open = false;
                    }
                }
                json!({ "ok": true, "cells": self.tell(&command.cells) })
            }
            "get_state" => {
                carried.events.push(self.state());
                json!({ "ok": true })
            }
            "reboot" => {
                carried.reboots = true;
                json!({ "ok": true })
            }
            // It has no word for what it does not know.
            _ => refused("busy"),
        }
    }

    /// Opens what opens; it failed when nothing did.
    fn unlock(&mut self, cells: &[usize], carried: &mut Carried) -> Value {
        for n in cells {
            let Some(cell) = self.cell_mut(*n) else { continue };
            if cell.jammed || cell.broken {
                cell.broken = true;
            } else {
                cell.open = true;
                carried.opened.push(*n);
            }
        }
        let cells = self.tell(cells);
        if carried.opened.is_empty() {
            return json!({ "ok": false, "error": "jammed", "cells": cells });
        }
        json!({ "ok": true, "cells": cells })
    }

    /// Charges what is in shut cells by so many percent; returns the cells that have news.
    pub fn charge(&mut self, percent: f64) -> Vec<usize> {
        let mut news = Vec::new();
        for (at, cell) in self.cells.iter_mut().enumerate() {
            let Some(held) = cell.holds.as_mut() else { continue };
            if cell.open || cell.broken || held.charge >= 100.0 {
                continue;
            }
            held.charge = (held.charge + percent).min(100.0);
            let level = whole(held.charge);
            let told = self.told.get(&(at + 1)).copied().unwrap_or_default();
            let full = held.charge >= CHARGED && f64::from(told) < CHARGED;
            if full || level >= told.saturating_add(TOLD_STEP) || (level == 100 && told < 100) {
                news.push(at + 1);
            }
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cabinet() -> Cabinet {
        Cabinet::new(vec![
            Cell::holding("acc-1", 100.0),
            Cell::holding("acc-2", 40.9),
            Cell::empty(),
            Cell { jammed: true, ..Cell::holding("acc-4", 100.0) },
        ])
    }

    fn command(id: &str, kind: &str, cells: &[usize]) -> Command {
        let expires_at = Timestamp::now() + SignedDuration::from_secs(10);
        let text = json!({
            "v": 1, "command_id": id, "type": kind, "cells": cells, "issued_at": Timestamp::now(),
            "expires_at": expires_at, "purpose": "pickup", "something": "new",
        });
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn its_state_is_complete_and_as_the_contract_shows_it() {
        let state = cabinet().state();
        assert_eq!((&state["v"], &state["type"]), (&json!(1), &json!("state")));
        assert!(state["event_id"].is_string() && state["at"].is_string());
        let cells = json!([
            {"n": 1, "state": "charged", "accumulator_id": "acc-1", "charge": 100},
            {"n": 2, "state": "charging", "accumulator_id": "acc-2", "charge": 40},
            {"n": 3, "state": "empty"},
            {"n": 4, "state": "charged", "accumulator_id": "acc-4", "charge": 100},
        ]);
        assert_eq!(state["cells"], cells);
    }

    #[test]
    fn some_doors_open_while_others_jam() {
        let mut cabinet = cabinet();
        let carried = cabinet.carry_out(&command("c-1", "unlock_cells", &[1, 4]));
        assert_eq!(carried.opened, [1]);
        let [result] = carried.events.as_slice() else { panic!("one answer: {carried:?}") };
        assert_eq!((&result["command_id"], &result["ok"]), (&json!("c-1"), &json!(true)));
        assert_eq!(result["cells"][0], json!({"n": 1, "state": "open"}));
        assert_eq!(result["cells"][1]["state"], "broken");
        let none = cabinet.carry_out(&command("c-2", "unlock_cells", &[4]));
        assert_eq!(
            (&none.events[0]["ok"], &none.events[0]["error"]),
            (&json!(false), &json!("jammed"))
        );
    }

    #[test]
    fn a_repeated_command_gets_the_same_result_and_does_nothing() {
        let mut cabinet = cabinet();
        let first = cabinet.carry_out(&command("c-1", "unlock_cells", &[1]));
        cabinet.cell_mut(1).unwrap().open = false;
        let again = cabinet.carry_out(&command("c-1", "unlock_cells", &[1]));
        assert!(again.opened.is_empty() && !cabinet.cells[0].open);
        assert_eq!(again.events[0]["cells"], first.events[0]["cells"]);
        assert_ne!(again.events[0]["event_id"], first.events[0]["event_id"]);
        cabinet.forget();
        assert_eq!(cabinet.carry_out(&command("c-1", "unlock_cells", &[1])).opened, [1]);
    }

    #[test]
    fn it_refuses_what_has_expired_by_its_own_clock_and_what_it_has_not() {
        let mut cabinet = cabinet();
        cabinet.skew = SignedDuration::from_mins(5);
        let late = cabinet.carry_out(&command("c-1", "unlock_cells", &[1]));
        assert_eq!(late.events[0]["error"], "expired");
        cabinet.skew = SignedDuration::from_mins(-5);
        for cells in [&[1, 5][..], &[0]] {
            let unknown = cabinet.carry_out(&command("c-2", "unlock_cells", cells));
            assert_eq!(unknown.events[0]["error"], "unknown_cell");
        }
        assert!(cabinet.cells.iter().all(|cell| !cell.open));
        cabinet.busy = true;
        let busy = cabinet.carry_out(&command("c-3", "unlock_cells", &[1]));
        assert_eq!(busy.events[0]["error"], "busy");
    }

    #[test]
    fn it_charges_what_is_shut_in_and_tells_of_steps() {
        let mut cabinet = cabinet();
        cabinet.state();
        assert_eq!(cabinet.charge(3.0), [0; 0], "43.9 is no step yet");
        assert_eq!(cabinet.charge(2.0), [2]);
        let changed = cabinet.changed(&[2]);
        assert_eq!(changed["cells"][0]["charge"], 45);
        assert_eq!(cabinet.charge(60.0), [2]);
        assert_eq!(cabinet.changed(&[2])["cells"][0]["state"], "charged");
        assert_eq!(cabinet.charge(60.0), [4; 0], "full is full");
    }
}
