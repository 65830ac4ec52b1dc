//! Erasure of persons across all parks, for the data-subject service (docs/decisions/erasure.md).
//!
//! A request is stored with the ids it is about, and a task in the same transaction. The task sets
//! tombstones (`tombstones`), erases our rows in batches, has `personal` forget the names (`erasing`,
//! whose SQL is in `batches`), and completes the audit's row. Every transaction begins with the
//! task's fence and counts what it did, so that a worker may die anywhere.
//!
//! `routes` (thin) → `service` (rules) → `requests` (SQL of the audit). `coverage` names every column
//! that may hold something of a person; a test compares it with the schema.

mod batches;
pub mod coverage;
mod erasing;
mod model;
mod requests;
pub(super) mod routes;
mod service;
pub(super) mod tombstones;
mod watch;

pub(super) use self::erasing::{EraseCustomers, Erasing};
pub(super) use self::service::Takeout;
pub(super) use self::watch::watch;
