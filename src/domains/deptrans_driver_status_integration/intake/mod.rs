//! What drivers do comes in, from Kafka or over HTTP, and the newest of each waits to be sent.

pub mod event;
pub mod store;
