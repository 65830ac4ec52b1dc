//! The states of shifts, as the regulator's answers give them.
//!
//! Of two answers about one licence that of the later status counts. A state that differs from the one
//! before gets a number of the feed, and the one before goes to the history; a state that does not only
//! shows by its time that it still holds.

use std::collections::HashMap;

use diesel::sql_types::{Array, BigInt, Binary, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use jiff::Timestamp;
use jiff_diesel::{Timestamp as SqlTimestamp, ToDiesel};

use super::super::feeds::{Feed, take_numbers};
use crate::platform::database::{Connection, PackedId, prepared_statement};
use crate::platform::error::Result;
use crate::upstreams::krt::{Shift, ShiftStatus};

/// A shift, as the regulator answered to a status.
#[derive(Debug, Clone)]
pub(super) struct Answered<'a> {
    pub license: &'a PackedId,
    pub shift: Shift,
    /// Of the status.
    pub occurred_at: Timestamp,
}

prepared_statement! {
    /// How many of the states differ from what is stored.
    struct CountNews<'a> returns BigInt;
    "SELECT count(*) FROM UNNEST(",
    licenses: Vec<&'a PackedId> => Array<Binary>, ", ",
    statuses: Vec<&'a str> => Array<Text>, ", ",
    ended_at: Vec<Option<SqlTimestamp>> => Array<Nullable<Timestamptz>>, ", ",
    occurred_at: Vec<SqlTimestamp> => Array<Timestamptz>,
    ") AS n(license, status, ended_at, occurred_at) \
     LEFT JOIN deptrans.session_statuses s ON s.driver_license_pd_id = n.license \
     WHERE s.occurred_at IS NULL OR (s.occurred_at <= n.occurred_at AND \
       (s.session_status::text, s.ended_at) IS DISTINCT FROM (n.status, n.ended_at))",
}

prepared_statement! {
    /// Shows that the states still hold; those that differ by now are passed over. Takes no numbers.
    struct Confirm<'a> returns BigInt;
    "WITH confirmed AS (UPDATE deptrans.session_statuses s SET occurred_at = n.occurred_at FROM UNNEST(",
    licenses: Vec<&'a PackedId> => Array<Binary>, ", ",
    statuses: Vec<&'a str> => Array<Text>, ", ",
    ended_at: Vec<Option<SqlTimestamp>> => Array<Nullable<Timestamptz>>, ", ",
    occurred_at: Vec<SqlTimestamp> => Array<Timestamptz>,
    ") AS n(license, status, ended_at, occurred_at) \
     WHERE s.driver_license_pd_id = n.license AND s.occurred_at < n.occurred_at \
       AND (s.session_status::text, s.ended_at) IS NOT DISTINCT FROM (n.status, n.ended_at) \
     RETURNING 1) SELECT count(*) FROM confirmed",
}

prepared_statement! {
    /// Writes states under numbers that were taken: no other writer of numbers is at work, and what is
    /// read here is what is stored. A licence whose binding was removed meanwhile has no state.
    struct Write<'a> returns BigInt;
    "WITH todo AS MATERIALIZED (\
       SELECT n.license, n.status::deptrans.session_status AS status, n.ended_at, n.occurred_at, \
         s.session_status AS was, s.ended_at AS was_ended_at, s.seq AS was_seq, \
         s.updated_at AS was_updated_at, s.occurred_at IS NULL OR (s.session_status, s.ended_at) \
           IS DISTINCT FROM (n.status::deptrans.session_status, n.ended_at) AS is_news FROM UNNEST(",
    licenses: Vec<&'a PackedId> => Array<Binary>, ", ",
    statuses: Vec<&'a str> => Array<Text>, ", ",
    ended_at: Vec<Option<SqlTimestamp>> => Array<Nullable<Timestamptz>>, ", ",
    occurred_at: Vec<SqlTimestamp> => Array<Timestamptz>,
    ") AS n(license, status, ended_at, occurred_at) \
       JOIN deptrans.profiles p ON p.driver_license_pd_id = n.license AND p.deptrans_id IS NOT NULL \
       LEFT JOIN deptrans.session_statuses s ON s.driver_license_pd_id = n.license \
       WHERE s.occurred_at IS NULL OR s.occurred_at <= n.occurred_at), \
     kept AS (INSERT INTO deptrans.session_status_history \
         (recorded_at, ended_at, driver_license_pd_id, session_status) \
       SELECT ",
    at: SqlTimestamp => Timestamptz,
    ", was_ended_at, license, was FROM todo WHERE is_news AND was IS NOT NULL), \
     written AS (INSERT INTO deptrans.session_statuses AS s \
         (seq, updated_at, ended_at, occurred_at, driver_license_pd_id, session_status) \
       SELECT CASE WHEN is_news THEN ",
    base: i64 => BigInt,
    " + row_number() OVER (ORDER BY license) ELSE was_seq END, \
         CASE WHEN is_news THEN $5 ELSE was_updated_at END, ended_at, occurred_at, license, status \
       FROM todo ORDER BY license \
       ON CONFLICT (driver_license_pd_id) DO UPDATE SET seq = excluded.seq, \
         updated_at = excluded.updated_at, ended_at = excluded.ended_at, \
         occurred_at = GREATEST(s.occurred_at, excluded.occurred_at), \
         session_status = excluded.session_status \
       RETURNING 1) \
     SELECT count(*) FROM written",
}

/// Writes the states, in the caller's transaction, as its last statements.
pub(super) async fn write(connection: &mut Connection, answers: &[Answered<'_>]) -> Result<()> {
    let newest = newest(answers);
    if newest.is_empty() {
        return Ok(());
    }
    let licenses = || newest.iter().map(|one| one.license).collect::<Vec<_>>();
    let statuses = || newest.iter().map(|one| word(one.shift.status)).collect::<Vec<_>>();
    let ended_at = || {
        let sql = |one: &&Answered<'_>| one.shift.ended_at.map(ToDiesel::to_diesel);
        newest.iter().map(sql).collect::<Vec<_>>()
    };
    let occurred_at = || newest.iter().map(|one| one.occurred_at.to_diesel()).collect::<Vec<_>>();

    let count = CountNews {
        licenses: licenses(),
        statuses: statuses(),
        ended_at: ended_at(),
        occurred_at: occurred_at(),
    };
    let news: i64 = count.get_result(connection).await?;
    if news == 0 {
        let confirm = Confirm {
            licenses: licenses(),
            statuses: statuses(),
            ended_at: ended_at(),
            occurred_at: occurred_at(),
        };
        let _: i64 = confirm.get_result(connection).await?;
        return Ok(());
    }
    let numbers = take_numbers(connection, Feed::Statuses, newest.len()).await?;
    let write = Write {
        licenses: licenses(),
        statuses: statuses(),
        ended_at: ended_at(),
        occurred_at: occurred_at(),
        at: numbers.at.to_diesel(),
        base: numbers.base,
    };
    let _: i64 = write.get_result(connection).await?;
    Ok(())
}

/// One answer a licence, that of the latest status, in the order of licences.
fn newest<'a, 'b>(answers: &'b [Answered<'a>]) -> Vec<&'b Answered<'a>> {
    let mut newest: HashMap<&PackedId, &Answered<'_>> = HashMap::new();
    for answer in answers {
        let known = newest.entry(answer.license).or_insert(answer);
        if known.occurred_at <= answer.occurred_at {
            *known = answer;
        }
    }
    let mut newest: Vec<_> = newest.into_values().collect();
    newest.sort_unstable_by_key(|answer| answer.license);
    newest
}

fn word(status: ShiftStatus) -> &'static str {
    match status {
        ShiftStatus::Active => "active",
        ShiftStatus::Resting => "resting",
        ShiftStatus::Expired => "expired",
        ShiftStatus::NotStarted => "not_started",
    }
}
