//! SQL of checks: one statement for many drivers, and for many checks.

use diesel::sql_types::{Array, BigInt, Binary, Bool, Nullable, SmallInt, Timestamptz};
use diesel::{QueryResult, Queryable};
use diesel_async::RunQueryDsl;
use jiff_diesel::Timestamp as SqlTimestamp;

use crate::platform::database::{BatchedStatement, Connection, PackedId, prepared_statement};

/// Of whom what is asked.
pub struct Asked {
    /// `None`: nothing is known of it, so nothing is found.
    pub license: Option<PackedId>,
    /// Park and driver, where the region of the last status is wanted.
    pub profile: Option<(PackedId, PackedId)>,
}

/// What is known of a driver.
#[derive(Queryable)]
pub struct Found {
    /// Which of those asked, from 1.
    #[allow(dead_code, reason = "the statement sorts by it")]
    ordinal: i64,
    /// Whether an id is bound to the licence.
    pub has_id: bool,
    /// Whether the regulator last said that his shift is active; `None`: it said nothing.
    pub is_active: Option<bool>,
    /// When that ends.
    pub ended_at: Option<SqlTimestamp>,
    /// The region of the status that was looked at last.
    pub region: Option<i16>,
    /// The database's time.
    pub now: SqlTimestamp,
}

prepared_statement! {
    /// One row for each driver asked, in their order.
    struct FindDrivers<'a> returns
        (BigInt, Bool, Nullable<Bool>, Nullable<Timestamptz>, Nullable<SmallInt>, Timestamptz);
    "SELECT a.n, p.deptrans_id IS NOT NULL, s.session_status = 'active', s.ended_at, q.region, now() \
     FROM unnest(",
    licenses: Vec<Option<&'a PackedId>> => Array<Nullable<Binary>>, ", ",
    parks: Vec<Option<&'a PackedId>> => Array<Nullable<Binary>>, ", ",
    drivers: Vec<Option<&'a PackedId>> => Array<Nullable<Binary>>,
    ") WITH ORDINALITY AS a(license, park_id, driver_id, n) \
     LEFT JOIN deptrans.profiles p ON p.driver_license_pd_id = a.license \
     LEFT JOIN deptrans.session_statuses s ON s.driver_license_pd_id = a.license \
     LEFT JOIN deptrans.status_queue q ON q.park_id = a.park_id AND q.driver_id = a.driver_id \
     ORDER BY a.n",
}

/// Finds what is known of the drivers of a check; many checks share one statement.
pub struct CheckDrivers;

impl BatchedStatement for CheckDrivers {
    type Input = Vec<Asked>;
    type Output = Vec<Found>;
    type Key = ();

    const NAME: &'static str = "check_drivers";
    const LANE: &'static str = "read";
    const MAX: usize = 16;
    const REPEATABLE: bool = true;

    fn key(_: &Self::Input) -> Option<()> {
        None
    }

    async fn run(
        mut connection: &Connection,
        inputs: &[Self::Input],
    ) -> QueryResult<Vec<Self::Output>> {
        let asked = || inputs.iter().flatten();
        let profiles = || asked().map(|one| one.profile.as_ref());
        let statement = FindDrivers {
            licenses: asked().map(|one| one.license.as_ref()).collect(),
            parks: profiles().map(|profile| profile.map(|(park, _)| park)).collect(),
            drivers: profiles().map(|profile| profile.map(|(_, driver)| driver)).collect(),
        };
        let found: Vec<Found> = statement.load(&mut connection).await?;
        let mut found = found.into_iter();
        Ok(inputs.iter().map(|input| found.by_ref().take(input.len()).collect()).collect())
    }
}
