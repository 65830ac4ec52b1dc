//! The HTTP side: one server, one way of answering, for all domains.
//!
//! A request passes `span` (ids, root span) and `pipeline` (admission, deadline, panics, problem
//! answers, metrics); then its handler's extractors (`identity`, `body`, `params`) refuse what is
//! not authorised or not well formed, in that order.

mod allow;
mod answer_stream;
pub mod auth;
pub mod body;
mod description;
pub mod docs;
pub mod etag;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod headers;
pub mod health;
pub mod idempotency;
pub mod identity;
mod metrics;
mod objects;
pub mod pagination;
pub mod params;
mod permit;
mod pipeline;
pub mod problem;
pub mod routes;
mod server;
mod span;
pub mod sse;
mod state;

pub use description::document;
pub use pipeline::pipeline;
pub use server::serve;
pub use span::RequestSpan;
pub use state::{HttpState, Mount};
