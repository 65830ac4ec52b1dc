//! SQL of customers. Every finder takes the park; the two hottest statements are batched.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel::sql_types::{Array, BigInt, Binary, Bool, Integer, Jsonb, Nullable, Timestamptz};
use diesel_async::RunQueryDsl;
use jiff_diesel::{Timestamp as SqlTimestamp, ToDiesel};
use serde::{Deserialize, Serialize};

use super::model::{CustomerView, Item, Location, OrderOptions, Route};
use super::schema::{customers, parks};
use super::takeout::tombstones::{erased, not_erased};
use crate::platform::database::{
    BatchedStatement, Connection, Json, Moment, PackedId, prepared_statement,
};
use crate::platform::error::{Error, Result};
use crate::platform::ids::{ParkId, PersonalId};

/// Order options as they are stored: what is empty is left out, and so is the version of the
/// structure as long as it is the first, since rows are many and these are a good part of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct StoredOptions {
    #[serde(rename = "v", default = "first_version", skip_serializing_if = "is_first_version")]
    version: u8,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    classes: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    requirements: BTreeMap<String, serde_json::Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payment_type: Option<String>,
}

fn first_version() -> u8 {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn is_first_version(version: &u8) -> bool {
    *version == first_version()
}

impl From<OrderOptions> for StoredOptions {
    fn from(options: OrderOptions) -> Self {
        let OrderOptions { classes, requirements, comment, payment_type } = options;
        Self { version: first_version(), classes, requirements, comment, payment_type }
    }
}

impl From<StoredOptions> for OrderOptions {
    fn from(stored: StoredOptions) -> Self {
        let StoredOptions { classes, requirements, comment, payment_type, .. } = stored;
        Self { classes, requirements, comment, payment_type }
    }
}

/// A customer as the database has it.
#[derive(Debug, Clone, Queryable)]
pub(super) struct CustomerRow {
    /// Which of the statement's inputs this answers, from 1.
    ordinal: i64,
    park_id: PackedId,
    personal_phone_id: PackedId,
    pub personal_name_id: Option<PackedId>,
    sms_enabled: Option<bool>,
    order_options: Option<Json<StoredOptions>>,
    orders_count: i32,
    first_order_at: SqlTimestamp,
    last_order_at: SqlTimestamp,
    created_at: SqlTimestamp,
    updated_at: SqlTimestamp,
    pub version: i32,
    favourite_locations: Option<Json<Vec<Item<Location>>>>,
    recurring_routes: Option<Json<Vec<Item<Route>>>>,
}

type CustomerColumns = (
    BigInt,
    Binary,
    Binary,
    Nullable<Binary>,
    Nullable<Bool>,
    Nullable<Jsonb>,
    Integer,
    Timestamptz,
    Timestamptz,
    Timestamptz,
    Timestamptz,
    Integer,
    Nullable<Jsonb>,
    Nullable<Jsonb>,
);

impl CustomerRow {
    fn packed_key(&self) -> (PackedId, PackedId) {
        (self.park_id.clone(), self.personal_phone_id.clone())
    }

    pub fn park(&self) -> Result<ParkId> {
        ParkId::try_from(self.park_id.text().into_owned()).map_err(Error::internal)
    }

    pub fn phone_id(&self) -> Result<PersonalId> {
        PersonalId::try_from(self.personal_phone_id.text().into_owned()).map_err(Error::internal)
    }

    pub fn name_id(&self) -> Option<String> {
        self.personal_name_id.as_ref().map(|id| id.text().into_owned())
    }

    pub fn options(&self) -> Option<OrderOptions> {
        self.order_options.clone().map(|stored| stored.0.into())
    }

    pub fn sms_enabled(&self) -> bool {
        self.sms_enabled.unwrap_or(false)
    }

    /// About how many bytes it takes in an answer.
    fn weight(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let locations = self.favourite_locations.iter().flat_map(|items| &items.0).map(|item| {
            let place = &item.body;
            200 + place.label.len()
                + place.address.len()
                + text(&place.entrance)
                + text(&place.comment)
        });
        let routes = self.recurring_routes.iter().flat_map(|items| &items.0).map(|item| {
            let points = item.body.points.iter().map(|point| 100 + point.address.len());
            200 + item.body.label.len() + points.sum::<usize>()
        });
        1000 + locations.sum::<usize>() + routes.sum::<usize>()
    }

    pub fn position(&self) -> ListPosition {
        (Moment(self.last_order_at.to_jiff()), self.personal_phone_id.text().into_owned())
    }

    /// The customer without anything personal and without its park.
    pub fn view(self) -> Result<CustomerView> {
        Ok(CustomerView {
            park_id: None,
            personal_phone_id: self.phone_id()?,
            phone: None,
            name: None,
            sms_enabled: self.sms_enabled(),
            order_options: self.order_options.map(|stored| stored.0.into()),
            orders_count: self.orders_count,
            first_order_at: self.first_order_at.to_jiff(),
            last_order_at: self.last_order_at.to_jiff(),
            created_at: self.created_at.to_jiff(),
            updated_at: self.updated_at.to_jiff(),
            favourite_locations: self.favourite_locations.map(|items| items.0).unwrap_or_default(),
            recurring_routes: self.recurring_routes.map(|items| items.0).unwrap_or_default(),
            degraded: Vec::new(),
        })
    }
}

/// The columns of [`CustomerRow`] behind its ordinal, of a customer `c`; `$park` gives the park's id.
macro_rules! columns {
    ($park:literal) => {
        concat!(
            $park,
            ", c.personal_phone_id, c.personal_name_id, c.sms_enabled, c.order_options, \
             c.orders_count, c.first_order_at, c.last_order_at, c.created_at, c.updated_at, \
             c.version, \
             (SELECT jsonb_agg(i.body || jsonb_build_object('id', i.id) ORDER BY i.id) \
              FROM fleet_customers.favourite_locations i \
              WHERE i.personal_phone_id = c.personal_phone_id AND i.park_no = c.park_no), \
             (SELECT jsonb_agg(i.body || jsonb_build_object('id', i.id) ORDER BY i.id) \
              FROM fleet_customers.recurring_routes i \
              WHERE i.personal_phone_id = c.personal_phone_id AND i.park_no = c.park_no)"
        )
    };
}

/// The customers of the park that is the first parameter. Its number is looked up beforehand, so that
/// the index gives the days in order; the rows of one day are read together and sorted.
macro_rules! of_the_park {
    () => {
        concat!(
            "SELECT 0::bigint, ",
            columns!("$1::bytea"),
            " FROM fleet_customers.customers c WHERE c.park_no = \
             (SELECT p.park_no FROM fleet_customers.parks p WHERE p.park_id = "
        )
    };
}

macro_rules! newest_first {
    () => {
        " ORDER BY (c.last_order_at AT TIME ZONE 'UTC')::date DESC, c.last_order_at DESC, \
         c.personal_phone_id DESC LIMIT "
    };
}

prepared_statement! {
    /// Customers by key; an input without a customer has no row.
    struct ReadStatement<'a> returns CustomerColumns;
    concat!("SELECT k.ordinal, ", columns!("k.park_id"), " FROM UNNEST("),
    parks: Vec<&'a PackedId> => Array<Binary>, ", ",
    phones: Vec<&'a PackedId> => Array<Binary>,
    ") WITH ORDINALITY AS k(park_id, personal_phone_id, ordinal) \
     JOIN fleet_customers.parks p ON p.park_id = k.park_id \
     JOIN fleet_customers.customers c \
     ON c.personal_phone_id = k.personal_phone_id AND c.park_no = p.park_no",
}

prepared_statement! {
    /// Creates or updates customers after orders, all or none; one whom an erasure swallows has no row. The inputs' keys must be distinct; they are taken in one order, so that two batches
    /// never wait for each other crosswise.
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

prepared_statement! {
    /// The first page of a park's customers, newest activity first.
    struct FirstPage<'a> returns CustomerColumns;
    of_the_park!(),
    park: &'a PackedId => Binary, concat!(")", newest_first!()),
    limit: i64 => BigInt, "",
}

prepared_statement! {
    /// A further page: what comes after (`at`, `phone`). The day bounds the index scan.
    struct NextPage<'a> returns CustomerColumns;
    of_the_park!(),
    park: &'a PackedId => Binary,
    ") AND (c.last_order_at AT TIME ZONE 'UTC')::date <= (",
    day: SqlTimestamp => Timestamptz,
    " AT TIME ZONE 'UTC')::date AND (c.last_order_at, c.personal_phone_id) < (",
    at: SqlTimestamp => Timestamptz, ", ",
    phone: &'a PackedId => Binary, concat!(")", newest_first!()),
    limit: i64 => BigInt, "",
}

/// Reads one customer; many calls share one statement.
pub(super) struct ReadCustomer;

impl BatchedStatement for ReadCustomer {
    type Input = (PackedId, PackedId);
    type Output = Option<CustomerRow>;
    type Key = ();

    const NAME: &'static str = "read_customer";
    const LANE: &'static str = "read";
    const MAX: usize = 256;
    const REPEATABLE: bool = true;

    fn key(_: &Self::Input) -> Option<()> {
        None
    }

    async fn run(
        connection: &Connection,
        inputs: &[Self::Input],
    ) -> QueryResult<Vec<Self::Output>> {
        read(connection, inputs).await
    }
}

/// Reads customers by (park, phone id); one output for each input.
async fn read(
    mut connection: &Connection,
    keys: &[(PackedId, PackedId)],
) -> QueryResult<Vec<Option<CustomerRow>>> {
    let statement = ReadStatement {
        parks: keys.iter().map(|(park, _)| park).collect(),
        phones: keys.iter().map(|(_, phone)| phone).collect(),
    };
    let rows: Vec<CustomerRow> = statement.load(&mut connection).await?;
    let mut found: Vec<Option<CustomerRow>> = keys.iter().map(|_| None).collect();
    for row in rows {
        let place = usize::try_from(row.ordinal - 1).ok().and_then(|index| found.get_mut(index));
        if let Some(place) = place {
            *place = Some(row);
        }
    }
    Ok(found)
}

/// Reads up to 500 customers in one statement, in the order of `keys`; those missing are left out.
pub(super) async fn read_many(
    connection: &mut Connection,
    keys: &[(PackedId, PackedId)],
) -> Result<Vec<CustomerRow>> {
    Ok(read(connection, keys).await?.into_iter().flatten().collect())
}

/// One order's news of a passenger.
#[derive(Debug, Clone)]
pub(super) struct UpsertRow {
    pub park_id: PackedId,
    pub personal_phone_id: PackedId,
    pub personal_name_id: Option<PackedId>,
    pub sms_enabled: Option<bool>,
    pub order_options: Option<Json<StoredOptions>>,
    pub ordered_at: SqlTimestamp,
}

impl UpsertRow {
    fn key(&self) -> (PackedId, PackedId) {
        (self.park_id.clone(), self.personal_phone_id.clone())
    }
}

/// Creates or updates one customer; many calls share one statement and one commit. `None`: the order
/// was placed before the person was erased.
pub(super) struct UpsertCustomer;

impl BatchedStatement for UpsertCustomer {
    type Input = UpsertRow;
    type Output = Option<CustomerRow>;
    type Key = (PackedId, PackedId);

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
pub(super) const UNKNOWN_PARK: &str = "unknown_park";

/// Creates or updates one customer in the caller's transaction.
///
/// # Errors
/// `customer_erased` for an order from before an erasure; `unknown_park`, after which the transaction is lost: the caller is to [`remember_park`] and to
/// begin again. It is not done here, or all first orders of a park would wait for this commit.
pub(super) async fn upsert(connection: &mut Connection, row: &UpsertRow) -> Result<CustomerRow> {
    match upsert_rows(connection, std::slice::from_ref(row)).await {
        Ok(mut rows) => rows.pop().flatten().ok_or_else(erased),
        Err(error) if is_unknown_park(&error) => {
            Err(Error::unavailable(UNKNOWN_PARK, "The park is being set up.").with_source(error))
        }
        Err(error) => Err(error.into()),
    }
}

/// Gives the row's park a number.
pub(super) async fn remember_park(connection: &mut Connection, row: &UpsertRow) -> Result<()> {
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

/// Where a list ended: the last customer's latest order and phone id.
pub(super) type ListPosition = (Moment, String);

/// Rows that are read at once before it is known how large they are.
const FIRST_ROWS: i64 = 20;
/// A page ends early when its texts reach this: customers with many long items would otherwise make
/// a page of hundreds of megabytes.
const PAGE_BYTES: usize = 4 << 20;

/// A page of a park's customers, newest activity first: up to `limit`, and whether more follow.
pub(super) async fn list(
    connection: &mut Connection,
    park: &PackedId,
    mut after: Option<ListPosition>,
    limit: usize,
) -> Result<(Vec<CustomerRow>, bool)> {
    let mut page: Vec<CustomerRow> = Vec::new();
    let mut bytes = 0;
    let mut rows_at_once = FIRST_ROWS;
    loop {
        let left = i64::try_from(limit - page.len()).unwrap_or(i64::MAX);
        let ask = left.min(rows_at_once);
        // One more than wanted tells whether there are more.
        let mut rows = list_rows(connection, park, after, ask + 1).await?;
        let more = rows.len() as u64 > ask.unsigned_abs();
        rows.truncate(usize::try_from(ask).unwrap_or_default());
        bytes += rows.iter().map(CustomerRow::weight).sum::<usize>();
        page.append(&mut rows);
        if !more || page.len() >= limit || bytes >= PAGE_BYTES {
            return Ok((page, more));
        }
        after = page.last().map(CustomerRow::position);
        let usual = (bytes / page.len()).max(1);
        rows_at_once = i64::try_from((PAGE_BYTES - bytes) / usual).unwrap_or(FIRST_ROWS).max(1);
    }
}

async fn list_rows(
    connection: &mut Connection,
    park: &PackedId,
    after: Option<ListPosition>,
    limit: i64,
) -> Result<Vec<CustomerRow>> {
    let Some((at, phone)) = after else {
        return Ok(FirstPage { park, limit }.load(connection).await?);
    };
    let (at, phone) = (at.0.to_diesel(), PackedId::new(&phone));
    Ok(NextPage { park, day: at, at, phone: &phone, limit }.load(connection).await?)
}

/// The park's number, none for a park without customers.
#[diesel::dsl::auto_type(no_type_alias)]
fn numbers_of(park: &PackedId) -> _ {
    parks::table.filter(parks::park_id.eq(park)).select(parks::park_no)
}

/// What a dispatcher can change.
pub(super) struct Edited {
    pub personal_name_id: Option<PackedId>,
    pub sms_enabled: bool,
    pub order_options: Option<OrderOptions>,
}

/// Takes a customer for a change and returns its version: nobody else changes it, or what hangs on
/// it, until the transaction ends. Every change begins here or with [`touch`], so that no two wait
/// for each other crosswise.
pub(super) async fn lock(
    connection: &mut Connection,
    key: &(PackedId, PackedId),
) -> Result<Option<i32>> {
    let (park, phone) = key;
    let version = customers::table
        .filter(customers::personal_phone_id.eq(phone))
        .filter(customers::park_no.eq_any(numbers_of(park)))
        .select(customers::version)
        .for_update()
        .first(connection)
        .await
        .optional()?;
    Ok(version)
}

/// Takes a customer for a change and reads it.
pub(super) async fn read_for_update(
    connection: &mut Connection,
    key: &(PackedId, PackedId),
) -> Result<Option<CustomerRow>> {
    match lock(connection, key).await? {
        None => Ok(None),
        Some(_) => Ok(read_many(connection, std::slice::from_ref(key)).await?.pop()),
    }
}

/// Writes a dispatcher's edit and returns the customer as it is then.
pub(super) async fn edit(
    connection: &mut Connection,
    key: &(PackedId, PackedId),
    edited: Edited,
) -> Result<Option<CustomerRow>> {
    let (park, phone) = key;
    diesel::update(customers::table)
        .filter(customers::personal_phone_id.eq(phone))
        .filter(customers::park_no.eq_any(numbers_of(park)))
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
pub(super) async fn touch(connection: &mut Connection, key: &(PackedId, PackedId)) -> Result<bool> {
    let (park, phone) = key;
    let touched = diesel::update(customers::table)
        .filter(customers::personal_phone_id.eq(phone))
        .filter(customers::park_no.eq_any(numbers_of(park)))
        .set((
            customers::version.eq(customers::version + 1),
            customers::updated_at.eq(diesel::dsl::now),
        ))
        .execute(connection)
        .await?;
    Ok(touched == 1)
}

/// Deletes a customer and all that hangs on it; false when there was none.
pub(super) async fn delete(
    connection: &mut Connection,
    key: &(PackedId, PackedId),
) -> Result<bool> {
    let (park, phone) = key;
    let deleted = diesel::delete(customers::table)
        .filter(customers::personal_phone_id.eq(phone))
        .filter(customers::park_no.eq_any(numbers_of(park)))
        .execute(connection)
        .await?;
    Ok(deleted == 1)
}
