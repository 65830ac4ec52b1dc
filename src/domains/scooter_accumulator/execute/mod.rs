//! Executing a booking: the cabinet is told to open its cells, and the caller waits for its answer.

mod beginning;
mod model;
mod refusal;
mod routes;
mod service;

pub use self::routes::{ROUTE, mount};
pub use self::service::Execution;
