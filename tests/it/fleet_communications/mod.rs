//! Parks write to their drivers.

mod conversations;
mod mailings;

/// The domain.
const DOMAIN: &str = "fleet-communications";
const PARK: &str = "park-1";
const OTHER_PARK: &str = "park-2";
