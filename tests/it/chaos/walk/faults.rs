//! What goes wrong while a booking is executed.

use fleet::sandbox::cabinets::{Cabinet, CabinetFaults};
use rand::RngExt;

use crate::chaos::cabinets::Site;
use crate::chaos::rig::Run;
use crate::support::proxy::Mode;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    /// Everything is told three times.
    Copies,
    /// The cabinet opens and does not say so.
    Mute,
    /// The cabinet takes no notice.
    Ignores,
    /// The answer comes late, but in time.
    Late,
    /// What the cabinet tells comes when the caller has gone, in the order in which it was told or the
    /// reverse.
    Holds,
    /// The cabinet looks at the command when it has expired.
    Slow,
    /// Two callers at once.
    Twice,
    /// The process dies before it says the next thing after so many to the database.
    Dies(u64),
    /// The process is killed when a door has opened and the answer is still to come.
    Killed,
    /// The broker is killed then, with all that it had, and started again.
    Broker,
    /// The cabinet loses its connection then.
    Cut,
    /// The cabinet restarts then, and knows no command that it had.
    Forgets,
    /// It has struck.
    Struck,
}

impl Fault {
    pub fn any(run: &mut Run) -> Self {
        match run.random.random_range(0..20) {
            0 => Self::Copies,
            1 => Self::Mute,
            2 => Self::Ignores,
            3 => Self::Late,
            4 | 5 => Self::Holds,
            6 => Self::Slow,
            7 => Self::Twice,
            8..11 => Self::Dies(run.random.random_range(0..40)),
            11 => Self::Killed,
            12 => Self::Broker,
            13 => Self::Cut,
            14 => Self::Forgets,
            _ => Self::None,
        }
    }

    /// How long the caller waits.
    pub fn patience_ms(self) -> &'static str {
        match self {
            Self::Mute | Self::Ignores | Self::Holds | Self::Slow => "300",
            _ => "2000",
        }
    }

    /// Whether it is something that has come true.
    pub fn has_struck(self) -> bool {
        !matches!(self, Self::None | Self::Killed | Self::Broker | Self::Cut | Self::Forgets)
    }

    pub fn callers(self) -> usize {
        if self == Self::Twice { 2 } else { 1 }
    }

    pub fn begin(self, site: &Site, cabinet: &Cabinet) {
        let well = CabinetFaults::default();
        let faults = match self {
            Self::Copies => CabinetFaults { copies: 2, ..well },
            Self::Mute => CabinetFaults { mute: true, ..well },
            Self::Ignores => CabinetFaults { ignores: true, ..well },
            Self::Late | Self::Twice => CabinetFaults { late_ms: 150, ..well },
            Self::Holds => CabinetFaults { holds: true, copies: 1, ..well },
            Self::Slow => CabinetFaults { slow_ms: 500, ..well },
            Self::Killed | Self::Broker | Self::Cut | Self::Forgets => {
                CabinetFaults { late_ms: 100, ..well }
            }
            Self::None | Self::Dies(_) | Self::Struck => well,
        };
        cabinet.set_faults(faults);
        if let Self::Dies(piece) = self {
            site.proxy.set(Mode::HaltAfter(piece));
        }
    }
}

/// From now on all is well, and what was held back is told.
pub fn end(site: &Site, run: &mut Run) {
    let reversed = run.random.random_range(0..2) == 0;
    for cabinet in site.cabinets() {
        cabinet.release(reversed);
        cabinet.set_faults(CabinetFaults::default());
        cabinet.come_back();
    }
}
