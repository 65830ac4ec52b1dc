//! What is published to a cabinet.

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::kind::CommandKind;
use crate::domains::scooter_accumulator::bookings::BookingKind;

/// The version of the contract with cabinets.
const VERSION: u32 = 1;

/// A command as a cabinet reads it.
#[derive(Debug, Serialize)]
struct Payload<'a> {
    v: u32,
    command_id: Uuid,
    #[serde(rename = "type")]
    kind: CommandKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    cells: Option<&'a [i32]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    purpose: Option<BookingKind>,
    /// By the cabinet's clock, as `expires_at` is: it compares with nothing else.
    issued_at: Timestamp,
    expires_at: Timestamp,
}

/// A command as it is published. The times are by the cabinet's clock.
///
/// # Errors
/// It cannot be written as JSON.
pub fn payload(
    command_id: Uuid,
    kind: CommandKind,
    cells: Option<&[i32]>,
    purpose: Option<BookingKind>,
    (issued_at, expires_at): (Timestamp, Timestamp),
) -> serde_json::Result<Vec<u8>> {
    let v = VERSION;
    serde_json::to_vec(&Payload { v, command_id, kind, cells, purpose, issued_at, expires_at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_what_the_contract_says() {
        let id = Uuid::from_u128(7);
        let at = |seconds: i64| Timestamp::from_second(1_700_000_000 + seconds).unwrap();
        let times = (at(0), at(10));
        let unlock = CommandKind::UnlockCells;
        let bytes = payload(id, unlock, Some(&[3, 1]), Some(BookingKind::Return), times).unwrap();
        let expected = serde_json::json!({
            "v": 1, "command_id": id.to_string(), "type": "unlock_cells", "cells": [3, 1],
            "purpose": "return", "issued_at": "2023-11-14T22:13:20Z", "expires_at": "2023-11-14T22:13:30Z",
        });
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&bytes).unwrap(), expected);

        let bytes = payload(id, CommandKind::GetState, None, None, times).unwrap();
        let read: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(read.get("cells").or(read.get("purpose")), None);
    }
}
