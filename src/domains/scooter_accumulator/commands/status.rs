//! How a command goes on. The only place that says what may follow what; SQL changes a status only
//! from the one that was looked at.

use serde::{Deserialize, Serialize};

/// Where a command is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CommandStatus {
    /// Written down; it has not left.
    Created,
    /// It may have left. It is never sent again.
    Sent,
    /// Sent, and not answered in time. A late answer still counts.
    TimedOut,
    /// Carried out, if only for some of its cells.
    Succeeded,
    /// The cabinet could not.
    Failed,
    /// The cabinet would not.
    Rejected,
    /// It never left, or came too late: it opened nothing and never will.
    Expired,
}

/// What happens to a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CommandEvent {
    /// It is marked as sent, before it is.
    #[allow(
        dead_code,
        reason = "the statement that takes the cabinet's turn makes this step itself"
    )]
    Leaves,
    /// It did not leave in time, or surely could not leave at all.
    NeverLeft,
    /// The time for an answer is over.
    TimesOut,
    /// The cabinet did it.
    Done,
    /// The cabinet could not do it.
    CouldNot,
    /// The cabinet refused it.
    Refused,
    /// The cabinet said that it came too late, or by its later state never carried it out.
    CameTooLate,
}

impl CommandStatus {
    /// Every one.
    pub const ALL: [Self; 7] = [
        Self::Created,
        Self::Sent,
        Self::TimedOut,
        Self::Succeeded,
        Self::Failed,
        Self::Rejected,
        Self::Expired,
    ];

    /// What follows; nothing where that cannot happen, or not any more.
    #[must_use]
    pub fn next(self, event: CommandEvent) -> Option<Self> {
        use CommandEvent::{CameTooLate, CouldNot, Done, Leaves, NeverLeft, Refused, TimesOut};
        match (self, event) {
            (Self::Created, Leaves) => Some(Self::Sent),
            // What was marked and then surely did not leave is as if it had never been marked.
            (Self::Created | Self::Sent, NeverLeft)
            | (Self::Sent | Self::TimedOut, CameTooLate) => Some(Self::Expired),
            (Self::Sent, TimesOut) => Some(Self::TimedOut),
            (Self::Sent | Self::TimedOut, Done) => Some(Self::Succeeded),
            (Self::Sent | Self::TimedOut, CouldNot) => Some(Self::Failed),
            (Self::Sent | Self::TimedOut, Refused) => Some(Self::Rejected),
            _ => None,
        }
    }

    /// Whether the cabinet may still carry it out, as far as is known.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Created | Self::Sent | Self::TimedOut)
    }

    /// As the database and JSON name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Sent => "sent",
            Self::TimedOut => "timed_out",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
        }
    }

    /// The one of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use CommandEvent::{CameTooLate, CouldNot, Done, Leaves, NeverLeft, Refused, TimesOut};
    use CommandStatus::{Created, Expired, Failed, Rejected, Sent, Succeeded, TimedOut};

    const EVENTS: [CommandEvent; 7] =
        [Leaves, NeverLeft, TimesOut, Done, CouldNot, Refused, CameTooLate];

    #[test]
    fn every_pair_of_status_and_event() {
        let follows = |status: CommandStatus| EVENTS.map(|event| status.next(event));
        let [sent, gone, late] = [Some(Sent), Some(Expired), Some(TimedOut)];
        let [done, failed, refused] = [Some(Succeeded), Some(Failed), Some(Rejected)];
        assert_eq!(follows(Created), [sent, gone, None, None, None, None, None]);
        assert_eq!(follows(Sent), [None, gone, late, done, failed, refused, gone]);
        assert_eq!(follows(TimedOut), [None, None, None, done, failed, refused, gone]);
        for ended in [Succeeded, Failed, Rejected, Expired] {
            assert_eq!(follows(ended), [None; 7], "{ended:?}");
            assert!(!ended.is_open());
        }
    }

    #[test]
    fn nothing_is_sent_twice() {
        for status in CommandStatus::ALL {
            assert_eq!(status.next(Leaves).is_some(), status == Created);
        }
    }

    #[test]
    fn names_are_those_of_json_and_read_back() {
        for status in CommandStatus::ALL {
            assert_eq!(serde_json::to_value(status).unwrap(), status.name());
            assert_eq!(CommandStatus::parse(status.name()), Some(status));
        }
        assert_eq!(CommandStatus::parse("lost"), None);
    }
}
