//! SQL of bindings.

use diesel::OptionalExtension;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel::sql_types::{Array, BigInt, Binary, Bool, Nullable};
use diesel_async::RunQueryDsl;

use super::service::bound_elsewhere;
use crate::domains::deptrans_driver_status_integration::feeds::numbers_taken;
use crate::platform::database::{Connection, PackedId, prepared_statement};
use crate::platform::error::Result;

prepared_statement! {
    struct IdOf<'a> returns Nullable<Binary>;
    "SELECT deptrans_id FROM deptrans.profiles WHERE driver_license_pd_id = ",
    license: &'a PackedId => Binary, "",
}

prepared_statement! {
    /// Whether this licence has this id, and whether another one has it.
    struct AskStanding<'a> returns (Bool, Bool);
    "SELECT EXISTS (SELECT FROM deptrans.profiles WHERE driver_license_pd_id = ",
    license: &'a PackedId => Binary, " AND deptrans_id = ",
    id: &'a PackedId => Binary,
    "), EXISTS (SELECT FROM deptrans.profiles WHERE driver_license_pd_id <> $1 AND deptrans_id = $2)",
}

prepared_statement! {
    /// Has the statuses of these drivers sent that rest although they are on line: without an id they
    /// could not be.
    struct SendAgain<'a> returns BigInt;
    "WITH resting AS (SELECT q.park_id, q.driver_id FROM unnest(",
    parks: &'a [PackedId] => Array<Binary>, ", ",
    drivers: &'a [PackedId] => Array<Binary>,
    ") AS p(park_id, driver_id) JOIN deptrans.status_queue q USING (park_id, driver_id) \
       WHERE q.due_at IS NULL AND q.status <> 'offline' \
       ORDER BY q.park_id, q.driver_id FOR UPDATE OF q), \
     due AS (UPDATE deptrans.status_queue q \
       SET due_at = now(), queued_at = now(), attempts = 0, lease = NULL \
       FROM resting r WHERE q.park_id = r.park_id AND q.driver_id = r.driver_id \
         AND q.due_at IS NULL RETURNING 1) \
     SELECT count(*) FROM due",
}

prepared_statement! {
    /// Whether a licence has another id than this.
    struct AskReplaced<'a> returns Bool;
    "SELECT EXISTS (SELECT FROM deptrans.profiles WHERE driver_license_pd_id = ",
    license: &'a PackedId => Binary, " AND deptrans_id <> ",
    id: &'a PackedId => Binary, ")",
}

prepared_statement! {
    /// Locks the statuses of a licence's profiles, those of today and those that were told under it. It
    /// reads the whole queue: ids are rarely taken.
    struct LockStatuses<'a> returns BigInt;
    "SELECT count(*) FROM (SELECT FROM deptrans.status_queue q \
       WHERE q.driver_license_pd_id = ",
    license: &'a PackedId => Binary,
    " OR (q.park_id, q.driver_id) IN (SELECT park_id, driver_id FROM unnest(",
    parks: &'a [PackedId] => Array<Binary>, ", ",
    drivers: &'a [PackedId] => Array<Binary>,
    ") AS p(park_id, driver_id)) ORDER BY q.park_id, q.driver_id FOR UPDATE OF q) AS locked",
}

prepared_statement! {
    /// Keeps the id of a licence that is about to lose it, with each driver whom the regulator has on
    /// line under it, or may have soon: who waits may be under way. Of several ids the first is kept;
    /// under a later one nothing was told yet.
    struct KeepFormer<'a> returns BigInt;
    "WITH kept AS (UPDATE deptrans.status_queue q \
       SET former_id = p.deptrans_id, former_at = clock_timestamp(), \
         driver_license_pd_id = p.driver_license_pd_id, \
         queued_at = COALESCE(q.queued_at, clock_timestamp()), \
         due_at = COALESCE(q.due_at, clock_timestamp()), \
         attempts = CASE WHEN q.due_at IS NULL THEN 0 ELSE q.attempts END \
       FROM deptrans.profiles p WHERE p.driver_license_pd_id = ",
    license: &'a PackedId => Binary,
    " AND p.deptrans_id IS NOT NULL AND q.former_id IS NULL \
         AND (q.reported_on_line OR q.due_at IS NOT NULL) \
         AND (q.driver_license_pd_id = $1 OR q.driver_license_pd_id IS NULL \
           AND (q.park_id, q.driver_id) IN (SELECT park_id, driver_id FROM unnest(",
    parks: &'a [PackedId] => Array<Binary>, ", ",
    drivers: &'a [PackedId] => Array<Binary>,
    ") AS d(park_id, driver_id))) RETURNING 1) SELECT count(*) FROM kept",
}

prepared_statement! {
    /// Binds an id to a licence, unless it is that licence's already.
    struct Bind<'a> returns BigInt;
    concat!("WITH ", numbers_taken!("bindings", "1"), ", bound AS (\
       INSERT INTO deptrans.profiles AS p (seq, updated_at, driver_license_pd_id, deptrans_id) \
       SELECT base + 1, at, "),
    license: &'a PackedId => Binary, ", ",
    id: &'a PackedId => Binary,
    " FROM feed ON CONFLICT (driver_license_pd_id) DO UPDATE \
         SET seq = excluded.seq, updated_at = excluded.updated_at, \
           deptrans_id = excluded.deptrans_id \
         WHERE p.deptrans_id IS DISTINCT FROM excluded.deptrans_id RETURNING 1) \
     SELECT count(*) FROM bound",
}

prepared_statement! {
    /// Whether a licence has an id, and whether the state of its shift is kept.
    struct Kept<'a> returns (Bool, Bool);
    "SELECT EXISTS (SELECT FROM deptrans.profiles WHERE driver_license_pd_id = ",
    license: &'a PackedId => Binary,
    " AND deptrans_id IS NOT NULL), EXISTS (SELECT FROM deptrans.session_statuses \
       WHERE driver_license_pd_id = $1 AND session_status IS NOT NULL)",
}

prepared_statement! {
    struct Unbind<'a> returns BigInt;
    concat!("WITH ", numbers_taken!("bindings", "1"), ", removed AS (\
       UPDATE deptrans.profiles SET seq = base + 1, updated_at = at, deptrans_id = NULL \
       FROM feed WHERE driver_license_pd_id = "),
    license: &'a PackedId => Binary,
    " AND deptrans_id IS NOT NULL RETURNING 1) SELECT count(*) FROM removed",
}

prepared_statement! {
    struct ForgetShift<'a> returns BigInt;
    concat!("WITH ", numbers_taken!("statuses", "1"), ", removed AS (\
       UPDATE deptrans.session_statuses \
       SET seq = base + 1, updated_at = at, session_status = NULL, ended_at = NULL \
       FROM feed WHERE driver_license_pd_id = "),
    license: &'a PackedId => Binary,
    " AND session_status IS NOT NULL RETURNING 1) SELECT count(*) FROM removed",
}

/// The id that is bound to a licence.
pub async fn id_of(mut connection: &Connection, license: &PackedId) -> Result<Option<PackedId>> {
    let found = IdOf { license }.get_result::<Option<PackedId>>(&mut connection);
    let id = found.await.optional()?;
    Ok(id.flatten())
}

/// How an id stands to a licence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nobody has it.
    Free,
    /// It is bound to this licence.
    OfThisLicense,
    /// It is bound to another.
    OfAnother,
}

/// How an id stands to a licence now.
pub async fn standing(
    mut connection: &Connection,
    license: &PackedId,
    id: &PackedId,
) -> Result<Standing> {
    Ok(match (AskStanding { license, id }).get_result(&mut connection).await? {
        (true, _) => Standing::OfThisLicense,
        (false, true) => Standing::OfAnother,
        (false, false) => Standing::Free,
    })
}

/// Has whoever is on line under the id of a licence reported off line under it: it is about to lose it.
async fn take_leave(
    connection: &mut Connection,
    license: &PackedId,
    (parks, drivers): (&[PackedId], &[PackedId]),
) -> Result<()> {
    // Two statements: the second sees what those have written for whom the first waited.
    let _: i64 = LockStatuses { license, parks, drivers }.get_result(connection).await?;
    let _: i64 = KeepFormer { license, parks, drivers }.get_result(connection).await?;
    Ok(())
}

/// Binds an id to a licence; false when it was bound to it already. What waits in the queue for an id
/// is sent: `parks` and `drivers` are the licence's profiles.
///
/// # Errors
/// `id_bound_to_another_license`, also when that happens at the same time.
pub async fn bind(
    connection: &mut Connection,
    license: &PackedId,
    id: &PackedId,
    parks: &[PackedId],
    drivers: &[PackedId],
) -> Result<bool> {
    if (AskReplaced { license, id }).get_result(connection).await? {
        take_leave(connection, license, (parks, drivers)).await?;
    }
    let _: i64 = SendAgain { parks, drivers }.get_result(connection).await?;
    // Last, for the feed's other writers wait from here on.
    match (Bind { license, id }).get_result::<i64>(connection).await {
        Ok(bound) => Ok(bound > 0),
        // The cause names the id: it is dropped.
        Err(DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, _)) => {
            Err(bound_elsewhere())
        }
        Err(error) => Err(error.into()),
    }
}

/// Removes what is bound to a licence, and the state of its shift; false when there was neither.
/// `parks` and `drivers` are the licence's profiles.
pub async fn unbind(
    connection: &mut Connection,
    license: &PackedId,
    parks: &[PackedId],
    drivers: &[PackedId],
) -> Result<bool> {
    let (has_id, has_state): (bool, bool) = Kept { license }.get_result(connection).await?;
    if has_id {
        take_leave(connection, license, (parks, drivers)).await?;
        let _: i64 = Unbind { license }.get_result(connection).await?;
    }
    if has_id || has_state {
        // A sender may have written the state a moment ago.
        let _: i64 = ForgetShift { license }.get_result(connection).await?;
    }
    Ok(has_id || has_state)
}
