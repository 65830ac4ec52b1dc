//! The set of commands, as one table: a new one is a line here.

use serde::{Deserialize, Serialize};

/// What a cabinet can be told.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum CommandKind {
    /// Open the doors of cells.
    UnlockCells,
    /// Lock the doors of cells.
    LockCells,
    /// Tell the state of every cell.
    GetState,
    /// Start anew.
    Reboot,
}

/// Whether a command names cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    /// One or more.
    Cells,
    /// It is about the cabinet.
    Nothing,
}

/// One command of the table.
#[derive(Debug)]
pub(super) struct Entry {
    pub kind: CommandKind,
    /// As it stands in payloads, bodies, the database and metrics.
    pub name: &'static str,
    pub names: Names,
    /// Which goes first when several wait for one cabinet; the lower.
    pub rank: i32,
}

/// Somebody stands before the cabinet when doors are to be opened or locked: these go first.
const TABLE: [Entry; 4] = [
    Entry { kind: CommandKind::UnlockCells, name: "unlock_cells", names: Names::Cells, rank: 0 },
    Entry { kind: CommandKind::LockCells, name: "lock_cells", names: Names::Cells, rank: 1 },
    Entry { kind: CommandKind::GetState, name: "get_state", names: Names::Nothing, rank: 2 },
    Entry { kind: CommandKind::Reboot, name: "reboot", names: Names::Nothing, rank: 3 },
];

impl CommandKind {
    /// Every one.
    pub(in super::super) const ALL: [Self; 4] =
        [Self::UnlockCells, Self::LockCells, Self::GetState, Self::Reboot];

    /// Its line of the table.
    pub(super) fn entry(self) -> &'static Entry {
        // Every kind has one: the tests walk all.
        let [first, rest @ ..] = &TABLE;
        rest.iter().find(|entry| entry.kind == self).unwrap_or(first)
    }

    /// As it stands in payloads, bodies, the database and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.entry().name
    }

    /// The one of that name.
    pub(in super::super) fn parse(name: &str) -> Option<Self> {
        TABLE.iter().find(|entry| entry.name == name).map(|entry| entry.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_own_line_and_the_name_that_it_has_in_json() {
        for kind in CommandKind::ALL {
            assert_eq!(kind.entry().kind, kind);
            assert_eq!(CommandKind::parse(kind.name()), Some(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
        let mut ranks: Vec<i32> = TABLE.iter().map(|entry| entry.rank).collect();
        ranks.dedup();
        assert_eq!(ranks.len(), TABLE.len());
        assert_eq!(CommandKind::parse("open_sesame"), None);
    }

    #[test]
    fn an_unlock_goes_before_everything() {
        let least = TABLE.iter().min_by_key(|entry| entry.rank).unwrap();
        assert_eq!(least.kind, CommandKind::UnlockCells);
    }
}
