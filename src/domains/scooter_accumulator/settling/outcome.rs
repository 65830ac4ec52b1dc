//! What became of a booked cell.

/// Kept with the booking's cell; none while it is not known whether the door was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The door did not open.
    Unopened,
    /// The door was opened, and was not reported shut with its contents since.
    Opened,
    /// Shut again without the accumulator that was to be taken.
    Taken,
    /// Shut again with it.
    Left,
    /// Shut again with an accumulator in it, as was to be.
    Filled,
    /// Nothing was reported in it in time.
    Unfilled,
    /// Not reported shut in time: what was to be taken counts as taken.
    Unreported,
    /// Booked, but not needed.
    Unused,
}

impl Outcome {
    /// Every one.
    pub const ALL: [Self; 8] = [
        Self::Unopened,
        Self::Opened,
        Self::Taken,
        Self::Left,
        Self::Filled,
        Self::Unfilled,
        Self::Unreported,
        Self::Unused,
    ];

    /// As the database names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unopened => "unopened",
            Self::Opened => "opened",
            Self::Taken => "taken",
            Self::Left => "left",
            Self::Filled => "filled",
            Self::Unfilled => "unfilled",
            Self::Unreported => "unreported",
            Self::Unused => "unused",
        }
    }

    /// The one of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.name() == name)
    }
}
