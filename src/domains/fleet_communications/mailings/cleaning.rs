//! Recipients go when their mailing has been over for long. The mailing and its counts stay.

use diesel::sql_types::{BigInt, Integer};
use diesel_async::RunQueryDsl;
use futures_util::FutureExt;

use crate::platform::database::{Cleaning, Connection};
use crate::platform::error::Result;

/// Mailings that are over, under their locks: one that was resumed is none any more, and nobody changes
/// recipients. One that somebody else has is passed over.
macro_rules! over {
    () => {
        "SELECT ctid AS row, park_id, id FROM fleet_communications.mailings \
         WHERE finished_at < now() - make_interval(days => $1) AND recipients_removed_at IS NULL \
         AND selected > 0 ORDER BY finished_at LIMIT 100 FOR NO KEY UPDATE SKIP LOCKED"
    };
}

/// The inner limit has each mailing's recipients looked up by their key.
const RECIPIENTS: &str = concat!(
    "DELETE FROM fleet_communications.mailing_recipients WHERE ctid = ANY(ARRAY(SELECT r.row FROM (",
    over!(),
    ") m CROSS JOIN LATERAL (SELECT r.ctid AS row FROM fleet_communications.mailing_recipients r \
       WHERE r.park_id = m.park_id AND r.mailing_id = m.id LIMIT $2) r LIMIT $2))"
);
/// Those of whom nobody is left are not looked at again.
const NOTE: &str = concat!(
    "UPDATE fleet_communications.mailings SET recipients_removed_at = now() \
     WHERE ctid = ANY(ARRAY(SELECT m.row FROM (",
    over!(),
    ") m WHERE NOT EXISTS (SELECT FROM fleet_communications.mailing_recipients r \
       WHERE r.park_id = m.park_id AND r.mailing_id = m.id)))"
);

/// Recipients are kept for so many days after the end of their mailing.
pub(in super::super) fn cleaning(days: i32) -> Cleaning {
    Cleaning::by("fleet_communications.mailing_recipients", move |connection, limit| {
        forget(connection, days, limit).boxed()
    })
}

async fn forget(connection: &mut Connection, days: i32, limit: i64) -> Result<usize> {
    let remove = diesel::sql_query(RECIPIENTS).bind::<Integer, _>(days).bind::<BigInt, _>(limit);
    let removed = remove.execute(connection).await?;
    diesel::sql_query(NOTE).bind::<Integer, _>(days).execute(connection).await?;
    Ok(removed)
}
