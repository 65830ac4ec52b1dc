//! The rules. Plain values in and out; no HTTP.

use std::collections::HashMap;

use futures_util::future::join;
use jiff_diesel::ToDiesel;
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use super::NAME;
use super::items::{self, ItemKind, Versioned};
use super::metrics::CustomerMetrics;
use super::model::{
    CustomerEdit, CustomerKey, CustomerPatch, CustomerView, Degraded, OrderOptions, Upsert,
};
use super::settings::CustomersSettings;
use super::store::{
    self, CustomerRow, Edited, ListPosition, ReadCustomer, UpsertCustomer, UpsertRow,
};
use crate::platform::conditions::{ExpectedVersion, IdempotentCall};
use crate::platform::context::Context;
use crate::platform::database::idempotency::{self, Guard};
use crate::platform::database::{BatchedStatement, Connection, Database, Json, PackedId};
use crate::platform::error::{Error, Kind, Result};
use crate::platform::ids::{ParkId, PersonalId};
use crate::platform::phone::to_e164;
use crate::platform::readiness::ReadinessRow;
use crate::platform::validation::validate;
use crate::upstreams::personal::{Personal, PersonalError, PersonalKind};

/// Of the caller's patience, what is kept back from `personal` when an answer is possible without.
const KEPT_BACK: f64 = 0.2;

/// Passengers of parks.
pub(super) struct Customers {
    database: Database,
    personal: Personal,
    settings: CustomersSettings,
    metrics: CustomerMetrics,
}

/// A customer as answered, and its version for the `ETag`.
pub(super) struct Answer {
    pub view: CustomerView,
    pub version: i32,
}

impl Customers {
    pub fn new(
        database: Database,
        personal: Personal,
        settings: CustomersSettings,
        metrics: CustomerMetrics,
    ) -> Self {
        Self { database, personal, settings, metrics }
    }

    /// How `personal` is, as far as calls have shown.
    pub fn personal_readiness(&self) -> ReadinessRow {
        if self.personal.is_available() {
            ReadinessRow::ok("personal")
        } else {
            ReadinessRow::unavailable("personal", "breaker_open")
        }
    }

    /// The park's customer with this phone number. Stores nothing anywhere.
    pub async fn find_by_phone(
        &self,
        context: &Context,
        park: &ParkId,
        phone: &str,
    ) -> Result<Answer> {
        let phone = self.e164(phone)?;
        let id = self
            .personal
            .find(context, PersonalKind::Phones, &phone)
            .await
            .map_err(|error| bad_value_at("/phone", error))?;
        let found = match id {
            Some(id) => {
                let key = (PackedId::new(park.as_str()), PackedId::new(&id));
                self.database.batched::<ReadCustomer>(context, key).await?
            }
            None => None,
        };
        let Some(row) = found else {
            self.metrics.not_found_by_phone.inc();
            return Err(not_found());
        };
        self.metrics.found_by_phone.inc();
        let mut answer = self.with_personal(context, row).await?;
        answer.view.phone = Some(phone.expose_secret().to_owned());
        Ok(answer)
    }

    /// A customer's profile. Answers without name and phone when `personal` does not.
    pub async fn profile(
        &self,
        context: &Context,
        park: &ParkId,
        id: &PersonalId,
    ) -> Result<Answer> {
        let row = self.database.batched::<ReadCustomer>(context, key(park, id)).await?;
        self.metrics.profiles.inc();
        self.with_personal(context, row.ok_or_else(not_found)?).await
    }

    /// The park's customers, newest activity first: one more than `limit`, if there is one.
    pub async fn list(
        &self,
        context: &Context,
        park: &ParkId,
        after: Option<ListPosition>,
        limit: u32,
    ) -> Result<Vec<(CustomerView, ListPosition)>> {
        let park = PackedId::new(park.as_str());
        let limit = i64::from(limit) + 1;
        let rows = self
            .database
            .transaction(context, async |connection| {
                store::list(connection, &park, after, limit).await
            })
            .await?;
        self.metrics.lists.inc();
        let positions: Vec<ListPosition> = rows.iter().map(CustomerRow::position).collect();
        let views = self.with_personal_many(context, rows).await?;
        Ok(views.into_iter().zip(positions).collect())
    }

    /// A dispatcher's edit of the whole record.
    pub async fn replace(
        &self,
        context: &Context,
        park: &ParkId,
        id: &PersonalId,
        edit: CustomerEdit,
        expected: &ExpectedVersion,
    ) -> Result<Answer> {
        let name = self.store_name(context, edit.name.as_deref()).await?;
        let edit = |_: &CustomerRow| {
            Ok(Edited {
                personal_name_id: name,
                sms_enabled: edit.sms_enabled,
                order_options: edit.order_options,
            })
        };
        self.edit(context, park, id, expected, edit).await
    }

    /// A dispatcher's edit of a part.
    pub async fn patch(
        &self,
        context: &Context,
        park: &ParkId,
        id: &PersonalId,
        patch: CustomerPatch,
        expected: &ExpectedVersion,
    ) -> Result<Answer> {
        let name = match &patch.name {
            Some(name) => Some(self.store_name(context, name.as_deref()).await?),
            None => None,
        };
        let edit = |row: &CustomerRow| {
            let sms_enabled = match patch.sms_enabled {
                Some(wanted) => wanted.unwrap_or(false),
                None => row.sms_enabled(),
            };
            let order_options = match patch.order_options {
                Some(patch) => merged_options(row.options(), patch)?,
                None => row.options().cloned(),
            };
            let personal_name_id = name.unwrap_or_else(|| row.personal_name_id.clone());
            Ok(Edited { personal_name_id, sms_enabled, order_options })
        };
        self.edit(context, park, id, expected, edit).await
    }

    async fn edit(
        &self,
        context: &Context,
        park: &ParkId,
        id: &PersonalId,
        expected: &ExpectedVersion,
        edit: impl FnOnce(&CustomerRow) -> Result<Edited>,
    ) -> Result<Answer> {
        let key = key(park, id);
        let row = self
            .database
            .transaction(context, async |connection| {
                let row = store::read_for_update(connection, &key).await?.ok_or_else(not_found)?;
                expected.check(row.version)?;
                store::edit(connection, &key, edit(&row)?).await?.ok_or_else(not_found)
            })
            .await?;
        self.metrics.updates_by_dispatcher.inc();
        self.with_personal(context, row).await
    }

    /// Deletes a customer with all that hangs on it, and what was remembered of answers about it.
    pub async fn delete(&self, context: &Context, park: &ParkId, id: &PersonalId) -> Result<()> {
        let key = key(park, id);
        let deleted = self
            .database
            .transaction(context, async |connection| {
                let deleted = store::delete(connection, &key).await?;
                idempotency::forget(connection, NAME, &key.1).await?;
                Ok(deleted)
            })
            .await?;
        if deleted {
            self.metrics.updates_by_dispatcher.inc();
        }
        Ok(())
    }

    /// News of a passenger after an order. Counts the order, unless the call is a repeated one.
    pub async fn upsert(
        &self,
        context: &Context,
        upsert: Upsert,
        call: Option<IdempotentCall>,
    ) -> Result<CustomerView> {
        let row = self.upsert_row(context, upsert).await?;
        let row = match call {
            None => self.database.batched::<UpsertCustomer>(context, row).await?,
            Some(_) => {
                let phone = row.personal_phone_id.clone();
                let guard = Guard { call, domain: NAME, subject: Some(&phone) };
                let work = async |connection: &mut Connection| {
                    let rows = UpsertCustomer::run(connection, std::slice::from_ref(&row)).await?;
                    let row = rows.into_iter().next().ok_or_else(|| Error::internal("no row"))?;
                    self.metrics.updates_by_order.inc();
                    row.view()
                };
                return self.database.once(context, guard, work).await;
            }
        };
        self.metrics.updates_by_order.inc();
        row.view()
    }

    /// Exchanges what is personal for ids; both exchanges go out together.
    async fn upsert_row(&self, context: &Context, upsert: Upsert) -> Result<UpsertRow> {
        let phone = upsert.phone.as_deref().map(|phone| self.e164(phone)).transpose()?;
        let phone_id = async {
            match (phone, upsert.personal_phone_id) {
                (Some(phone), _) => self
                    .personal
                    .store(context, PersonalKind::Phones, &phone)
                    .await
                    .map(|id| PackedId::new(&id))
                    .map_err(|error| bad_value_at("/phone", error)),
                (None, Some(id)) => Ok(PackedId::new(id.as_str())),
                (None, None) => {
                    Err(Error::invalid("/phone", "phone or personal_phone_id must be given"))
                }
            }
        };
        let name_id = self.store_name(context, upsert.name.as_deref());
        let (phone_id, name_id) = join(phone_id, name_id).await;
        Ok(UpsertRow {
            park_id: PackedId::new(upsert.park_id.as_str()),
            personal_phone_id: phone_id?,
            personal_name_id: name_id?,
            sms_enabled: upsert.sms_enabled,
            order_options: upsert.order_options.map(|options| Json(options.into())),
            ordered_at: upsert.ordered_at.to_diesel(),
        })
    }

    /// Customers of any parks by key, without what is personal; the missing are left out.
    pub async fn retrieve(
        &self,
        context: &Context,
        keys: &[CustomerKey],
    ) -> Result<Vec<CustomerView>> {
        let packed = |key: &CustomerKey| {
            (PackedId::new(key.park_id.as_str()), PackedId::new(key.personal_phone_id.as_str()))
        };
        let rows = match keys {
            [one] => {
                let row = self.database.batched::<ReadCustomer>(context, packed(one)).await?;
                row.into_iter().collect()
            }
            keys => {
                let keys: Vec<_> = keys.iter().map(packed).collect();
                let read =
                    async |connection: &mut Connection| store::read_many(connection, &keys).await;
                self.database.transaction(context, read).await?
            }
        };
        self.metrics.retrieved.inc();
        rows.into_iter()
            .map(|row| {
                let park_id = row.key()?.park_id;
                Ok(CustomerView { park_id: Some(park_id), ..row.view()? })
            })
            .collect()
    }

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
        let guard = Guard { call, domain: NAME, subject: Some(&key.1) };
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
            .transaction(context, async |connection| items::find(connection, &key, item).await)
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
    ) -> Result<()> {
        let key = key(park, id);
        let deleted = self
            .database
            .transaction(context, async |connection| {
                let deleted = items::delete::<T>(connection, &key, item).await?;
                if deleted {
                    store::touch(connection, &key).await?;
                    idempotency::forget(connection, NAME, &key.1).await?;
                }
                Ok(deleted)
            })
            .await?;
        if deleted {
            self.metrics.updates_by_dispatcher.inc();
        }
        Ok(())
    }

    fn e164(&self, phone: &str) -> Result<SecretString> {
        to_e164(phone, self.settings.region())
            .map_err(|error| Error::invalid("/phone", error.to_string()))
    }

    async fn store_name(&self, context: &Context, name: Option<&str>) -> Result<Option<PackedId>> {
        let Some(name) = name else { return Ok(None) };
        let name = SecretString::from(name.trim());
        let id = self
            .personal
            .store(context, PersonalKind::Names, &name)
            .await
            .map_err(|error| bad_value_at("/name", error))?;
        Ok(Some(PackedId::new(&id)))
    }

    /// Adds name and phone, or says that they are missing.
    async fn with_personal(&self, context: &Context, row: CustomerRow) -> Result<Answer> {
        let version = row.version;
        let mut views = self.with_personal_many(context, vec![row]).await?;
        let view = views.pop().ok_or_else(|| Error::internal("no view"))?;
        Ok(Answer { view, version })
    }

    /// Adds names and phones to all rows with one call for each kind, or says that they are
    /// missing. `personal` is not given all of the caller's patience: without it there is an
    /// answer too.
    async fn with_personal_many(
        &self,
        context: &Context,
        rows: Vec<CustomerRow>,
    ) -> Result<Vec<CustomerView>> {
        let phone_ids: Vec<String> =
            rows.iter().map(|row| row.phone_id().map(String::from)).collect::<Result<_>>()?;
        let name_of =
            |row: &CustomerRow| row.personal_name_id.as_ref().map(|id| id.text().into_owned());
        let name_ids: Vec<Option<String>> = rows.iter().map(name_of).collect();
        let wanted_names: Vec<String> = name_ids.iter().flatten().cloned().collect();
        let context = context.keeping_back(KEPT_BACK);
        let phones = self.resolve(&context, PersonalKind::Phones, &phone_ids);
        let names = self.resolve(&context, PersonalKind::Names, &wanted_names);
        let (phones, names) = join(phones, names).await;
        if phones.is_err() || names.is_err() {
            self.metrics.degraded.inc();
        }
        rows.into_iter()
            .zip(phone_ids.iter().zip(&name_ids))
            .map(|(row, (phone_id, name_id))| {
                let mut view = row.view()?;
                match (&phones, &names) {
                    (Ok(phones), Ok(names)) => {
                        view.phone = exposed(phones.get(phone_id));
                        view.name = exposed(name_id.as_ref().and_then(|id| names.get(id)));
                    }
                    _ => view.degraded.push(Degraded::Personal),
                }
                Ok(view)
            })
            .collect()
    }

    async fn resolve(
        &self,
        context: &Context,
        kind: PersonalKind,
        ids: &[String],
    ) -> std::result::Result<HashMap<String, SecretString>, PersonalError> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        self.personal.bulk_retrieve(context, kind, ids).await
    }
}

fn exposed(value: Option<&SecretString>) -> Option<String> {
    value.map(|value| value.expose_secret().to_owned())
}

fn key(park: &ParkId, id: &PersonalId) -> (PackedId, PackedId) {
    (PackedId::new(park.as_str()), PackedId::new(id.as_str()))
}

fn not_found() -> Error {
    Error::not_found("customer_not_found", "This park has no such customer.")
}

fn item_not_found<T: ItemKind>() -> Error {
    Error::not_found(T::NOT_FOUND, "The customer has none of that id.")
}

/// Locks the customer and counts the change, or says that there is none.
async fn touch(connection: &mut Connection, key: &(PackedId, PackedId)) -> Result<()> {
    if store::touch(connection, key).await? { Ok(()) } else { Err(not_found()) }
}

/// A value that `personal` refused, at the place in the body where it stood.
fn bad_value_at(pointer: &str, error: PersonalError) -> Error {
    match error {
        PersonalError::BadValue => Error::invalid(pointer, "is not acceptable"),
        error @ PersonalError::Unavailable(_) => error.into(),
    }
}

/// Merges a patch into the options (RFC 7396); null removes them.
fn merged_options(
    current: Option<&OrderOptions>,
    patch: serde_json::Value,
) -> Result<Option<OrderOptions>> {
    if patch.is_null() {
        return Ok(None);
    }
    let mut merged = match current {
        Some(options) => serde_json::to_value(options).map_err(Error::internal)?,
        None => serde_json::Value::Null,
    };
    json_patch::merge(&mut merged, &patch);
    let options: OrderOptions = serde_json::from_value(merged)
        .map_err(|error| Error::invalid("/order_options", error.to_string()))?;
    validate(&options)?;
    Ok(Some(options))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn options(value: serde_json::Value) -> OrderOptions {
        serde_json::from_value(value).unwrap()
    }

    fn any_options() -> impl Strategy<Value = OrderOptions> {
        let classes = proptest::collection::vec("[a-z]{1,8}", 0..4);
        let requirements = proptest::collection::btree_map("[a-z]{1,4}", any::<bool>(), 0..4);
        (classes, requirements, proptest::option::of("[a-z ]{0,8}")).prop_map(
            |(classes, requirements, comment)| {
                options(
                    json!({"classes": classes, "requirements": requirements, "comment": comment}),
                )
            },
        )
    }

    #[test]
    fn a_patch_changes_what_it_names_and_removes_what_it_nulls() {
        let current = options(
            json!({"classes": ["econom"], "requirements": {"a": 1, "b": 2}, "comment": "x"}),
        );
        let patch = json!({"requirements": {"a": null, "c": 3}, "comment": null});
        let merged = merged_options(Some(&current), patch).unwrap().unwrap();
        assert_eq!(
            merged,
            options(json!({"classes": ["econom"], "requirements": {"b": 2, "c": 3}}))
        );
        assert_eq!(merged_options(Some(&current), json!(null)).unwrap(), None);
        let fault = merged_options(Some(&current), json!({"clases": []})).unwrap_err();
        assert_eq!(fault.fields()[0].pointer, "/order_options");
    }

    proptest! {
        #[test]
        fn an_empty_patch_changes_nothing(current in any_options()) {
            let merged = merged_options(Some(&current), json!({})).unwrap();
            prop_assert_eq!(merged, Some(current));
        }

        #[test]
        fn patching_twice_is_patching_once(current in any_options(), other in any_options()) {
            let patch = serde_json::to_value(&other).unwrap();
            let once = merged_options(Some(&current), patch.clone()).unwrap();
            let twice = merged_options(once.as_ref(), patch).unwrap();
            prop_assert_eq!(once, twice);
        }
    }
}
