//! fleet: the back office of taxi parks and scooter fleets, five services in one server.

pub mod platform;
