//! The rules. Plain values in and out; no HTTP.

mod items;
mod personal;

use jiff_diesel::ToDiesel;
use secrecy::SecretString;

use super::NAME;
use super::metrics::CustomerMetrics;
use super::model::{CustomerEdit, CustomerKey, CustomerPatch, CustomerView, OrderOptions, Upsert};
use super::settings::CustomersSettings;
use super::store::{
    self, CustomerRow, Edited, Key, ListPosition, ReadCustomer, UpsertCustomer, UpsertRow,
};
use super::takeout::tombstones;
use crate::platform::conditions::{ExpectedVersion, IdempotentCall};
use crate::platform::context::Context;
use crate::platform::database::idempotency::{self, Guard};
use crate::platform::database::{Connection, Database, Json, PackedId};
use crate::platform::error::{Error, Result};
use crate::platform::ids::{ParkId, PersonalId};
use crate::platform::patch::Patch;
use crate::platform::readiness::ReadinessRow;
use crate::platform::validation::{validate_at, without_value};
use crate::upstreams::personal::{Personal, PersonalError, PersonalKind};

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
        ReadinessRow::of("personal", self.personal.trouble())
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
        // A number that nobody stored is looked up all the same, under a key that nothing has: the
        // time taken must not tell what other parks know.
        let id = id.map_or_else(|| PackedId::new(""), |id| PackedId::new(&id));
        let key = (PackedId::new(park.as_str()), id);
        let found = self.database.batched::<ReadCustomer>(context, key).await?;
        let Some(row) = found else {
            self.metrics.not_found_by_phone.inc();
            return Err(not_found());
        };
        self.metrics.found_by_phone.inc();
        self.with_name(context, row, &phone).await
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

    /// The park's customers, newest activity first, and where the next page begins, if there is one.
    /// A page may hold fewer than `limit` when they are large.
    pub async fn list(
        &self,
        context: &Context,
        park: &ParkId,
        after: Option<ListPosition>,
        limit: u32,
    ) -> Result<(Vec<CustomerView>, Option<ListPosition>)> {
        let park = PackedId::new(park.as_str());
        let (rows, more) = self
            .database
            .statement(context, async |connection| {
                store::list(connection, &park, after, limit as usize).await
            })
            .await?;
        self.metrics.lists.inc();
        let next = rows.last().filter(|_| more).map(CustomerRow::position);
        Ok((self.with_personal_many(context, rows).await?, next))
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
        if edit.name.is_some() {
            self.check_editable(context, park, id, expected).await?;
        }
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
        if patch.name.as_set().is_some() {
            self.check_editable(context, park, id, expected).await?;
        }
        let name = self.store_name(context, patch.name.as_set().map(String::as_str)).await?;
        let edit = |row: &CustomerRow| {
            let personal_name_id = match patch.name {
                Patch::Keep => row.personal_name_id.clone(),
                Patch::Remove | Patch::Set(_) => name,
            };
            let sms_enabled = match patch.sms_enabled {
                Patch::Keep => row.sms_enabled(),
                Patch::Remove => false,
                Patch::Set(wanted) => wanted,
            };
            let order_options = match &patch.order_options {
                Patch::Keep => row.options(),
                Patch::Remove => None,
                Patch::Set(patch) => Some(merged_options(row.options().as_ref(), patch)?),
            };
            Ok(Edited { personal_name_id, sms_enabled, order_options })
        };
        self.edit(context, park, id, expected, edit).await
    }

    /// Refuses what will be refused anyway, before a name is stored for it: one that belongs to no
    /// record would be found by no erasure.
    async fn check_editable(
        &self,
        context: &Context,
        park: &ParkId,
        id: &PersonalId,
        expected: &ExpectedVersion,
    ) -> Result<()> {
        let row = self.database.batched::<ReadCustomer>(context, key(park, id)).await?;
        expected.check(row.ok_or_else(not_found)?.version)
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
    pub async fn delete(
        &self,
        context: &Context,
        park: &ParkId,
        id: &PersonalId,
        expected: &ExpectedVersion,
    ) -> Result<()> {
        let key = key(park, id);
        let deleted = self
            .database
            .transaction(context, async |connection| {
                if let Some(version) = store::lock(connection, &key).await? {
                    expected.check(version)?;
                }
                let deleted = store::delete(connection, &key).await?;
                idempotency::forget(connection, NAME, &key).await?;
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
        let Some(call) = call else {
            let row = self.upsert_row(context, upsert).await?;
            let row = self.database.batched::<UpsertCustomer>(context, row).await?;
            let row = row.ok_or_else(tombstones::erased)?;
            self.metrics.updates_by_order.inc();
            return row.view();
        };
        // The first answer is given again also while `personal` is away.
        if let Some(answer) = self.database.recall(context, call).await? {
            return Ok(answer);
        }
        let row = self.upsert_row(context, upsert).await?;
        match self.upsert_once(context, &row, call).await {
            Err(error) if error.code() == store::UNKNOWN_PARK => {
                let remember = async |connection: &mut Connection| {
                    store::remember_park(connection, &row).await
                };
                self.database.transaction(context, remember).await?;
                self.upsert_once(context, &row, call).await
            }
            outcome => outcome,
        }
    }

    async fn upsert_once(
        &self,
        context: &Context,
        row: &UpsertRow,
        call: IdempotentCall,
    ) -> Result<CustomerView> {
        let subject = Some((&row.park_id, &row.personal_phone_id));
        let upsert = async |connection: &mut Connection| {
            let row = store::upsert(connection, row).await?;
            self.metrics.updates_by_order.inc();
            row.view()
        };
        let guard = Guard { call: Some(call), domain: NAME, subject };
        self.database.once(context, guard, upsert).await
    }

    /// Exchanges what is personal for ids. A name is stored only when no erasure swallows the order: one
    /// that belongs to no record would be found by no erasure.
    async fn upsert_row(&self, context: &Context, upsert: Upsert) -> Result<UpsertRow> {
        let phone = upsert.phone.as_deref().map(|phone| self.e164(phone)).transpose()?;
        let personal_phone_id = match (phone, upsert.personal_phone_id) {
            (Some(phone), _) => self
                .personal
                .store(context, PersonalKind::Phones, &phone)
                .await
                .map_err(|error| bad_value_at("/phone", error))
                .and_then(|id| given_by_personal(&id))?,
            (None, Some(id)) => PackedId::new(id.as_str()),
            (None, None) => {
                return Err(Error::invalid("/phone", "phone or personal_phone_id must be given"));
            }
        };
        let ordered_at = upsert.ordered_at.to_diesel();
        if upsert.name.is_some() {
            self.check_not_erased(context, &personal_phone_id, ordered_at).await?;
        }
        Ok(UpsertRow {
            park_id: PackedId::new(upsert.park_id.as_str()),
            personal_phone_id,
            personal_name_id: self.store_name(context, upsert.name.as_deref()).await?,
            sms_enabled: upsert.sms_enabled,
            order_options: upsert.order_options.map(|options| Json(options.into())),
            ordered_at,
        })
    }

    async fn check_not_erased(
        &self,
        context: &Context,
        phone: &PackedId,
        ordered_at: jiff_diesel::Timestamp,
    ) -> Result<()> {
        let look =
            async |connection: &_| tombstones::is_erased(connection, phone, ordered_at).await;
        let is_erased = self.database.statement(context, look).await?;
        if is_erased { Err(tombstones::erased()) } else { Ok(()) }
    }

    /// Customers of any parks by key, without what is personal; the missing are left out.
    pub async fn retrieve(
        &self,
        context: &Context,
        keys: &[CustomerKey],
    ) -> Result<Vec<CustomerView>> {
        let packed = |one: &CustomerKey| key(&one.park_id, &one.personal_phone_id);
        let rows = match keys {
            [one] => {
                let row = self.database.batched::<ReadCustomer>(context, packed(one)).await?;
                row.into_iter().collect()
            }
            keys => {
                let keys: Vec<_> = keys.iter().map(packed).collect();
                let read = async |connection: &_| store::read_many(connection, &keys).await;
                self.database.statement(context, read).await?
            }
        };
        self.metrics.retrieved.inc();
        rows.into_iter()
            .map(|row| {
                let park_id = row.park()?;
                Ok(CustomerView { park_id: Some(park_id), ..row.view()? })
            })
            .collect()
    }

    fn e164(&self, phone: &str) -> Result<SecretString> {
        self.settings
            .default_region
            .to_e164(phone)
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
        given_by_personal(&id).map(Some)
    }
}

/// An id that `personal` gave, checked: a malformed one would make its row unreadable.
fn given_by_personal(id: &str) -> Result<PackedId> {
    PersonalId::parse(id).map(|id| PackedId::new(id.as_str())).map_err(|error| {
        let detail = "A service that this request depends on does not answer as agreed.";
        Error::unavailable("personal_unavailable", detail).with_source(error)
    })
}

fn key(park: &ParkId, id: &PersonalId) -> Key {
    (PackedId::new(park.as_str()), PackedId::new(id.as_str()))
}

fn not_found() -> Error {
    Error::not_found("customer_not_found", "This park has no such customer.")
}

/// A value that `personal` refused, at the place in the body where it stood.
fn bad_value_at(pointer: &str, error: PersonalError) -> Error {
    match error {
        PersonalError::BadValue => Error::invalid(pointer, "is not acceptable"),
        error @ PersonalError::Unavailable(_) => error.into(),
    }
}

/// Merges a patch into the options (RFC 7396).
fn merged_options(
    current: Option<&OrderOptions>,
    patch: &serde_json::Value,
) -> Result<OrderOptions> {
    let mut merged = serde_json::to_value(current).map_err(Error::internal)?;
    json_patch::merge(&mut merged, patch);
    let options: OrderOptions = serde_json::from_value(merged)
        .map_err(|error| Error::invalid("/order_options", without_value(&error.to_string())))?;
    validate_at("/order_options", &options)?;
    Ok(options)
}

/// Any bytes: two lines, what there is and a patch of it. A patch that was accepted changes nothing
/// when it comes again.
#[cfg(any(test, feature = "fuzzing"))]
pub fn fuzz_patch(bytes: &[u8]) {
    let line = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (current, patch) = bytes.split_at(line);
    let current: Option<OrderOptions> = serde_json::from_slice(current).unwrap_or_default();
    let Ok(patch) = serde_json::from_slice(patch) else { return };
    let Ok(merged) = merged_options(current.as_ref(), &patch) else { return };
    let again = merged_options(Some(&merged), &patch);
    assert!(again.is_ok_and(|again| again == merged));
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
        let merged = merged_options(Some(&current), &patch).unwrap();
        assert_eq!(
            merged,
            options(json!({"classes": ["econom"], "requirements": {"b": 2, "c": 3}}))
        );
        let fault = merged_options(Some(&current), &json!({"clases": []})).unwrap_err();
        assert_eq!(fault.fields()[0].pointer, "/order_options");
    }

    proptest! {
        #[test]
        fn an_empty_patch_changes_nothing(current in any_options()) {
            let merged = merged_options(Some(&current), &json!({})).unwrap();
            prop_assert_eq!(merged, current);
        }

        #[test]
        fn patching_twice_is_patching_once(current in any_options(), other in any_options()) {
            let patch = serde_json::to_value(&other).unwrap();
            let once = merged_options(Some(&current), &patch).unwrap();
            let twice = merged_options(Some(&once), &patch).unwrap();
            prop_assert_eq!(once, twice);
        }
    }
}
