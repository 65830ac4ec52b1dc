//! What is published to a cabinet.

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::kind::CommandKind;

/// The version of the contract with cabinets.
const VERSION: u32 = 1;

/// Why cells are opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Somebody takes accumulators out.
    Pickup,
    /// Somebody puts accumulators in.
    Return,
}

/// A command as a cabinet reads it.
#[derive(Debug, Serialize)]
pub(super) struct Payload<'a> {
    v: u32,
    command_id: Uuid,
    #[serde(rename = "type")]
    kind: CommandKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    cells: Option<&'a [i32]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    purpose: Option<Purpose>,
    /// By the cabinet's clock, as `expires_at` is: it compares with nothing else.
    issued_at: Timestamp,
    expires_at: Timestamp,
}

impl<'a> Payload<'a> {
    pub fn new(
        command_id: Uuid,
        kind: CommandKind,
        cells: Option<&'a [i32]>,
        purpose: Option<Purpose>,
        (issued_at, expires_at): (Timestamp, Timestamp),
    ) -> Self {
        Self { v: VERSION, command_id, kind, cells, purpose, issued_at, expires_at }
    }

    pub fn to_bytes(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_what_the_contract_says() {
        let id = Uuid::from_u128(7);
        let at = |seconds| Timestamp::from_second(1_700_000_000 + seconds).unwrap();
        let times = (at(0), at(10));
        let unlock = CommandKind::UnlockCells;
        let payload = Payload::new(id, unlock, Some(&[3, 1]), Some(Purpose::Return), times);
        let expected = serde_json::json!({
            "v": 1, "command_id": id.to_string(), "type": "unlock_cells", "cells": [3, 1],
            "purpose": "return", "issued_at": "2023-11-14T22:13:20Z", "expires_at": "2023-11-14T22:13:30Z",
        });
        let bytes = payload.to_bytes().unwrap();
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&bytes).unwrap(), expected);

        let bytes = Payload::new(id, CommandKind::GetState, None, None, times).to_bytes().unwrap();
        let read: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(read.get("cells").or(read.get("purpose")), None);
    }
}
