//! The numbered feeds that caches all over the company follow: bindings of licences to ids, and states
//! of shifts. Reasons stand in `docs/decisions/deptrans-update-feeds.md`.

#[allow(dead_code, reason = "their writers come next")]
mod numbers;

#[allow(unused_imports, reason = "the senders write to the feed of states")]
pub(super) use self::numbers::{Feed, Numbers, numbers_taken, take_numbers};
