//! scooter-accumulator.

mod line;

const DOMAIN: &str = "scooter-accumulator";

const INVARIANTS: [(&str, &str); 0] = [];
