//! `[scooter_accumulator]`.

use serde::Deserialize;

use crate::platform::config::{Faults, Section};

/// What an operator may set.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScooterSettings {}

impl Section for ScooterSettings {
    fn check(&self, _faults: &mut Faults) {}
}
