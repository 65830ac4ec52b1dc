//! Tombstones: late events do not recreate what was erased.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Bool, Timestamptz};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use jiff_diesel::Timestamp as SqlTimestamp;

use crate::platform::database::{Cleaning, Connection, PackedId, Prepare};
use crate::platform::error::{Error, Kind, Result};

/// The condition of an order that no erasure swallows: `$phone` and `$at` are the SQL of whose it is
/// and when it was placed. It is not pulled into a join: one look into an index for each row.
macro_rules! not_erased {
    ($phone:literal, $at:literal) => {
        concat!(
            "NOT EXISTS (SELECT FROM fleet_customers.tombstones t \
             WHERE t.person = fleet_customers.tombstone_of(",
            $phone,
            ") AND t.erased_at >= ",
            $at,
            " FOR KEY SHARE)"
        )
    };
}

pub(in super::super) use not_erased;

/// How long setting tombstones waits for upserts under way. New upserts wait behind it, so it is
/// shorter than their own patience (`database.lane_lock_timeout_ms`).
const GATE_PATIENCE: &str = "SET LOCAL lock_timeout = '100ms'";
/// Waits until no upsert is under way, and holds new ones up until this transaction ends.
const GATE: &str = "LOCK TABLE fleet_customers.tombstones IN EXCLUSIVE MODE";
/// Sets the moment of the erasure. A record may know an order dated later than that, from a clock that
/// goes before ours: it is not to come back either.
const SET: &str = "WITH e AS (UPDATE fleet_customers.erasures SET erased_at = clock_timestamp() \
       WHERE erasure_no = $1 AND erased_at IS NULL RETURNING erased_at) \
     INSERT INTO fleet_customers.tombstones AS t (person, erased_at) \
     SELECT fleet_customers.tombstone_of(s.personal_phone_id), GREATEST(e.erased_at, \
       (SELECT max(c.last_order_at) FROM fleet_customers.customers c \
        WHERE c.personal_phone_id = s.personal_phone_id)) \
     FROM fleet_customers.erasure_subjects s, e WHERE s.erasure_no = $1 \
     ON CONFLICT (person) DO UPDATE SET erased_at = GREATEST(t.erased_at, excluded.erased_at)";
const FIND: &str = "SELECT EXISTS (SELECT FROM fleet_customers.tombstones \
     WHERE person = fleet_customers.tombstone_of($1) AND erased_at >= $2) AS is_erased";
const CLEAN: &str = "DELETE FROM fleet_customers.tombstones WHERE person IN \
     (SELECT person FROM fleet_customers.tombstones \
      WHERE erased_at < clock_timestamp() - make_interval(days => $1) \
      ORDER BY erased_at LIMIT $2 FOR UPDATE SKIP LOCKED)";

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = Bool)]
    is_erased: bool,
}

/// The answer to an upsert that an erasure swallowed: nothing was stored.
pub(in super::super) fn erased() -> Error {
    let detail = "The passenger was erased after this order was placed; nothing was stored.";
    Error::new(Kind::Conflict, "customer_erased", detail)
}

/// Whether an order of that time would be swallowed: a look before something is stored elsewhere. The
/// upsert itself looks again.
pub(in super::super) async fn is_erased(
    mut connection: &Connection,
    phone: &PackedId,
    ordered_at: SqlTimestamp,
) -> Result<bool> {
    let find = diesel::sql_query(FIND).bind::<Binary, _>(phone).bind::<Timestamptz, _>(ordered_at);
    Ok(find.prepared().get_result::<Found>(&mut connection).await?.is_erased)
}

/// Sets the tombstones of an erasure, and its moment. Every upsert is over by then, and what it wrote
/// is seen from here on; or it begins when this transaction has ended, and sees the tombstones.
pub(super) async fn set(mut connection: &Connection, erasure_no: i64) -> Result<()> {
    for sql in [GATE_PATIENCE, GATE] {
        connection.batch_execute(sql).await?;
    }
    let set = diesel::sql_query(SET).bind::<BigInt, _>(erasure_no);
    set.prepared().execute(&mut connection).await?;
    Ok(())
}

/// Removes tombstones that no late event can meet any more.
pub(in super::super) fn cleaning(days: i32) -> Cleaning {
    Cleaning::by_statement("fleet_customers.tombstones", CLEAN, days)
}
