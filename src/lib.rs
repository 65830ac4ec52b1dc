//! fleet: the back office of taxi parks and scooter fleets, five services in one server.
//!
//! Arrows point down: `app` (what runs) → `wiring` (makes domains, fits neighbours together) →
//! `domains` (what the product does) → `upstreams` (typed clients of outside services) → `platform`
//! (machinery that knows no domain). `commands` is the command line beside serving; `sandbox` serves
//! stand-ins for the outside. Where to begin: `docs/finding-your-way.md`.

// A closed pipe makes `println!` panic; commands print by `commands::print`.
#![warn(clippy::print_stdout)]

pub mod app;
pub mod commands;
pub mod domains;
#[cfg(any(
    feature = "fuzzing",
    all(
        test,
        feature = "deptrans-driver-status-integration",
        feature = "fleet-customers",
        feature = "scooter-accumulator",
    )
))]
#[doc(hidden)]
pub mod fuzzing;
pub mod platform;
#[cfg(feature = "sandbox")]
pub mod sandbox;
pub mod upstreams;
pub mod wiring;
