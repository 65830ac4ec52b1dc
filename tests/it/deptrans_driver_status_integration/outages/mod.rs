//! When the regulator could not be told, and what happens then.

mod hours;
mod instances;
mod list;
