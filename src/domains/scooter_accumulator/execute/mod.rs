//! Executing a booking: the cabinet is told to open its cells, and the caller waits for its answer.

mod model;
mod routes;
mod service;

pub use self::routes::mount;
pub use self::service::Execution;
