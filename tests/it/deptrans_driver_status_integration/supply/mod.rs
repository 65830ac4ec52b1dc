//! What the company would lose, and for how long states are kept.

mod at_risk;
mod retention;
