//! From the queue to the regulator.

mod changes;
mod failures;
mod instances;
mod secrets;
mod shifts;
mod way;
