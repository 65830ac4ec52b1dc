//! The task queue, through what domains are given of it, on a real PostgreSQL. An instance here is
//! what one process has: a pool, threads, a listening connection.

mod cli;
mod enqueue;
mod fairness;
mod horizon;
mod instances;
mod leases;
mod model;
mod observed;
mod outcomes;
mod platform;
mod rig;
mod schedules;
mod schema;
mod wake_ups;
