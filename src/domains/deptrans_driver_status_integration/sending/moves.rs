//! Profiles that have another licence than the one under which they were told on line: they owe the
//! regulator to go off line under the former id first. (`docs/decisions/deptrans-status-queue.md`)

use diesel::sql_types::{Array, Binary, Timestamptz};
use diesel_async::RunQueryDsl;
use jiff_diesel::Timestamp as SqlTimestamp;

use crate::platform::database::{Connection, PackedId, prepared_statement};
use crate::platform::error::Result;

prepared_statement! {
    /// Keeps the id of the licence that a profile left, as the removal of an id does (`KeepFormer` in
    /// `bindings/store.rs`): with whom the regulator has on line under it, or may have soon. Rows are
    /// locked in the order of their keys.
    struct KeepFormer<'a> returns (Binary, Binary, Timestamptz, Binary);
    "WITH moved AS (SELECT q.park_id, q.driver_id, p.deptrans_id FROM unnest(",
    parks: &'a [PackedId] => Array<Binary>, ", ",
    drivers: &'a [PackedId] => Array<Binary>, ", ",
    licenses: &'a [PackedId] => Array<Binary>,
    ") AS d(park_id, driver_id, license) JOIN deptrans.status_queue q USING (park_id, driver_id) \
       JOIN deptrans.profiles p ON p.driver_license_pd_id = q.driver_license_pd_id \
       WHERE q.driver_license_pd_id <> d.license AND p.deptrans_id IS NOT NULL \
         AND q.former_id IS NULL AND (q.reported_on_line OR q.due_at IS NOT NULL) \
       ORDER BY q.park_id, q.driver_id FOR UPDATE OF q) \
     UPDATE deptrans.status_queue q SET former_id = m.deptrans_id, former_at = clock_timestamp(), \
       queued_at = COALESCE(q.queued_at, clock_timestamp()), \
       due_at = COALESCE(q.due_at, clock_timestamp()), \
       attempts = CASE WHEN q.due_at IS NULL THEN 0 ELSE q.attempts END \
     FROM moved m WHERE q.park_id = m.park_id AND q.driver_id = m.driver_id \
     RETURNING q.park_id, q.driver_id, q.former_at, q.former_id",
}

/// Profiles and the licences that they have today.
#[derive(Default)]
pub(in super::super) struct Today {
    parks: Vec<PackedId>,
    drivers: Vec<PackedId>,
    licenses: Vec<PackedId>,
}

impl Today {
    /// A profile has this licence.
    pub fn add(&mut self, park: PackedId, driver: PackedId, license: PackedId) {
        self.parks.push(park);
        self.drivers.push(driver);
        self.licenses.push(license);
    }

    pub fn is_empty(&self) -> bool {
        self.parks.is_empty()
    }
}

/// What is owed of a profile that moved: park, driver, since when, under which id.
pub(in super::super) type Owed = (PackedId, PackedId, SqlTimestamp, PackedId);

/// Notes what those of the profiles owe that were told on line under another licence.
///
/// # Errors
/// The database fails.
pub(in super::super) async fn note(
    mut connection: &Connection,
    today: &Today,
) -> Result<Vec<Owed>> {
    let Today { parks, drivers, licenses } = today;
    Ok(KeepFormer { parks, drivers, licenses }.load(&mut connection).await?)
}
