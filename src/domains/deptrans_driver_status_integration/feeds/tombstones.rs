//! Removes tombstones that are too old to tell anybody. A cursor from before one that was removed is
//! refused, so that its poller begins anew and misses nothing.

use diesel::sql_types::{BigInt, Integer, Text};
use diesel_async::RunQueryDsl;
use futures_util::FutureExt;

use super::numbers::Feed;
use super::settings::FeedsSettings;
use crate::platform::database::{Cleaning, Connection, prepared_statement};
use crate::platform::error::Result;

prepared_statement! {
    /// Takes the feed without a number: its writers wait from here to the commit.
    struct TakeFeed<'a> returns BigInt;
    "SELECT last_seq FROM deptrans.feeds WHERE name = ",
    feed: &'a str => Text, " FOR UPDATE",
}

/// Removes tombstones; the last number among them is what no cursor may lie before any more. The feed
/// was taken by an earlier statement, so that nobody changes one meanwhile.
macro_rules! forget {
    ($name:ident, $feed:literal, $table:literal, $value:literal) => {
        prepared_statement! {
            struct $name<'a> returns BigInt;
            concat!(
                "WITH gone AS (DELETE FROM deptrans.", $table, " WHERE seq IN \
(SELECT seq FROM deptrans.", $table, " WHERE ", $value, " IS NULL \
AND updated_at < now() - make_interval(days => "
            ),
            days: &'a i32 => Integer,
            ") ORDER BY updated_at LIMIT ",
            limit: i64 => BigInt,
            concat!(
                ") RETURNING seq), \
told AS (UPDATE deptrans.feeds SET forgotten_seq = GREATEST(forgotten_seq, \
(SELECT max(seq) FROM gone)) WHERE name = '", $feed, "' \
AND EXISTS (SELECT FROM gone)) \
SELECT count(*) FROM gone"
            ),
        }
    };
}

forget!(ForgetBindings, "bindings", "profiles", "deptrans_id");
forget!(ForgetStatuses, "statuses", "session_statuses", "session_status");

/// Writers of a feed wait for one batch.
pub(super) fn cleanings(settings: &FeedsSettings) -> Vec<Cleaning> {
    let days = i32::try_from(settings.tombstone_days).unwrap_or(i32::MAX);
    let of = |what, feed| {
        let forget = Cleaning::by(what, move |connection, limit| {
            forget(connection, feed, days, limit).boxed()
        });
        forget.every(settings.clean())
    };
    vec![
        of("deptrans.binding_tombstones", Feed::Bindings),
        of("deptrans.status_tombstones", Feed::Statuses),
    ]
}

async fn forget(connection: &mut Connection, feed: Feed, days: i32, limit: i64) -> Result<usize> {
    let _: i64 = TakeFeed { feed: feed.name() }.get_result(connection).await?;
    let days = &days;
    let gone: i64 = match feed {
        Feed::Bindings => ForgetBindings { days, limit }.get_result(connection).await?,
        Feed::Statuses => ForgetStatuses { days, limit }.get_result(connection).await?,
    };
    Ok(usize::try_from(gone).unwrap_or(usize::MAX))
}
