//! For how long states of shifts are kept.

use super::super::rig::Street;
use crate::support::eventually;

const DAYS: &str = "[deptrans_driver_status_integration]\nhistory_days = 3\n";

#[actix_web::test]
async fn old_history_goes_and_states_of_which_nothing_was_heard_become_tombstones() {
    let mut street = Street::with(DAYS).await;
    let drivers = street.ready(3).await;
    let all: Vec<_> = drivers.iter().map(|index| (*index, "online")).collect();
    street.go(&all).await;
    street.drained().await;
    street.app.stop();
    // The first two are old; the second still holds, as was heard a while ago.
    street
        .database()
        .execute(
            "UPDATE deptrans.session_statuses SET updated_at = now() - interval '4 days' \
             WHERE seq < (SELECT max(seq) FROM deptrans.session_statuses); \
             UPDATE deptrans.session_statuses SET occurred_at = now() - interval '4 days' \
             WHERE seq = (SELECT min(seq) FROM deptrans.session_statuses); \
             INSERT INTO deptrans.session_status_history \
               (recorded_at, driver_license_pd_id, session_status) \
             SELECT now() - make_interval(hours => hours), 'x', 'active' \
             FROM generate_series(1, 5 * 24) hours",
        )
        .await;
    let street = street.restarted().await;
    let alive = "SELECT count(*) FROM deptrans.session_statuses WHERE session_status IS NOT NULL";
    eventually("one is a tombstone", async || street.database().count(alive).await == 2).await;
    let last = "SELECT count(*) FROM deptrans.session_statuses s JOIN deptrans.feeds f \
         ON f.name = 'statuses' WHERE s.session_status IS NULL AND s.ended_at IS NULL \
         AND s.seq = f.last_seq AND s.updated_at > now() - interval '1 minute'";
    assert_eq!(street.database().count(last).await, 1, "pollers learn of it");
    let old = "SELECT count(*) FROM deptrans.session_status_history \
         WHERE recorded_at < now() - interval '3 days'";
    eventually("the history is short", async || street.database().count(old).await == 0).await;
    let kept = "SELECT count(*) FROM deptrans.session_status_history";
    assert!((70..=72).contains(&street.database().count(kept).await));
}
