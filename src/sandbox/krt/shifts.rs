//! How a driver's shift goes on by itself.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in super::super) enum SessionStatus {
    Active,
    Resting,
    Expired,
    NotStarted,
}

/// What an answer tells of a shift.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(in super::super) struct Told {
    pub(in super::super) session_status: SessionStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in super::super) ended_at: Option<Timestamp>,
}

/// How long they are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lengths {
    pub(super) shift: SignedDuration,
    pub(super) rest: SignedDuration,
}

/// A driver's shift.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Shift {
    started_at: Option<Timestamp>,
    /// Since when he rests, after it.
    rests_since: Option<Timestamp>,
}

impl Shift {
    /// He goes on or off line.
    pub(super) fn report(&mut self, on_line: bool, now: Timestamp, lengths: Lengths) -> Told {
        if self.rests_since.is_some_and(|since| since + lengths.rest <= now) {
            *self = Self::default();
        }
        let is_over = self.started_at.is_some_and(|started| started + lengths.shift <= now);
        if on_line && self.started_at.is_none() {
            self.started_at = Some(now);
        } else if !on_line && is_over && self.rests_since.is_none() {
            self.rests_since = Some(now);
        }
        self.told(now, lengths)
    }

    fn told(self, now: Timestamp, lengths: Lengths) -> Told {
        let (session_status, ended_at) = match (self.started_at, self.rests_since) {
            (None, _) => (SessionStatus::NotStarted, None),
            (Some(_), Some(since)) => (SessionStatus::Resting, Some(since + lengths.rest)),
            (Some(started), None) => {
                let end = started + lengths.shift;
                let status =
                    if end <= now { SessionStatus::Expired } else { SessionStatus::Active };
                (status, Some(end))
            }
        };
        Told { session_status, ended_at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shift_expires_and_is_followed_by_a_rest() {
        let lengths =
            Lengths { shift: SignedDuration::from_hours(12), rest: SignedDuration::from_hours(8) };
        let at = |hours| Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours);
        let mut shift = Shift::default();
        for (hours, on_line, status, end) in [
            (0, false, SessionStatus::NotStarted, None),
            (1, true, SessionStatus::Active, Some(13)),
            (2, false, SessionStatus::Active, Some(13)),
            (12, true, SessionStatus::Active, Some(13)),
            (13, true, SessionStatus::Expired, Some(13)),
            (14, false, SessionStatus::Resting, Some(22)),
            (20, true, SessionStatus::Resting, Some(22)),
            (22, false, SessionStatus::NotStarted, None),
            (23, true, SessionStatus::Active, Some(35)),
        ] {
            let expected = Told { session_status: status, ended_at: end.map(at) };
            assert_eq!(shift.report(on_line, at(hours), lengths), expected, "at {hours}");
        }
    }
}
