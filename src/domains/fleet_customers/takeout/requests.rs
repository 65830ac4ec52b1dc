//! SQL of the audit, and of what is kept of persons.

use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Binary, Bool, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use jiff_diesel::Timestamp as SqlTimestamp;

use super::model::ErasureRequest;
use crate::domains::fleet_customers::NAME;
use crate::platform::database::{Connection, PackedId, Prepare};
use crate::platform::error::Result;

const KEPT: &str = "SELECT \
     EXISTS (SELECT FROM fleet_customers.erasure_subjects WHERE personal_phone_id = ANY($1)) AS in_progress, \
     (SELECT count(*) FROM fleet_customers.customers WHERE personal_phone_id = ANY($1)) AS customers, \
     (SELECT count(*) FROM fleet_customers.favourite_locations WHERE personal_phone_id = ANY($1)) \
       AS favourite_locations, \
     (SELECT count(*) FROM fleet_customers.recurring_routes WHERE personal_phone_id = ANY($1)) \
       AS recurring_routes, \
     (SELECT count(*) FROM fleet_platform.idempotency_keys WHERE subject = ANY($1) AND domain = $2) \
       AS idempotency_keys";

/// Whoever asks for the same at the same time waits for the other's commit.
const INSERT: &str = "INSERT INTO fleet_customers.erasures (request_id, caller, request) \
     VALUES ($1, $2, $3) ON CONFLICT (request_id) DO NOTHING RETURNING erasure_no";
const INSERT_SUBJECTS: &str = "INSERT INTO fleet_customers.erasure_subjects (erasure_no, personal_phone_id) \
     SELECT $1, UNNEST($2)";
const FIND: &str = "SELECT erasure_no, requested_at, completed_at, customers, favourite_locations, \
     recurring_routes, idempotency_keys, names, caller, request \
     FROM fleet_customers.erasures WHERE request_id = $1";

/// How much is kept of some persons.
#[derive(QueryableByName)]
pub(super) struct Kept {
    /// Whether an erasure of one of them is not completed.
    #[diesel(sql_type = Bool)]
    pub in_progress: bool,
    #[diesel(sql_type = BigInt)]
    pub customers: i64,
    #[diesel(sql_type = BigInt)]
    pub favourite_locations: i64,
    #[diesel(sql_type = BigInt)]
    pub recurring_routes: i64,
    #[diesel(sql_type = BigInt)]
    pub idempotency_keys: i64,
}

/// An erasure as it is kept.
#[derive(QueryableByName)]
pub(super) struct Audit {
    #[diesel(sql_type = BigInt)]
    pub erasure_no: i64,
    #[diesel(sql_type = Timestamptz)]
    pub requested_at: SqlTimestamp,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub completed_at: Option<SqlTimestamp>,
    #[diesel(sql_type = BigInt)]
    pub customers: i64,
    #[diesel(sql_type = BigInt)]
    pub favourite_locations: i64,
    #[diesel(sql_type = BigInt)]
    pub recurring_routes: i64,
    #[diesel(sql_type = BigInt)]
    pub idempotency_keys: i64,
    #[diesel(sql_type = BigInt)]
    pub names: i64,
    #[diesel(sql_type = Text)]
    pub caller: String,
    #[diesel(sql_type = Binary)]
    pub request: Vec<u8>,
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    erasure_no: i64,
}

/// What is kept of these persons, in one snapshot.
pub(super) async fn kept(mut connection: &Connection, persons: &[PackedId]) -> Result<Kept> {
    let query = diesel::sql_query(KEPT).bind::<Array<Binary>, _>(persons).bind::<Text, _>(NAME);
    Ok(query.prepared().get_result(&mut connection).await?)
}

/// Stores a request and whom it is about; `None` when there is one of its id.
pub(super) async fn insert(
    mut connection: &Connection,
    request: &ErasureRequest,
    digest: &[u8],
    caller: &str,
) -> Result<Option<i64>> {
    let insert = diesel::sql_query(INSERT)
        .bind::<Text, _>(request.request_id.as_str())
        .bind::<Text, _>(caller)
        .bind::<Binary, _>(digest);
    let made: Option<Number> = insert.prepared().get_result(&mut connection).await.optional()?;
    let Some(Number { erasure_no }) = made else { return Ok(None) };
    let persons: Vec<PackedId> =
        request.persons().into_iter().map(|id| PackedId::new(id.as_str())).collect();
    diesel::sql_query(INSERT_SUBJECTS)
        .bind::<BigInt, _>(erasure_no)
        .bind::<Array<Binary>, _>(persons)
        .prepared()
        .execute(&mut connection)
        .await?;
    Ok(Some(erasure_no))
}

/// The erasure of that id.
pub(super) async fn find(mut connection: &Connection, request_id: &str) -> Result<Option<Audit>> {
    let find = diesel::sql_query(FIND).bind::<Text, _>(request_id);
    Ok(find.prepared().get_result(&mut connection).await.optional()?)
}
