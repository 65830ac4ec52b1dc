//! `[scooter_accumulator]`.

use std::time::Duration;

use serde::Deserialize;

use super::cabinets::near::MAX_RADIUS_M;
use super::commands::CommandSettings;
use crate::platform::config::http::HttpSettings;
use crate::platform::config::{Config, Fault, Faults, Section};

/// What an operator may set.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScooterSettings {
    /// How long a booking keeps its cells.
    pub booking_ttl_ms: u64,
    /// How far a cabinet may be that is named in place of one that cannot be booked, in metres.
    pub alternatives_radius_m: f64,
    /// From this charge on (percent) an accumulator that a person puts into a cell counts as charged,
    /// until the cabinet says what it is.
    pub charged_from: i16,
    /// How often bookings that have expired are written down as such.
    pub sweep_ms: u64,
    /// How often the gauges are read from the database.
    pub gauges_ms: u64,
    /// How long moves, commands and ended bookings are kept.
    pub history_days: i32,
    /// How cabinets are spoken to.
    pub commands: CommandSettings,
}

impl ScooterSettings {
    pub(super) fn booking_ttl(&self) -> Duration {
        Duration::from_millis(self.booking_ttl_ms)
    }

    pub(super) fn sweep(&self) -> Duration {
        Duration::from_millis(self.sweep_ms)
    }

    pub(super) fn gauges(&self) -> Duration {
        Duration::from_millis(self.gauges_ms)
    }

    /// What in the section `name` does not go with the rest of a configuration. It is told by who
    /// checks, and keeps no domain from starting: only callers of a process that stops would miss it.
    pub(super) fn contradictions(&self, name: &str, config: &Config) -> Vec<Fault> {
        // Faults of `http` are told by whoever reads it.
        let Ok(http) = config.section::<HttpSettings>("http") else { return Vec::new() };
        let needs = self.commands.execution().min(http.max_timeout()).as_millis();
        let message = format!(
            "with pace_ms and a second, an execution may take {needs} ms, which must not be more than \
             http.grace_ms ({}): a process that stops would cut it while the cabinet may still answer",
            http.grace_ms
        );
        let mut faults = Faults::below(name);
        faults.require(needs <= http.grace_ms.into(), "commands.answer_ms", &message);
        faults.into_vec()
    }
}

impl Section for ScooterSettings {
    fn check(&self, faults: &mut Faults) {
        let mut within = |holds: bool, key: &str, range: &str| {
            faults.require(holds, key, &format!("must be in {range}"));
        };
        let day = 86_400_000;
        within((100..=day).contains(&self.booking_ttl_ms), "booking_ttl_ms", "100..=86400000");
        let radius = (0.0..=MAX_RADIUS_M).contains(&self.alternatives_radius_m);
        within(radius, "alternatives_radius_m", "0..=20100000");
        within((0..=100).contains(&self.charged_from), "charged_from", "0..=100");
        within((50..=60_000).contains(&self.sweep_ms), "sweep_ms", "50..=60000");
        within((50..=600_000).contains(&self.gauges_ms), "gauges_ms", "50..=600000");
        within((1..=3650).contains(&self.history_days), "history_days", "1..=3650");
        self.commands.check(faults);
    }
}

#[cfg(test)]
mod tests {
    use super::super::SECTION;
    use super::*;
    use crate::platform::config::ConfigSource;

    fn contradictions(text: &str) -> Vec<Fault> {
        let config = ConfigSource::texts(vec![text.to_owned()]).load().unwrap();
        config.section::<ScooterSettings>(SECTION).unwrap().contradictions(SECTION, &config)
    }

    #[test]
    fn a_cabinet_must_be_asked_before_it_counts_as_offline() {
        let faults = |offline_after_ms: u64| {
            let text = format!(
                "[scooter_accumulator.commands]\npoll_ms = 60000\noffline_after_ms = {offline_after_ms}"
            );
            let config = ConfigSource::texts(vec![text]).load().unwrap();
            config.section::<ScooterSettings>(SECTION).err().unwrap_or_default()
        };
        assert_eq!(faults(60_000), []);
        let told = faults(59_999);
        let [fault] = &told[..] else { panic!("{told:?}") };
        assert_eq!(fault.key, "scooter_accumulator.commands.offline_after_ms");
    }

    #[test]
    fn an_execution_must_be_able_to_end_before_the_process_does() {
        for text in [
            "",
            "[http]\ngrace_ms = 12000",
            "[scooter_accumulator.commands]\nanswer_ms = 12000",
            // Nobody waits longer than that.
            "[http]\ndefault_timeout_ms = 5000\nmax_timeout_ms = 5000\ngrace_ms = 5000",
            // Its own fault is told elsewhere.
            "[http]\ngrace_ms = 0",
        ] {
            assert_eq!(contradictions(text), [], "{text}");
        }
        for (text, needs, grace) in [
            ("[http]\ngrace_ms = 11999", "12000 ms", "(11999)"),
            ("[scooter_accumulator.commands]\nanswer_ms = 12001", "14001 ms", "(14000)"),
            ("[scooter_accumulator.commands]\npace_ms = 60000", "30000 ms", "(14000)"),
        ] {
            let faults = contradictions(text);
            let [fault] = &faults[..] else { panic!("{text}: {faults:?}") };
            assert_eq!(fault.key, "scooter_accumulator.commands.answer_ms");
            assert!(fault.message.contains(needs) && fault.message.contains(grace), "{fault}");
        }
    }
}
