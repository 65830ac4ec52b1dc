//! The domain's routes and behaviours, as others see them.

mod intake;
mod krt;
mod outages;
mod rig;
mod sending;
mod supply;
