//! PostgreSQL, shared by all domains of a process.
//!
//! Three ways to a connection, and a rule for which to take:
//! - [`Database::transaction`]: a pooled connection for whatever must happen as a whole, or not at
//!   all when its caller is told that it failed. Statement and lock time-outs follow his deadline.
//! - [`Database::statement`]: the same for reads, and for a write of one statement that may be
//!   repeated; a round trip in place of three.
//! - [`Database::batched`]: for the few hottest single statements. They go down a *lane* (a
//!   connection of the worker's own, never shared between threads) and gather into one statement
//!   while the one before is under way.
//!
//! Statements of one connection that need not see each other's answers are sent together, by
//! `futures_util::try_join!` over `&Connection` (Tokio's polls in no fixed order): one round trip. They
//! run in the order of the list, also those that are prepared first, if each is a single statement; a
//! batch of simple queries waits for nothing and stands first. Where one fails in a transaction, those
//! behind it are taken back with it.

mod abandoned;
mod batching;
mod cleaning;
mod connector;
mod error;
mod follow;
pub mod idempotency;
mod json;
mod lane;
mod listen;
mod maintenance;
mod metrics;
pub mod migrations;
mod moment;
mod packed_id;
mod pool;
mod probe;
mod shares;
mod statement;

pub use batching::BatchedStatement;
pub use cleaning::{Cleaning, clean};
pub use follow::Follower;
pub use json::Json;
pub use listen::{Signal, Subscription};
pub use maintenance::maintain;
pub use moment::Moment;
pub use packed_id::PackedId;
pub use pool::Database;
pub use probe::Probe;
pub use shares::{PLATFORM, TASKS};
#[allow(unused_imports, reason = "not every set of features has a hot statement")]
pub(crate) use statement::prepared_statement;
pub use statement::{Prepare, Prepared};

/// The connection type of every store.
pub type Connection = diesel_async::AsyncPgConnection;
