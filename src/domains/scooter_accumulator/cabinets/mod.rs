//! Cabinets and their cells: CRUD, and the search for the nearest that has what is wanted.

pub mod cells;
mod model;
pub mod near;
mod routes;
pub mod search;
mod service;
pub mod store;

use std::sync::Arc;

pub use self::routes::{CabinetPath, mount};
pub use self::service::{no_cabinet, shown};
use super::Tools;

/// Cabinets.
pub struct Cabinets {
    pub(super) tools: Arc<Tools>,
}
