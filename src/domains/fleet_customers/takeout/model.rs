//! Bodies of the takeout routes, as the data-subject service sees them.

use garde::Validate;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use crate::platform::ids::{PersonalId, RequestId};

/// Whose data is asked for.
#[derive(Debug, Clone, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TakeoutStatusRequest)]
pub struct StatusRequest {
    /// Up to 500 ids that `personal` gave for the person's phone numbers.
    #[garde(length(min = 1, max = 500))]
    #[schema(min_items = 1, max_items = 500)]
    pub personal_phone_ids: Vec<PersonalId>,
}

/// Whose data is to be erased, in all parks.
#[derive(Debug, Clone, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ErasureRequest {
    /// The caller's own id of the request. Repeating it with the same persons does no harm. It is kept:
    /// it must be nothing personal.
    #[garde(skip)]
    pub request_id: RequestId,
    /// Up to 500 ids that `personal` gave for the persons' phone numbers; their order does not matter.
    #[garde(length(min = 1, max = 500))]
    #[schema(min_items = 1, max_items = 500)]
    pub personal_phone_ids: Vec<PersonalId>,
}

impl ErasureRequest {
    /// Each person once, in one order.
    pub(super) fn persons(&self) -> Vec<&PersonalId> {
        let mut persons: Vec<&PersonalId> = self.personal_phone_ids.iter().collect();
        persons.sort_unstable();
        persons.dedup();
        persons
    }

    /// Tells this request from another one under its id. The id is part of it, so that two requests
    /// about one person have nothing in common.
    pub(super) fn digest(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        let texts = self.persons().into_iter().map(PersonalId::as_str);
        for text in std::iter::once(self.request_id.as_str()).chain(texts) {
            hasher.update((text.len() as u64).to_be_bytes());
            hasher.update(text.as_bytes());
        }
        hasher.finalize().into()
    }
}

/// What is kept of the persons.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TakeoutStatus {
    /// Of all categories together.
    pub status: TakeoutState,
    /// All there are, also those with nothing in them.
    pub categories: Vec<Category>,
}

/// What is kept of the persons, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TakeoutState {
    /// Nothing is kept.
    Empty,
    /// Something is kept, and no erasure is under way.
    ReadyToDelete,
    /// An erasure of one of them is not completed.
    DeleteInProgress,
}

/// One sort of data, over all parks.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = TakeoutCategory)]
pub struct Category {
    /// `profiles`, `favourite_locations`, `recurring_routes`, or `recent_answers`: what is remembered
    /// for a day for calls that are repeated.
    pub name: &'static str,
    /// How many records.
    pub count: i64,
}

/// An erasure was taken on.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ErasureAccepted {
    /// As it was given.
    pub request_id: RequestId,
    /// How far it is.
    pub status: ErasureStatus,
}

/// How far an erasure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErasureStatus {
    /// It is being worked on.
    InProgress,
    /// Nothing of what was ordered before it is left.
    Completed,
}

/// The receipt of an erasure. Nothing personal stands in it.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = ErasureReceipt)]
pub struct Receipt {
    /// As it was given.
    pub request_id: RequestId,
    /// How far it is. Until it is completed the counts grow.
    pub status: ErasureStatus,
    /// Who asked for it: the name of the caller.
    pub caller: String,
    /// When it was taken on.
    #[schema(value_type = String, format = DateTime)]
    pub requested_at: Timestamp,
    /// When everything was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub completed_at: Option<Timestamp>,
    /// Each table that may hold something of a person, and the rows that were erased.
    pub tables: Vec<Erased>,
    /// Each outside system that was asked to forget, and the records it forgot.
    pub systems: Vec<Erased>,
}

/// Rows of one table, or records of one system.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Erased {
    /// The table with its schema, or the system.
    pub name: &'static str,
    /// How many.
    pub rows: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(id: &str, persons: &[&str]) -> ErasureRequest {
        serde_json::from_value(serde_json::json!({"request_id": id, "personal_phone_ids": persons}))
            .unwrap()
    }

    #[test]
    fn the_same_persons_in_any_order_are_the_same_request() {
        let digest = |id: &str, persons: &[&str]| request(id, persons).digest();
        assert_eq!(digest("r", &["a", "b"]), digest("r", &["b", "a", "b"]));
        assert_ne!(digest("r", &["a", "b"]), digest("r", &["a"]));
        assert_ne!(digest("r", &["ab"]), digest("r", &["a", "b"]));
        assert_ne!(digest("r", &["a"]), digest("s", &["a"]));
    }
}
