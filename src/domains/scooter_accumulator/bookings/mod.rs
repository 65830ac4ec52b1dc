//! Bookings of accumulators to take out, and of cells to bring some back to.

mod model;
mod status;
pub mod store;

pub use model::{Booking, BookingKind};
pub use status::{BookingEvent, BookingStatus};
