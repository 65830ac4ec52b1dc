//! SQL of the erasure: bounded batches, each counted in the audit's row by the transaction that did it.

use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Binary, Bool, Integer, Nullable};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use futures_util::try_join;

use crate::domains::fleet_customers::NAME;
use crate::platform::database::{Connection, PackedId, Prepare, idempotency};
use crate::platform::error::Result;

/// Customers in one transaction: each may have a hundred items.
pub(super) const CUSTOMERS: i64 = 500;
/// Remembered answers in one transaction.
pub(super) const ANSWERS: i64 = 1_000;
/// Names in one call of `personal`.
pub(super) const NAMES: i64 = 1_000;

/// Looking for other holders of a name reads all customers once: a second for five million.
const READ_ALL: &str = "SET LOCAL statement_timeout = '60s'";

const PROGRESS: &str = "SELECT erased_at IS NOT NULL AS is_set, \
     rows_erased_at IS NOT NULL AS rows_erased, completed_at IS NOT NULL AS is_completed \
     FROM fleet_customers.erasures WHERE erasure_no = $1";
/// Records that were there at the moment of the erasure, or tell of an order before it; in the order in
/// which upserts lock. What an order made since then is another record. Whoever changes something below
/// a customer has its row locked, so from here on nobody does.
const LOCK_CUSTOMERS: &str = "SELECT c.personal_phone_id, c.park_no, c.personal_name_id \
     FROM fleet_customers.erasures e JOIN fleet_customers.erasure_subjects s USING (erasure_no) \
     JOIN fleet_customers.customers c ON c.personal_phone_id = s.personal_phone_id \
     WHERE e.erasure_no = $1 AND (c.created_at <= e.erased_at OR c.first_order_at <= e.erased_at) \
     ORDER BY c.personal_phone_id, c.park_no LIMIT $2 FOR UPDATE OF c";
const KEEP_NAMES: &str = "INSERT INTO fleet_customers.erasure_names (erasure_no, personal_name_id) \
     SELECT DISTINCT $1, name FROM UNNEST($2) AS name WHERE name IS NOT NULL ON CONFLICT DO NOTHING";
/// Deletes what a table has of customers.
macro_rules! delete_from {
    ($table:literal) => {
        concat!(
            "DELETE FROM fleet_customers.",
            $table,
            " d USING UNNEST($1, $2) AS k(personal_phone_id, park_no) \
             WHERE d.personal_phone_id = k.personal_phone_id AND d.park_no = k.park_no"
        )
    };
}

/// Items are not left to the foreign key, which does not say how many there were.
const DELETE_LOCATIONS: &str = delete_from!("favourite_locations");
const DELETE_ROUTES: &str = delete_from!("recurring_routes");
const DELETE_CUSTOMERS: &str = delete_from!("customers");
const COUNT_ROWS: &str = "UPDATE fleet_customers.erasures SET customers = customers + $2, \
     favourite_locations = favourite_locations + $3, recurring_routes = recurring_routes + $4 \
     WHERE erasure_no = $1";
const SUBJECTS: &str =
    "SELECT personal_phone_id AS id FROM fleet_customers.erasure_subjects WHERE erasure_no = $1";
const COUNT_ANSWERS: &str = "UPDATE fleet_customers.erasures SET idempotency_keys = idempotency_keys + $2, \
     rows_erased_at = CASE WHEN $3 THEN clock_timestamp() END WHERE erasure_no = $1";
/// A value has one id in `personal`, whoever stored it: a name that other customers have stays.
const DROP_SHARED_NAMES: &str = "DELETE FROM fleet_customers.erasure_names n WHERE n.erasure_no = $1 \
     AND EXISTS (SELECT FROM fleet_customers.customers c WHERE c.personal_name_id = n.personal_name_id)";
const READ_NAMES: &str = "SELECT personal_name_id AS id FROM fleet_customers.erasure_names \
     WHERE erasure_no = $1 ORDER BY personal_name_id LIMIT $2";
const DROP_NAMES: &str = "WITH gone AS (DELETE FROM fleet_customers.erasure_names \
       WHERE erasure_no = $1 AND personal_name_id = ANY($2) RETURNING 1) \
     UPDATE fleet_customers.erasures SET names = names + (SELECT count(*) FROM gone) WHERE erasure_no = $1";
const FORGET_SUBJECTS: &str = "DELETE FROM fleet_customers.erasure_subjects WHERE erasure_no = $1";
const COMPLETE: &str =
    "UPDATE fleet_customers.erasures SET completed_at = clock_timestamp() WHERE erasure_no = $1";

/// How far an erasure is.
#[derive(Debug, Clone, Copy, QueryableByName)]
pub(super) struct Progress {
    /// Tombstones are set.
    #[diesel(sql_type = Bool)]
    pub is_set: bool,
    /// Our own rows are gone.
    #[diesel(sql_type = Bool)]
    pub rows_erased: bool,
    #[diesel(sql_type = Bool)]
    pub is_completed: bool,
}

#[derive(QueryableByName)]
struct Locked {
    #[diesel(sql_type = Binary)]
    personal_phone_id: PackedId,
    #[diesel(sql_type = Integer)]
    park_no: i32,
    #[diesel(sql_type = Nullable<Binary>)]
    personal_name_id: Option<PackedId>,
}

#[derive(QueryableByName)]
struct Id {
    #[diesel(sql_type = Binary)]
    id: PackedId,
}

/// How far it is; `None` for one that nobody asked for.
pub(super) async fn progress(mut connection: &Connection, no: i64) -> Result<Option<Progress>> {
    let query = diesel::sql_query(PROGRESS).bind::<BigInt, _>(no);
    Ok(query.prepared().get_result(&mut connection).await.optional()?)
}

/// Erases a batch of customers with all that hangs on them, and keeps the names' ids for `personal`.
/// Returns how many customers there were; fewer than [`CUSTOMERS`]: no more are left.
pub(super) async fn erase_customers(mut connection: &Connection, no: i64) -> Result<i64> {
    let lock = diesel::sql_query(LOCK_CUSTOMERS).bind::<BigInt, _>(no).bind::<BigInt, _>(CUSTOMERS);
    let locked: Vec<Locked> = lock.prepared().load(&mut connection).await?;
    if locked.is_empty() {
        return Ok(0);
    }
    // Sent together; PostgreSQL does it in this order.
    let ((), locations, routes, customers) = try_join!(
        keep_names(connection, no, &locked),
        delete(connection, DELETE_LOCATIONS, &locked),
        delete(connection, DELETE_ROUTES, &locked),
        delete(connection, DELETE_CUSTOMERS, &locked),
    )?;
    diesel::sql_query(COUNT_ROWS)
        .bind::<BigInt, _>(no)
        .bind::<BigInt, _>(customers)
        .bind::<BigInt, _>(locations)
        .bind::<BigInt, _>(routes)
        .prepared()
        .execute(&mut connection)
        .await?;
    Ok(customers)
}

async fn keep_names(mut connection: &Connection, no: i64, locked: &[Locked]) -> Result<()> {
    let names: Vec<_> = locked.iter().map(|row| row.personal_name_id.as_ref()).collect();
    diesel::sql_query(KEEP_NAMES)
        .bind::<BigInt, _>(no)
        .bind::<Array<Nullable<Binary>>, _>(names)
        .prepared()
        .execute(&mut connection)
        .await?;
    Ok(())
}

/// Deletes what one table has of these customers.
async fn delete(mut connection: &Connection, sql: &'static str, locked: &[Locked]) -> Result<i64> {
    let phones: Vec<_> = locked.iter().map(|row| &row.personal_phone_id).collect();
    let parks: Vec<_> = locked.iter().map(|row| row.park_no).collect();
    let delete =
        diesel::sql_query(sql).bind::<Array<Binary>, _>(phones).bind::<Array<Integer>, _>(parks);
    Ok(i64::try_from(delete.prepared().execute(&mut connection).await?).unwrap_or(i64::MAX))
}

/// Forgets a batch of the answers that are remembered about the persons, and says with the last that our
/// rows are gone. Returns whether it was the last.
pub(super) async fn forget_answers(mut connection: &Connection, no: i64) -> Result<bool> {
    let read = diesel::sql_query(SUBJECTS).bind::<BigInt, _>(no);
    let subjects: Vec<Id> = read.prepared().load(&mut connection).await?;
    let subjects: Vec<PackedId> = subjects.into_iter().map(|row| row.id).collect();
    let gone = idempotency::forget_everywhere(connection, NAME, &subjects, ANSWERS).await?;
    let is_last = gone < ANSWERS;
    diesel::sql_query(COUNT_ANSWERS)
        .bind::<BigInt, _>(no)
        .bind::<BigInt, _>(gone)
        .bind::<Bool, _>(is_last)
        .prepared()
        .execute(&mut connection)
        .await?;
    Ok(is_last)
}

/// Lets go of names that other customers have, too.
pub(super) async fn drop_shared_names(mut connection: &Connection, no: i64) -> Result<()> {
    connection.batch_execute(READ_ALL).await?;
    let drop = diesel::sql_query(DROP_SHARED_NAMES).bind::<BigInt, _>(no);
    drop.prepared().execute(&mut connection).await?;
    Ok(())
}

/// A batch of the names that `personal` is to forget.
pub(super) async fn names(mut connection: &Connection, no: i64) -> Result<Vec<PackedId>> {
    let query = diesel::sql_query(READ_NAMES).bind::<BigInt, _>(no).bind::<BigInt, _>(NAMES);
    let rows: Vec<Id> = query.prepared().load(&mut connection).await?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

/// Notes that `personal` has forgotten these.
pub(super) async fn drop_names(
    mut connection: &Connection,
    no: i64,
    names: &[PackedId],
) -> Result<()> {
    let drop = diesel::sql_query(DROP_NAMES).bind::<BigInt, _>(no).bind::<Array<Binary>, _>(names);
    drop.prepared().execute(&mut connection).await?;
    Ok(())
}

/// Forgets whom it was about and closes the audit's row.
pub(super) async fn complete(mut connection: &Connection, no: i64) -> Result<()> {
    for sql in [FORGET_SUBJECTS, COMPLETE] {
        let query = diesel::sql_query(sql).bind::<BigInt, _>(no);
        query.prepared().execute(&mut connection).await?;
    }
    Ok(())
}
