//! What cabinets tell.
//!
//! `wire` reads a message, `consumer` gives each cabinet's events to one worker, `applying` writes what
//! an event changes, `contents` compares what is reported with what was thought. The cabinet is right.

mod applying;
mod consumer;
mod contents;
mod store;
mod wire;

pub use self::consumer::run;
pub use self::wire::CellReport;
#[cfg(any(test, feature = "fuzzing"))]
pub use self::wire::fuzz;
