//! Where each accumulator is, and the only way in which that changes.

mod place;
mod store;

pub use place::{Cause, InCell, MoveKind, Place};
pub(super) use store::accumulator_columns;
pub use store::{
    Accumulator, AccumulatorRow, Locked, Move, create, lock, lock_of_cabinet, move_all, set_charges,
};
