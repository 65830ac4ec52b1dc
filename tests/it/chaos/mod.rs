//! Seeded fault runs with real processes (`docs/chaos.md`; `make chaos SEEDS=N DRIVERS=N`). A seed
//! decides moments, victims and faults; a run whose faults did not strike fails.

mod cabinets;
mod clocks;
mod database;
mod horizon;
mod kafka;
mod kills;
mod lost_answers;
mod poison;
mod processes;
mod regulator;
mod rig;
mod schedule;
mod steps;
mod stops;
mod storms;
mod tenants;
mod walk;
