//! SQL of customers. Every finder takes the park; the two hottest statements are batched.

mod edit;
mod list;
mod read;
mod row;
mod upsert;

pub(super) use self::edit::{Edited, delete, edit, lock, read_for_update, touch};
pub(super) use self::list::{ListPosition, list};
pub(super) use self::read::{ReadCustomer, read_many};
pub(super) use self::row::CustomerRow;
pub(super) use self::upsert::{UNKNOWN_PARK, UpsertCustomer, UpsertRow, remember_park, upsert};
use crate::platform::database::PackedId;

/// A customer's key: park and personal phone id.
pub(super) type Key = (PackedId, PackedId);
