//! Cabinets and their cells.

pub mod cells;
pub mod store;
