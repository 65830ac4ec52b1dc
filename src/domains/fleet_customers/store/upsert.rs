//! What orders tell of customers.

use std::collections::{BTreeSet, HashMap};

use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel::sql_types::{Array, Binary, Bool, Jsonb, Nullable, Timestamptz};
use diesel_async::RunQueryDsl;
use jiff_diesel::Timestamp as SqlTimestamp;

use super::super::schema::parks;
use super::super::takeout::tombstones::{erased, not_erased};
use super::Key;
use super::row::{CustomerColumns, CustomerRow, StoredOptions, columns};
use crate::platform::database::{BatchedStatement, Connection, Json, PackedId, prepared_statement};
use crate::platform::error::{Error, Result};

prepared_statement! {
    /// Creates or updates customers after orders, all or none; one whom an erasure swallows has no
    /// row. The inputs' keys must be distinct; they are taken in one order, so that two batches never
    /// wait for each other crosswise.
    struct UpsertStatement<'a> returns CustomerColumns;
    "INSERT INTO fleet_customers.customers AS c (park_no, personal_phone_id, personal_name_id, \
     sms_enabled, order_options, orders_count, first_order_at, last_order_at) \
     SELECT p.park_no, phone, name, sms, options, 1, at, at FROM UNNEST(",
    parks: Vec<&'a PackedId> => Array<Binary>, ", ",
    phones: Vec<&'a PackedId> => Array<Binary>, ", ",
    names: Vec<Option<&'a PackedId>> => Array<Nullable<Binary>>, ", ",
    sms_enabled: Vec<Option<bool>> => Array<Nullable<Bool>>, ", ",
    order_options: Vec<Option<&'a Json<StoredOptions>>> => Array<Nullable<Jsonb>>, ", ",
    ordered_at: Vec<SqlTimestamp> => Array<Timestamptz>,
    concat!(
        ") AS i(park_id, phone, name, sms, options, at) \
         LEFT JOIN fleet_customers.parks p ON p.park_id = i.park_id WHERE ",
        not_erased!("i.phone", "i.at"),
        " ORDER BY phone, p.park_no \
         ON CONFLICT (personal_phone_id, park_no) DO UPDATE SET \
         personal_name_id = CASE WHEN excluded.last_order_at >= c.last_order_at \
           THEN COALESCE(excluded.personal_name_id, c.personal_name_id) ELSE c.personal_name_id END, \
         sms_enabled = CASE WHEN excluded.last_order_at >= c.last_order_at \
           THEN COALESCE(excluded.sms_enabled, c.sms_enabled) ELSE c.sms_enabled END, \
         order_options = CASE WHEN excluded.last_order_at >= c.last_order_at \
           THEN COALESCE(excluded.order_options, c.order_options) ELSE c.order_options END, \
         orders_count = c.orders_count + 1, \
         first_order_at = LEAST(c.first_order_at, excluded.first_order_at), \
         last_order_at = GREATEST(c.last_order_at, excluded.last_order_at), \
         updated_at = now(), version = c.version + 1 \
         RETURNING 0::bigint, ",
        columns!("(SELECT p.park_id FROM fleet_customers.parks p WHERE p.park_no = c.park_no)")
    ),
}

/// One order's news of a passenger.
#[derive(Debug, Clone)]
pub struct UpsertRow {
    pub park_id: PackedId,
    pub personal_phone_id: PackedId,
    pub personal_name_id: Option<PackedId>,
    pub sms_enabled: Option<bool>,
    pub order_options: Option<Json<StoredOptions>>,
    pub ordered_at: SqlTimestamp,
}

impl UpsertRow {
    fn key(&self) -> Key {
        (self.park_id.clone(), self.personal_phone_id.clone())
    }
}

/// Creates or updates one customer; many calls share one statement and one commit. `None`: the order
/// was placed before the person was erased.
pub struct UpsertCustomer;

impl BatchedStatement for UpsertCustomer {
    type Input = UpsertRow;
    type Output = Option<CustomerRow>;
    type Key = Key;

    const NAME: &'static str = "upsert_customer";
    const LANE: &'static str = "write";
    const MAX: usize = 256;
    /// It counts orders.
    const REPEATABLE: bool = false;

    fn key(input: &Self::Input) -> Option<Self::Key> {
        Some(input.key())
    }

    async fn run(connection: &Connection, inputs: &[UpsertRow]) -> QueryResult<Vec<Self::Output>> {
        match upsert_rows(connection, inputs).await {
            Err(error) if is_unknown_park(&error) => {
                remember_parks(connection, inputs).await?;
                upsert_rows(connection, inputs).await
            }
            outcome => outcome,
        }
    }
}

/// The code of an upsert for a park that has no number yet.
pub const UNKNOWN_PARK: &str = "unknown_park";

/// Creates or updates one customer in the caller's transaction.
///
/// # Errors
/// `customer_erased` for an order from before an erasure; `unknown_park`, after which the transaction
/// is lost: the caller is to [`remember_park`] and to begin again. It is not done here, or all first
/// orders of a park would wait for this commit.
pub async fn upsert(connection: &mut Connection, row: &UpsertRow) -> Result<CustomerRow> {
    match upsert_rows(connection, std::slice::from_ref(row)).await {
        Ok(mut rows) => rows.pop().flatten().ok_or_else(erased),
        Err(error) if is_unknown_park(&error) => {
            Err(Error::unavailable(UNKNOWN_PARK, "The park is being set up.").with_source(error))
        }
        Err(error) => Err(error.into()),
    }
}

/// Gives the row's park a number.
pub async fn remember_park(connection: &mut Connection, row: &UpsertRow) -> Result<()> {
    Ok(remember_parks(connection, std::slice::from_ref(row)).await?)
}

/// All or nothing; one output for each input, in their order.
async fn upsert_rows(
    mut connection: &Connection,
    inputs: &[UpsertRow],
) -> QueryResult<Vec<Option<CustomerRow>>> {
    let statement = UpsertStatement {
        parks: inputs.iter().map(|row| &row.park_id).collect(),
        phones: inputs.iter().map(|row| &row.personal_phone_id).collect(),
        names: inputs.iter().map(|row| row.personal_name_id.as_ref()).collect(),
        sms_enabled: inputs.iter().map(|row| row.sms_enabled).collect(),
        order_options: inputs.iter().map(|row| row.order_options.as_ref()).collect(),
        ordered_at: inputs.iter().map(|row| row.ordered_at).collect(),
    };
    Ok(in_order_of(inputs, statement.load(&mut connection).await?))
}

/// The statement looks parks up by an outer join: one that is missing is a null where none may be.
fn is_unknown_park(error: &DieselError) -> bool {
    matches!(error, DieselError::DatabaseError(DatabaseErrorKind::NotNullViolation, info)
        if info.column_name() == Some("park_no"))
}

/// Gives every park a number that has none. Rare: once in a park's life.
async fn remember_parks(mut connection: &Connection, inputs: &[UpsertRow]) -> QueryResult<()> {
    let ids: BTreeSet<&PackedId> = inputs.iter().map(|row| &row.park_id).collect();
    let rows: Vec<_> = ids.into_iter().map(|id| parks::park_id.eq(id)).collect();
    let insert = diesel::insert_into(parks::table).values(rows).on_conflict_do_nothing();
    insert.execute(&mut connection).await?;
    Ok(())
}

/// RETURNING promises no order: puts the rows into that of the inputs.
fn in_order_of(inputs: &[UpsertRow], mut rows: Vec<CustomerRow>) -> Vec<Option<CustomerRow>> {
    if let [_] = inputs {
        return vec![rows.pop()];
    }
    let mut by_key: HashMap<_, _> = rows.into_iter().map(|row| (row.packed_key(), row)).collect();
    inputs.iter().map(|input| by_key.remove(&input.key())).collect()
}
