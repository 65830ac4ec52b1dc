//! What could not be read is sealed and kept for a while, for people to look at.

use uuid::Uuid;

use super::event::Unreadable;
use super::store::DeadLetter;
use crate::platform::error::Result;
use crate::platform::seal::Seal;

/// Of a longer body only the beginning is kept.
const MOST_BYTES: usize = 16 << 10;

/// What a letter's body is sealed about.
pub(super) fn about(id: Uuid) -> Vec<u8> {
    format!("deptrans.dead_letters/{id}").into_bytes()
}

/// A letter about what stood in this place of the topic.
///
/// # Errors
/// The system gives no random bytes.
pub(super) fn write(
    seal: &Seal,
    why: &Unreadable,
    (partition, offset): (i32, i64),
    body: &[u8],
) -> Result<DeadLetter> {
    let id = Uuid::now_v7();
    let kept = body.get(..MOST_BYTES).unwrap_or(body);
    let sealed = seal.seal(kept, &about(id))?;
    let reason = format!("{}: {}", why.reason, why.detail);
    Ok(DeadLetter { reason, partition, offset, id, sealed })
}
