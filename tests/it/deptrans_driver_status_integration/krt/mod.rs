//! The way to the regulator: token, pace, bulk.

mod bulk;
mod pace;
mod token;
