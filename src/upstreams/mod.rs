//! A typed client per outside service. Each knows its contract; how to call is `platform::upstream`.

#[cfg(feature = "personal")]
pub mod personal;
