//! Configuration: one self-checking section a file.

mod faults;

pub use faults::{Fault, Faults};

/// A section of the configuration: a struct that serde fills (unknown keys refused) and that then
/// checks its own values, so that a value which exists is a valid one.
pub trait Section: serde::de::DeserializeOwned {
    /// Notes every value that is out of range or contradicts another.
    fn check(&self, faults: &mut Faults);
}
