//! fleet: the back office of taxi parks and scooter fleets, five services in one server.

pub mod platform;
#[cfg(feature = "sandbox")]
pub mod sandbox;
#[cfg(feature = "upstream")]
pub mod upstreams;
