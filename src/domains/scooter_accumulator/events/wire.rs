//! What a cabinet publishes, read with suspicion: what is not exactly an event changes nothing.

use std::collections::HashSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domains::scooter_accumulator::cabinets::cells::CellState;
use crate::domains::scooter_accumulator::commands::Failure;
use crate::domains::scooter_accumulator::ids::AccumulatorId;
use crate::platform::ids::OpaqueId;

const VERSION: u32 = 1;
/// Cells that one cabinet may have.
const MAX_CELLS: usize = 1_000;
/// Of a firmware's name, in characters.
const MAX_FIRMWARE: usize = 64;
/// Times outside are no clock's: 1970 (a clock that was never set) to 2200, in seconds.
const CLOCK: std::ops::Range<i64> = 0..7_258_118_400;

/// An event of a cabinet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The cabinet's own id of it: a repeated one is the same event.
    pub id: OpaqueId,
    /// When it happened, by the cabinet's clock.
    pub at: Timestamp,
    /// What happened.
    pub body: Body,
}

/// What a cabinet tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// What became of a command.
    CommandResult(CommandResult),
    /// All of its cells.
    State {
        /// Each cell once.
        cells: Vec<CellReport>,
        /// What runs on it.
        firmware: Option<String>,
    },
    /// Some of its cells.
    CellChanged(Vec<CellReport>),
    /// It is there.
    Online,
    /// It is not there any more; also said for it by the broker (Last Will).
    Offline,
}

/// A cabinet's answer to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandResult {
    /// Nothing: an id that we never gave.
    pub command_id: Option<Uuid>,
    /// Whether it was carried out.
    pub ok: bool,
    /// Why not.
    pub error: Option<Failure>,
    /// How the cells are now that were commanded.
    pub cells: Vec<CellReport>,
}

/// A cell as its cabinet reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CellReport {
    /// Its number, from 1.
    pub n: i32,
    /// How it is.
    pub state: CellState,
    /// What is in it, as far as the cabinet can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accumulator_id: Option<AccumulatorId>,
    /// Percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charge: Option<i16>,
}

/// Why a message is no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// No JSON, or fields are missing or of the wrong form.
    Malformed,
    /// Another version of the contract.
    Version,
    /// A type that the contract does not name.
    UnknownType,
    /// A cell twice, or one accumulator in two cells.
    Contradictory,
}

impl Unreadable {
    /// As the metric's label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Version => "version",
            Self::UnknownType => "unknown_type",
            Self::Contradictory => "contradictory",
        }
    }
}

impl Body {
    /// As the metric's label.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::CommandResult(_) => "command_result",
            Self::State { .. } => "state",
            Self::CellChanged(_) => "cell_changed",
            Self::Online => "online",
            Self::Offline => "offline",
        }
    }
}

#[derive(Deserialize)]
struct Raw {
    v: u32,
    event_id: OpaqueId,
    at: Timestamp,
    #[serde(rename = "type")]
    kind: String,
    command_id: Option<String>,
    ok: Option<bool>,
    error: Option<Failure>,
    cells: Option<Vec<RawCell>>,
    firmware: Option<String>,
}

#[derive(Deserialize)]
struct RawCell {
    n: i32,
    state: CellState,
    accumulator_id: Option<AccumulatorId>,
    charge: Option<i16>,
}

#[derive(Deserialize)]
struct Version {
    v: u32,
}

/// Reads an event. Fields that the contract does not name are ignored, a cabinet's name among them:
/// whose event it is, its topic says.
///
/// # Errors
/// Why it is none.
pub fn read(payload: &[u8]) -> Result<Event, Unreadable> {
    let raw: Raw = serde_json::from_slice(payload).map_err(|_| {
        match serde_json::from_slice::<Version>(payload) {
            Ok(Version { v }) if v != VERSION => Unreadable::Version,
            _ => Unreadable::Malformed,
        }
    })?;
    if raw.v != VERSION {
        return Err(Unreadable::Version);
    }
    if !CLOCK.contains(&raw.at.as_second()) {
        return Err(Unreadable::Malformed);
    }
    let cells = raw.cells.map(cells).transpose()?;
    let body = match raw.kind.as_str() {
        "command_result" => Body::CommandResult(CommandResult {
            command_id: raw.command_id.ok_or(Unreadable::Malformed)?.parse().ok(),
            ok: raw.ok.ok_or(Unreadable::Malformed)?,
            // What only we can know, no cabinet says.
            error: raw.error.map(|why| if why == Failure::NotSent { Failure::Other } else { why }),
            cells: cells.unwrap_or_default(),
        }),
        "state" => Body::State {
            cells: cells.ok_or(Unreadable::Malformed)?,
            firmware: raw.firmware.as_deref().map(plain).filter(|text| !text.is_empty()),
        },
        "cell_changed" => Body::CellChanged(cells.ok_or(Unreadable::Malformed)?),
        "online" => Body::Online,
        "offline" => Body::Offline,
        _ => return Err(Unreadable::UnknownType),
    };
    Ok(Event { id: raw.event_id, at: raw.at, body })
}

fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_FIRMWARE).collect()
}

fn cells(raw: Vec<RawCell>) -> Result<Vec<CellReport>, Unreadable> {
    if raw.len() > MAX_CELLS {
        return Err(Unreadable::Malformed);
    }
    let mut numbers = HashSet::new();
    let mut inside = HashSet::new();
    let mut cells = Vec::with_capacity(raw.len());
    for cell in raw {
        let in_range = cell.n >= 1 && cell.charge.is_none_or(|charge| (0..=100).contains(&charge));
        if !in_range {
            return Err(Unreadable::Malformed);
        }
        // What an open or an empty cell is said to hold is not there, or may not be when it is shut.
        let holds = !matches!(cell.state, CellState::Empty | CellState::Open);
        let accumulator_id = cell.accumulator_id.filter(|_| holds);
        let is_new = numbers.insert(cell.n)
            && accumulator_id.clone().is_none_or(|accumulator| inside.insert(accumulator));
        if !is_new {
            return Err(Unreadable::Contradictory);
        }
        let charge = cell.charge.filter(|_| holds);
        cells.push(CellReport { n: cell.n, state: cell.state, accumulator_id, charge });
    }
    Ok(cells)
}

#[cfg(any(test, feature = "fuzzing"))]
/// Any bytes: an event that is read is the same when it is written and read again.
pub fn fuzz(bytes: &[u8]) {
    let Ok(event) = read(bytes) else { return };
    let mut written = serde_json::json!({
        "v": VERSION, "event_id": event.id.as_str(), "at": event.at, "type": event.body.name(),
    });
    let more = match &event.body {
        Body::CommandResult(result) => serde_json::json!({
            // An id that we never gave is any text that is none of ours.
            "command_id": result.command_id.map_or_else(|| "none".to_owned(), |id| id.to_string()),
            "ok": result.ok, "error": result.error, "cells": result.cells,
        }),
        Body::State { cells, firmware } => {
            serde_json::json!({ "cells": cells, "firmware": firmware })
        }
        Body::CellChanged(cells) => serde_json::json!({ "cells": cells }),
        Body::Online | Body::Offline => serde_json::json!({}),
    };
    if let (Some(written), serde_json::Value::Object(more)) = (written.as_object_mut(), more) {
        written.extend(more);
    }
    assert_eq!(read(written.to_string().as_bytes()), Ok(event));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn read_json(value: &Value) -> Result<Event, Unreadable> {
        read(value.to_string().as_bytes())
    }

    fn event(kind: &str, more: &Value) -> Value {
        let mut event =
            json!({"v": 1, "event_id": "e-1", "at": "2026-11-25T10:00:00.5Z", "type": kind});
        let more = more.as_object().unwrap().clone();
        event.as_object_mut().unwrap().extend(more);
        event
    }

    #[test]
    fn every_type_of_the_contract_is_read() {
        let cells = json!([
            {"n": 1, "state": "charged", "accumulator_id": "a-1", "charge": 97},
            {"n": 2, "state": "empty"}, {"n": 3, "state": "broken"}, {"n": 4, "state": "open"},
            {"n": 5, "state": "charging"},
        ]);
        for (kind, more) in [
            ("command_result", json!({"command_id": Uuid::nil(), "ok": true, "cells": cells})),
            ("command_result", json!({"command_id": Uuid::nil(), "ok": false, "error": "jammed"})),
            ("state", json!({"cells": cells, "firmware": "1.2", "cabinet_id": "another"})),
            ("cell_changed", json!({"cells": cells})),
            ("online", json!({})),
            ("offline", json!({})),
        ] {
            let read = read_json(&event(kind, &more)).unwrap();
            assert_eq!(read.body.name(), kind);
            assert_eq!(read.at.to_string(), "2026-11-25T10:00:00.5Z");
        }
    }

    #[test]
    fn an_answer_tells_its_command_and_why_not() {
        let id = Uuid::from_u128(5);
        for (error, refusal) in [
            ("expired", Failure::Expired),
            ("jammed", Failure::Jammed),
            ("busy", Failure::Busy),
            ("unknown_cell", Failure::UnknownCell),
            ("on_fire", Failure::Other),
            ("not_sent", Failure::Other),
        ] {
            let answer = json!({"command_id": id, "ok": false, "error": error});
            let Body::CommandResult(result) =
                read_json(&event("command_result", &answer)).unwrap().body
            else {
                panic!("an answer")
            };
            assert_eq!((result.command_id, result.error), (Some(id), Some(refusal)));
        }
        let foreign = json!({"command_id": "not-ours", "ok": true});
        let Body::CommandResult(result) =
            read_json(&event("command_result", &foreign)).unwrap().body
        else {
            panic!("an answer")
        };
        assert_eq!(result.command_id, None);
    }

    #[test]
    fn open_and_empty_cells_hold_nothing_that_counts() {
        let cells = json!([
            {"n": 1, "state": "open", "accumulator_id": "a", "charge": 5},
            {"n": 2, "state": "empty", "accumulator_id": "a", "charge": 5},
        ]);
        let Body::CellChanged(cells) =
            read_json(&event("cell_changed", &json!({ "cells": cells }))).unwrap().body
        else {
            panic!("cells")
        };
        assert!(cells.iter().all(|cell| cell.accumulator_id.is_none() && cell.charge.is_none()));
    }

    #[test]
    fn what_is_no_event_is_told_apart() {
        let cell = |cell: Value| event("state", &json!({"cells": [cell]}));
        let twice = json!({"cells": [{"n": 1, "state": "open"}, {"n": 1, "state": "open"}]});
        let in_two = json!({"cells": [{"n": 1, "state": "charged", "accumulator_id": "a"},
            {"n": 2, "state": "charging", "accumulator_id": "a"}]});
        let at = |at: &str| event("online", &json!({ "at": at }));
        let many: Vec<Value> = (1..=1_001).map(|n| json!({"n": n, "state": "open"})).collect();
        for (value, why) in [
            (json!({}), Unreadable::Malformed),
            (json!([]), Unreadable::Malformed),
            (json!("online"), Unreadable::Malformed),
            (event("online", &json!({"v": 2})), Unreadable::Version),
            (json!({"v": 2, "kind": "of another contract"}), Unreadable::Version),
            (event("online", &json!({"event_id": ""})), Unreadable::Malformed),
            (event("online", &json!({"event_id": "a b"})), Unreadable::Malformed),
            (at("yesterday"), Unreadable::Malformed),
            (at("-009999-01-02T00:00:00Z"), Unreadable::Malformed),
            (at("1969-12-31T23:59:59Z"), Unreadable::Malformed),
            (event("dance", &json!({})), Unreadable::UnknownType),
            (event("state", &json!({})), Unreadable::Malformed),
            (event("cell_changed", &json!({})), Unreadable::Malformed),
            (event("state", &json!({ "cells": many })), Unreadable::Malformed),
            (event("command_result", &json!({"ok": true})), Unreadable::Malformed),
            (event("command_result", &json!({"command_id": "x"})), Unreadable::Malformed),
            (cell(json!({"n": 0, "state": "open"})), Unreadable::Malformed),
            (cell(json!({"n": 1, "state": "ajar"})), Unreadable::Malformed),
            (cell(json!({"n": 1, "state": "charged", "charge": 101})), Unreadable::Malformed),
            (
                cell(json!({"n": 1, "state": "charged", "accumulator_id": "a\u{0}b"})),
                Unreadable::Malformed,
            ),
            (cell(json!({"n": 99_999_999_999_i64, "state": "open"})), Unreadable::Malformed),
            (event("cell_changed", &twice), Unreadable::Contradictory),
            (event("cell_changed", &in_two), Unreadable::Contradictory),
        ] {
            assert_eq!(read_json(&value), Err(why), "{value}");
        }
        let deep = vec![b'['; 100_000];
        for garbage in [&b""[..], b"\xff\xfe", b"{", b"null", &deep] {
            assert_eq!(read(garbage), Err(Unreadable::Malformed));
        }
    }

    #[test]
    fn a_firmwares_name_is_short_and_plain() {
        let long = format!("v1\u{0}\n{}", "x".repeat(1_000));
        let state = event("state", &json!({"cells": [], "firmware": long}));
        let Body::State { firmware, .. } = read_json(&state).unwrap().body else {
            panic!("a state")
        };
        let firmware = firmware.unwrap();
        assert_eq!((firmware.chars().count(), firmware.starts_with("v1x")), (64, true));
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }
    }
}
