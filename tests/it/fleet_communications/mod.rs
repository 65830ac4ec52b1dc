//! Dispatchers write to drivers.

mod mailings;
