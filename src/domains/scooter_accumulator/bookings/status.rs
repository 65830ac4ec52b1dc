//! The states of a booking, and what leads from one to the next.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How a booking stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BookingStatus {
    /// Its cells are kept until it expires.
    Active,
    /// The cabinet was told to open its cells.
    Executing,
    /// The cabinet was told, and did not answer in time: it is not known what became of it.
    Unknown,
    /// Everything was taken out, or put in.
    Completed,
    /// A part of it was not.
    Incomplete,
    /// Nobody came in time.
    Expired,
    /// It was given up.
    Cancelled,
}

/// What happens to a booking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BookingEvent {
    /// A command to open its cells is written.
    Execute,
    /// No answer came in time.
    NoAnswer,
    /// The cabinet answered that doors are open, in time or late.
    Opened,
    /// It is certain that no door was opened, nor will be: it can be executed again.
    NotOpened,
    /// All of it was done.
    Complete,
    /// The cabinet, or the time for settling, shows that a part was not done.
    FallShort,
    /// Its time is over.
    #[allow(dead_code, reason = "one statement lets it happen to many: store::end_expired")]
    Expire,
    /// It is given up.
    Cancel,
}

impl BookingStatus {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Active,
        Self::Executing,
        Self::Unknown,
        Self::Completed,
        Self::Incomplete,
        Self::Expired,
        Self::Cancelled,
    ];

    /// The state after `event`; `None` where it cannot happen. What happens again changes nothing.
    pub fn next(self, event: BookingEvent) -> Option<Self> {
        use BookingEvent as On;
        match (self, event) {
            (Self::Active | Self::Executing, On::Execute)
            | (Self::Executing | Self::Unknown, On::Opened) => Some(Self::Executing),
            (Self::Executing | Self::Unknown, On::NoAnswer) => Some(Self::Unknown),
            (Self::Active | Self::Executing | Self::Unknown, On::NotOpened) => Some(Self::Active),
            (Self::Executing | Self::Unknown | Self::Completed, On::Complete) => {
                Some(Self::Completed)
            }
            (Self::Executing | Self::Unknown | Self::Incomplete, On::FallShort) => {
                Some(Self::Incomplete)
            }
            (Self::Active | Self::Expired, On::Expire) => Some(Self::Expired),
            (Self::Active | Self::Cancelled, On::Cancel) => Some(Self::Cancelled),
            _ => None,
        }
    }

    /// Whether its cells and accumulators are kept for it. (An active one past its time is dead for
    /// everybody all the same.)
    pub fn is_live(self) -> bool {
        matches!(self, Self::Active | Self::Executing | Self::Unknown)
    }

    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Executing => "executing",
            Self::Unknown => "unknown",
            Self::Completed => "completed",
            Self::Incomplete => "incomplete",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }

    /// As it is read back.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use BookingEvent::{Cancel, Complete, Execute, Expire, FallShort, NoAnswer, NotOpened, Opened};
    use BookingStatus::{Active, Cancelled, Completed, Executing, Expired, Incomplete, Unknown};

    const EVENTS: [BookingEvent; 8] =
        [Execute, NoAnswer, Opened, NotOpened, Complete, FallShort, Expire, Cancel];

    /// A row a state, a column an event of [`EVENTS`].
    const TABLE: [(BookingStatus, [Option<BookingStatus>; 8]); 7] = [
        (
            Active,
            [Some(Executing), None, None, Some(Active), None, None, Some(Expired), Some(Cancelled)],
        ),
        (
            Executing,
            [
                Some(Executing),
                Some(Unknown),
                Some(Executing),
                Some(Active),
                Some(Completed),
                Some(Incomplete),
                None,
                None,
            ],
        ),
        (
            Unknown,
            [
                None,
                Some(Unknown),
                Some(Executing),
                Some(Active),
                Some(Completed),
                Some(Incomplete),
                None,
                None,
            ],
        ),
        (Completed, [None, None, None, None, Some(Completed), None, None, None]),
        (Incomplete, [None, None, None, None, None, Some(Incomplete), None, None]),
        (Expired, [None, None, None, None, None, None, Some(Expired), None]),
        (Cancelled, [None, None, None, None, None, None, None, Some(Cancelled)]),
    ];

    #[test]
    fn every_pair_of_state_and_event_is_as_the_table_says() {
        assert_eq!(TABLE.map(|(status, _)| status), BookingStatus::ALL);
        for (status, row) in TABLE {
            for (event, expected) in EVENTS.into_iter().zip(row) {
                assert_eq!(status.next(event), expected, "{status:?} {event:?}");
            }
        }
    }

    #[test]
    fn what_has_ended_stays_as_it_is_and_no_timer_frees_what_is_unknown() {
        for status in BookingStatus::ALL {
            for event in EVENTS {
                let next = status.next(event);
                if !status.is_live() {
                    assert!(next.is_none_or(|next| next == status), "{status:?} {event:?}");
                }
                let by_timer = [Expire, Cancel].contains(&event);
                assert!(!(by_timer && matches!(status, Executing | Unknown)) || next.is_none());
            }
        }
    }

    #[test]
    fn a_state_is_read_back_as_it_was_stored() {
        for status in BookingStatus::ALL {
            assert_eq!(BookingStatus::parse(status.as_str()), Some(status));
        }
    }
}
