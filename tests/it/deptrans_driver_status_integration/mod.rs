//! The domain's routes and behaviours, as others see them.

mod intake;
