//! Pages of a park's customers, newest activity first.

use diesel::sql_types::{BigInt, Binary, Timestamptz};
use diesel_async::RunQueryDsl;
use jiff_diesel::{Timestamp as SqlTimestamp, ToDiesel};

use super::row::{CustomerColumns, CustomerRow, columns};
use crate::platform::database::{Connection, Moment, PackedId, prepared_statement};
use crate::platform::error::Result;

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

/// Where a list ended: the last customer's latest order and phone id.
pub type ListPosition = (Moment, String);

/// Rows that are read at once before it is known how large they are.
const FIRST_ROWS: i64 = 20;
/// A page ends early when its texts reach this: customers with many long items would otherwise make
/// a page of hundreds of megabytes.
const PAGE_BYTES: usize = 4 << 20;

/// A page of a park's customers, newest activity first: up to `limit`, and whether more follow.
pub async fn list(
    connection: &Connection,
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
    mut connection: &Connection,
    park: &PackedId,
    after: Option<ListPosition>,
    limit: i64,
) -> Result<Vec<CustomerRow>> {
    let Some((at, phone)) = after else {
        return Ok(FirstPage { park, limit }.load(&mut connection).await?);
    };
    let (at, phone) = (at.0.to_diesel(), PackedId::new(&phone));
    Ok(NextPage { park, day: at, at, phone: &phone, limit }.load(&mut connection).await?)
}
