//! Bookings of accumulators to take out, and of cells to bring some back to.

mod model;
mod routes;
mod service;
mod status;
pub mod store;

use std::sync::Arc;

pub use self::model::{Booking, BookingKind, CellOutcome};
pub use self::routes::{BookingPath, mount};
pub use self::status::{BookingEvent, BookingStatus};
use super::Tools;

/// Bookings.
pub struct Bookings {
    pub(super) tools: Arc<Tools>,
}
