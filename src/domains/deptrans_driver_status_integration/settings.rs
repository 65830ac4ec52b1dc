//! `[deptrans_driver_status_integration]`.

use serde::Deserialize;

use crate::platform::config::{Faults, Section};

/// What an operator may set.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeptransSettings {}

impl Section for DeptransSettings {
    fn check(&self, _faults: &mut Faults) {}
}
