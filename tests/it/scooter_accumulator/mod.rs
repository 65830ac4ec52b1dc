//! scooter-accumulator.
