//! Changes of one customer.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use super::super::model::OrderOptions;
use super::super::schema::{customers, parks};
use super::Key;
use super::read::read_many;
use super::row::{CustomerRow, StoredOptions};
use crate::platform::database::{Connection, Json, PackedId};
use crate::platform::error::Result;

/// The customer of that key.
#[diesel::dsl::auto_type(no_type_alias)]
fn customer<'a>(park: &'a PackedId, phone: &'a PackedId) -> _ {
    let numbers = parks::table.filter(parks::park_id.eq(park)).select(parks::park_no);
    customers::table
        .filter(customers::personal_phone_id.eq(phone))
        .filter(customers::park_no.eq_any(numbers))
}

/// What a dispatcher can change.
pub struct Edited {
    pub personal_name_id: Option<PackedId>,
    pub sms_enabled: bool,
    pub order_options: Option<OrderOptions>,
}

/// Takes a customer for a change and returns its version: nobody else changes it, or what hangs on
/// it, until the transaction ends. Every change begins here or with [`touch`], so that no two wait
/// for each other crosswise.
pub async fn lock(connection: &mut Connection, key: &Key) -> Result<Option<i32>> {
    let (park, phone) = key;
    let version = customer(park, phone)
        .select(customers::version)
        .for_update()
        .first(connection)
        .await
        .optional()?;
    Ok(version)
}

/// Takes a customer for a change and reads it.
pub async fn read_for_update(
    connection: &mut Connection,
    key: &Key,
) -> Result<Option<CustomerRow>> {
    match lock(connection, key).await? {
        None => Ok(None),
        Some(_) => Ok(read_many(connection, std::slice::from_ref(key)).await?.pop()),
    }
}

/// Writes a dispatcher's edit and returns the customer as it is then.
pub async fn edit(
    connection: &mut Connection,
    key: &Key,
    edited: Edited,
) -> Result<Option<CustomerRow>> {
    let (park, phone) = key;
    diesel::update(customer(park, phone))
        .set((
            customers::personal_name_id.eq(edited.personal_name_id),
            customers::sms_enabled.eq(edited.sms_enabled),
            customers::order_options
                .eq(edited.order_options.map(|options| Json(StoredOptions::from(options)))),
            customers::version.eq(customers::version + 1),
            customers::updated_at.eq(diesel::dsl::now),
        ))
        .execute(connection)
        .await?;
    Ok(read_many(connection, std::slice::from_ref(key)).await?.pop())
}

/// Marks a customer as changed, because something below it is about to be, and keeps it locked;
/// false when there is none.
pub async fn touch(connection: &mut Connection, key: &Key) -> Result<bool> {
    let (park, phone) = key;
    let touched = diesel::update(customer(park, phone))
        .set((
            customers::version.eq(customers::version + 1),
            customers::updated_at.eq(diesel::dsl::now),
        ))
        .execute(connection)
        .await?;
    Ok(touched == 1)
}

/// Deletes a customer and all that hangs on it; false when there was none.
pub async fn delete(connection: &mut Connection, key: &Key) -> Result<bool> {
    let (park, phone) = key;
    let deleted = diesel::delete(customer(park, phone)).execute(connection).await?;
    Ok(deleted == 1)
}
