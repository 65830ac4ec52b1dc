//! From the queue to the regulator.

mod changes;
mod failures;
mod instances;
mod leave;
mod secrets;
mod shifts;
mod way;
