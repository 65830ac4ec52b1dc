//! A customer's favourite locations and recurring routes.

use uuid::Uuid;

use super::super::items::{self, ItemKind, Versioned};
use super::super::store::Key;
use super::super::{NAME, store};
use super::{Customers, key, not_found};
use crate::platform::conditions::{ExpectedVersion, IdempotentCall};
use crate::platform::context::Context;
use crate::platform::database::Connection;
use crate::platform::database::idempotency::Guard;
use crate::platform::error::{Error, Kind, Result};
use crate::platform::ids::{ParkId, PersonalId};

impl Customers {
    /// Adds something to a customer.
    pub async fn add_item<T: ItemKind>(
        &self,
        context: &Context,
        park: &ParkId,
        id: &PersonalId,
        body: &T,
        call: Option<IdempotentCall>,
    ) -> Result<Versioned<T>> {
        let key = key(park, id);
        let guard = Guard { call, domain: NAME, subject: Some((&key.0, &key.1)) };
        let limit = T::limit(&self.settings);
        let added = self
            .database
            .once(context, guard, async |connection| {
                touch(connection, &key).await?;
                if items::count::<T>(connection, &key).await? >= limit {
                    let detail = format!("A customer may have at most {limit} of these.");
                    return Err(Error::new(Kind::Conflict, T::TOO_MANY, detail));
                }
                items::insert(connection, &key, Uuid::now_v7(), body).await
            })
            .await?;
        self.metrics.updates_by_dispatcher.inc();
        Ok(added)
    }

    /// A customer's items of one kind, oldest first.
    pub async fn list_items<T: ItemKind>(
        &self,
        context: &Context,
        park: &ParkId,
        id: &PersonalId,
    ) -> Result<Vec<Versioned<T>>> {
        let key = key(park, id);
        self.database
            .transaction(context, async |connection| {
                let listed = items::list(connection, &key).await?;
                if listed.is_empty() {
                    let customer = store::read_many(connection, std::slice::from_ref(&key)).await?;
                    customer.first().ok_or_else(not_found)?;
                }
                Ok(listed)
            })
            .await
    }

    /// One item.
    pub async fn item<T: ItemKind>(
        &self,
        context: &Context,
        park: &ParkId,
        id: &PersonalId,
        item: Uuid,
    ) -> Result<Versioned<T>> {
        let key = key(park, id);
        self.database
            .statement(context, async |connection| items::find(connection, &key, item).await)
            .await?
            .ok_or_else(item_not_found::<T>)
    }

    /// Replaces one item.
    pub async fn replace_item<T: ItemKind>(
        &self,
        context: &Context,
        park: &ParkId,
        id: &PersonalId,
        item: Uuid,
        body: &T,
        expected: &ExpectedVersion,
    ) -> Result<Versioned<T>> {
        let key = key(park, id);
        let replaced = self
            .database
            .transaction(context, async |connection| {
                touch(connection, &key).await?;
                let current = items::find::<T>(connection, &key, item).await?;
                expected.check(current.ok_or_else(item_not_found::<T>)?.version)?;
                items::replace(connection, &key, item, body).await?.ok_or_else(item_not_found::<T>)
            })
            .await?;
        self.metrics.updates_by_dispatcher.inc();
        Ok(replaced)
    }

    /// Removes one item; nothing happens when it is gone already.
    pub async fn delete_item<T: ItemKind>(
        &self,
        context: &Context,
        park: &ParkId,
        id: &PersonalId,
        item: Uuid,
        expected: &ExpectedVersion,
    ) -> Result<()> {
        let key = key(park, id);
        let deleted = self
            .database
            .transaction(context, async |connection| {
                store::lock(connection, &key).await?;
                let Some(current) = items::find::<T>(connection, &key, item).await? else {
                    return Ok(false);
                };
                expected.check(current.version)?;
                store::touch(connection, &key).await?;
                items::delete::<T>(connection, &key, item).await
            })
            .await?;
        if deleted {
            self.metrics.updates_by_dispatcher.inc();
        }
        Ok(())
    }
}

fn item_not_found<T: ItemKind>() -> Error {
    Error::not_found(T::NOT_FOUND, "The customer has none of that id.")
}

/// Locks the customer and counts the change, or says that there is none.
async fn touch(connection: &mut Connection, key: &Key) -> Result<()> {
    if store::touch(connection, key).await? { Ok(()) } else { Err(not_found()) }
}
