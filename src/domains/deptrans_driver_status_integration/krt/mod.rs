//! The way to the regulator's system KRT: token, pace, and what calls tell of its health.

use secrecy::SecretString;

use crate::platform::context::Context;
use crate::platform::error::{Error, Result};
use crate::upstreams::krt::Match;

/// KRT, as all threads of the process use it. Calls run on threads that can spawn local tasks.
pub(super) struct Gateway {}

impl Gateway {
    /// Whether the driver's id belongs to this licence number.
    ///
    /// # Errors
    /// `krt_unavailable` (503, with a time to come back) when there is no usable answer: it is down,
    /// refuses our token, or our pace leaves no room before the deadline; `deadline_exceeded`;
    /// `database_unavailable` (pace and token are shared through the database).
    pub async fn check(
        &self,
        _ctx: &Context,
        _id: &SecretString,
        _license: &SecretString,
    ) -> Result<Match> {
        Err(Error::unavailable("krt_unavailable", "The regulator's system does not answer."))
    }
}
