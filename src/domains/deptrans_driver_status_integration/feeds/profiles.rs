//! Items whose licence's profiles changed come again: their rows get new numbers. And whoever was told on
//! line under another licence than the one that he has now is told off line under it.
//!
//! Each process does so for what its own cache applied, and afterwards: whichever process a poller asks,
//! once the last of them has seen a change the item comes with it. What was taken from the cache is given
//! again until its rows are numbered, also after a restart from the cache's dump.

use std::time::Duration;

use diesel::sql_types::{Array, BigInt, Binary};
use diesel_async::RunQueryDsl;
use futures_util::try_join;

use super::metrics::FeedsMetrics;
use super::numbers::{Feed, numbers_taken};
use crate::domains::deptrans_driver_status_integration::directory::Directory;
use crate::domains::deptrans_driver_status_integration::sending::moves::{self, Today};
use crate::platform::context::Context;
use crate::platform::database::{Connection, Database, PackedId, prepared_statement};
use crate::platform::error::Result;
use crate::platform::ids::PersonalId;
use crate::platform::shutdown::Shutdown;

/// Licences of one transaction; writers of a feed wait for it.
const BATCH: usize = 500;
/// After a batch, so that others come in between; and after one that failed.
const BREATH: Duration = Duration::from_millis(10);
const PAUSE: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(10);

/// Which of these licences a feed has, and new numbers for them.
macro_rules! renumber {
    ($known:ident, $renumber:ident, $feed:literal, $table:literal) => {
        prepared_statement! {
            struct $known<'a> returns Binary;
            concat!("SELECT driver_license_pd_id FROM deptrans.", $table,
                " WHERE driver_license_pd_id = ANY("),
            licenses: &'a [PackedId] => Array<Binary>, ")",
        }

        prepared_statement! {
            struct $renumber<'a> returns BigInt;
            "WITH given AS MATERIALIZED (SELECT * FROM unnest(",
            licenses: &'a [PackedId] => Array<Binary>,
            concat!(
                ") WITH ORDINALITY AS g(license, n)), ",
                numbers_taken!($feed, "SELECT count(*) FROM given"),
                ", again AS (UPDATE deptrans.", $table, " t \
SET seq = feed.base + given.n, updated_at = feed.at \
FROM feed, given WHERE t.driver_license_pd_id = given.license RETURNING 1) \
SELECT count(*) FROM again"
            ),
        }
    };
}

renumber!(KnownBindings, RenumberBindings, "bindings", "profiles");
renumber!(KnownStatuses, RenumberStatuses, "statuses", "session_statuses");

/// Does so until the process stops.
pub async fn follow(
    database: Database,
    directory: Directory,
    metrics: FeedsMetrics,
    stop: Shutdown,
) {
    let mut told = false;
    loop {
        let licenses = tokio::select! {
            () = stop.wait() => return,
            licenses = directory.changes().take(BATCH) => licenses,
        };
        let today = today(&directory, &licenses);
        let licenses: Vec<PackedId> =
            licenses.iter().map(|license| PackedId::new(license.as_str())).collect();
        let pause = match tell(&database, &licenses, &today, &metrics).await {
            Ok(()) => {
                directory.changes().done();
                if std::mem::take(&mut told) {
                    tracing::info!("changes of profiles are told again");
                }
                BREATH
            }
            Err(error) => {
                if !std::mem::replace(&mut told, true) {
                    let (code, cause) = (error.code(), error.chain());
                    tracing::warn!(code, cause, "changes of profiles wait to be told");
                }
                PAUSE
            }
        };
        if stop.wait_or(pause).await {
            return;
        }
    }
}

/// The profiles that have these licences now.
fn today(directory: &Directory, licenses: &[PersonalId]) -> Today {
    let mut today = Today::default();
    for license in licenses {
        let packed = PackedId::new(license.as_str());
        directory.each_profile(license.as_str(), |park, driver| {
            today.add(PackedId::new(park), PackedId::new(driver), packed.clone());
        });
    }
    today
}

/// Most licences are of drivers who have nothing to do with the regulator: those are left out first,
/// and a batch of them takes no number. One that comes to a feed meanwhile comes with its number. Each
/// statement is a transaction of its own; repeating them after a failure is right.
async fn tell(
    database: &Database,
    licenses: &[PackedId],
    today: &Today,
    metrics: &FeedsMetrics,
) -> Result<()> {
    let context = Context::background("update feeds", PATIENCE);
    let numbered = async |connection: &Connection| {
        let note = async {
            if !today.is_empty() {
                moves::note(connection, today).await?;
            }
            Ok(())
        };
        let bound = known(connection, Feed::Bindings, licenses);
        let stated = known(connection, Feed::Statuses, licenses);
        let (bound, stated, ()) = try_join!(bound, stated, note)?;
        try_join!(
            renumber(connection, Feed::Bindings, &bound),
            renumber(connection, Feed::Statuses, &stated)
        )
    };
    let (bindings, statuses) = database.statement(&context, numbered).await?;
    for (feed, again) in [(Feed::Bindings, bindings), (Feed::Statuses, statuses)] {
        metrics.renumbered.with_label_values(&[feed.name()]).inc_by(again.unsigned_abs());
    }
    Ok(())
}

/// Those of the licences that a feed has.
async fn known(
    mut connection: &Connection,
    feed: Feed,
    licenses: &[PackedId],
) -> Result<Vec<PackedId>> {
    Ok(match feed {
        Feed::Bindings => KnownBindings { licenses }.load(&mut connection).await?,
        Feed::Statuses => KnownStatuses { licenses }.load(&mut connection).await?,
    })
}

/// Gives a feed's licences new numbers; how many still were there.
async fn renumber(mut connection: &Connection, feed: Feed, licenses: &[PackedId]) -> Result<i64> {
    if licenses.is_empty() {
        return Ok(0);
    }
    Ok(match feed {
        Feed::Bindings => RenumberBindings { licenses }.get_result(&mut connection).await?,
        Feed::Statuses => RenumberStatuses { licenses }.get_result(&mut connection).await?,
    })
}
