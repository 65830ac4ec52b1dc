//! Accumulators: CRUD, where each is and was, and swaps at scooters.

mod model;
mod routes;
mod service;
mod store;
mod swap;

use std::sync::Arc;

pub use self::routes::mount;
use super::Tools;

/// Accumulators.
pub struct Accumulators {
    pub(super) tools: Arc<Tools>,
}
