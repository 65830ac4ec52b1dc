//! What hangs on a customer: favourite locations and recurring routes. Two tables of one form, so
//! one store serves both.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Integer, Jsonb, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::model::{Item, Location, Route};
use super::settings::CustomersSettings;
use super::store::Key;
use crate::platform::database::{Connection, Prepare};
use crate::platform::error::{Error, Result};

/// A kind of thing that hangs on a customer.
pub(super) trait ItemKind: Serialize + DeserializeOwned + 'static {
    /// Its table.
    const TABLE: &'static str;
    /// The code of the answer when there is none of that id.
    const NOT_FOUND: &'static str;
    /// The code of the answer when a customer has as many as it may.
    const TOO_MANY: &'static str;

    /// How many a customer may have.
    fn limit(settings: &CustomersSettings) -> i64;
}

impl ItemKind for Location {
    const TABLE: &'static str = "fleet_customers.favourite_locations";
    const NOT_FOUND: &'static str = "favourite_location_not_found";
    const TOO_MANY: &'static str = "too_many_favourite_locations";

    fn limit(settings: &CustomersSettings) -> i64 {
        settings.max_locations
    }
}

impl ItemKind for Route {
    const TABLE: &'static str = "fleet_customers.recurring_routes";
    const NOT_FOUND: &'static str = "recurring_route_not_found";
    const TOO_MANY: &'static str = "too_many_recurring_routes";

    fn limit(settings: &CustomersSettings) -> i64 {
        settings.max_routes
    }
}

/// An item and the version of it that clients send back in `If-Match`.
#[derive(Debug, Serialize, serde::Deserialize)]
pub(super) struct Versioned<T> {
    /// As clients see it.
    pub item: Item<T>,
    /// Counts its changes, from 1.
    pub version: i32,
}

#[derive(QueryableByName)]
struct ItemRow {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Integer)]
    version: i32,
    #[diesel(sql_type = Jsonb)]
    body: serde_json::Value,
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

impl ItemRow {
    fn item<T: ItemKind>(self) -> Result<Versioned<T>> {
        let body = serde_json::from_value(self.body).map_err(Error::internal)?;
        Ok(Versioned { item: Item { id: self.id, body }, version: self.version })
    }
}

/// The number of the park whose id is the second parameter.
const PARK: &str = "(SELECT park_no FROM fleet_customers.parks WHERE park_id = $2)";

/// How many items of this kind a customer has.
pub(super) async fn count<T: ItemKind>(connection: &mut Connection, key: &Key) -> Result<i64> {
    let sql = format!(
        "SELECT count(*) AS count FROM {} WHERE personal_phone_id = $1 AND park_no = {PARK}",
        T::TABLE
    );
    let query = diesel::sql_query(sql).bind::<Binary, _>(&key.1).bind::<Binary, _>(&key.0);
    Ok(query.prepared().get_result::<Count>(connection).await?.count)
}

/// A customer's items of this kind, oldest first.
pub(super) async fn list<T: ItemKind>(
    connection: &mut Connection,
    key: &Key,
) -> Result<Vec<Versioned<T>>> {
    let sql = format!(
        "SELECT id, version, body FROM {} WHERE personal_phone_id = $1 AND park_no = {PARK} ORDER BY id",
        T::TABLE
    );
    let query = diesel::sql_query(sql).bind::<Binary, _>(&key.1).bind::<Binary, _>(&key.0);
    query.prepared().load::<ItemRow>(connection).await?.into_iter().map(ItemRow::item).collect()
}

/// One item of the customer.
pub(super) async fn find<T: ItemKind>(
    mut connection: &Connection,
    key: &Key,
    id: Uuid,
) -> Result<Option<Versioned<T>>> {
    let sql = format!(
        "SELECT id, version, body FROM {} WHERE personal_phone_id = $1 AND park_no = {PARK} AND id = $3",
        T::TABLE
    );
    let query = diesel::sql_query(sql)
        .bind::<Binary, _>(&key.1)
        .bind::<Binary, _>(&key.0)
        .bind::<SqlUuid, _>(id);
    let row: Option<ItemRow> = query.prepared().get_result(&mut connection).await.optional()?;
    row.map(ItemRow::item).transpose()
}

/// Adds an item. The customer must be locked, so that a count before it still holds.
pub(super) async fn insert<T: ItemKind>(
    connection: &mut Connection,
    key: &Key,
    id: Uuid,
    body: &T,
) -> Result<Versioned<T>> {
    let sql = format!(
        "INSERT INTO {} (personal_phone_id, park_no, id, body) VALUES ($1, {PARK}, $3, $4) \
         RETURNING id, version, body",
        T::TABLE
    );
    write(connection, sql, key, id, body).await?.ok_or_else(|| Error::internal("no row inserted"))
}

/// Replaces an item; `None` when the customer has none of that id.
pub(super) async fn replace<T: ItemKind>(
    connection: &mut Connection,
    key: &Key,
    id: Uuid,
    body: &T,
) -> Result<Option<Versioned<T>>> {
    let sql = format!(
        "UPDATE {} SET body = $4, version = version + 1, updated_at = now() \
         WHERE personal_phone_id = $1 AND park_no = {PARK} AND id = $3 RETURNING id, version, body",
        T::TABLE
    );
    write(connection, sql, key, id, body).await
}

async fn write<T: ItemKind>(
    connection: &mut Connection,
    sql: String,
    key: &Key,
    id: Uuid,
    body: &T,
) -> Result<Option<Versioned<T>>> {
    let body = serde_json::to_value(body).map_err(Error::internal)?;
    let query = diesel::sql_query(sql)
        .bind::<Binary, _>(&key.1)
        .bind::<Binary, _>(&key.0)
        .bind::<SqlUuid, _>(id)
        .bind::<Jsonb, _>(body);
    let row: Option<ItemRow> = query.prepared().get_result(connection).await.optional()?;
    row.map(ItemRow::item).transpose()
}

/// Removes an item; false when the customer has none of that id.
pub(super) async fn delete<T: ItemKind>(
    connection: &mut Connection,
    key: &Key,
    id: Uuid,
) -> Result<bool> {
    let sql = format!(
        "DELETE FROM {} WHERE personal_phone_id = $1 AND park_no = {PARK} AND id = $3",
        T::TABLE
    );
    let query = diesel::sql_query(sql)
        .bind::<Binary, _>(&key.1)
        .bind::<Binary, _>(&key.0)
        .bind::<SqlUuid, _>(id);
    Ok(query.prepared().execute(connection).await? == 1)
}
