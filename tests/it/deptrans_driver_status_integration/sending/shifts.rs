//! What the regulator answers about shifts.

use serde_json::json;

use super::super::rig::Street;
use crate::support::eventually;

impl Street {
    async fn last_number(&self) -> i64 {
        self.database().count("SELECT last_seq FROM deptrans.feeds WHERE name = 'statuses'").await
    }

    async fn history(&self) -> Vec<(String, bool)> {
        let sql = "SELECT session_status::text, ended_at IS NOT NULL \
             FROM deptrans.session_status_history ORDER BY recorded_at";
        let rows = self.database().query(sql, &[]).await;
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }

    fn pin(&self, index: u64, shift: serde_json::Value) {
        let id = self.driver(index).license.unwrap().krt_id;
        self.sandbox().set_krt_driver(&id, shift).unwrap();
    }
}

#[actix_web::test]
async fn a_state_gets_a_number_when_it_changes_and_what_was_goes_to_the_history() {
    let street = Street::start().await;
    let driver = street.ready(1).await[0];
    street.goes(driver, "online").await;
    street.drained().await;
    let (_, _, first) = street.shift(driver).await.expect("a shift");
    assert_eq!(street.last_number().await, first);
    let sql = "SELECT count(*) FROM deptrans.session_statuses \
         WHERE occurred_at = (SELECT max(occurred_at) FROM deptrans.status_queue)";
    // The same state again: no news for anybody, but it is known to hold.
    street.goes(driver, "busy").await;
    street.drained().await;
    assert_eq!(street.shift(driver).await.expect("a shift").2, first);
    assert_eq!(street.last_number().await, first);
    assert_eq!(street.database().count(sql).await, 1);
    assert_eq!(street.history().await, []);

    street.pin(driver, json!({"session_status": "resting", "ended_at": "2099-01-01T00:00:00Z"}));
    street.goes(driver, "offline").await;
    street.drained().await;
    let (status, has_end, second) = street.shift(driver).await.expect("a shift");
    assert_eq!((status.as_deref(), has_end), (Some("resting"), true));
    assert!(second > first);
    assert_eq!(street.last_number().await, second);
    assert_eq!(street.history().await, [("active".to_owned(), true)]);

    // Another end of the same state is a change too.
    street.pin(driver, json!({"session_status": "resting"}));
    street.goes(driver, "online").await;
    street.drained().await;
    let (_, has_end, third) = street.shift(driver).await.expect("a shift");
    assert!(!has_end && third > second);
    assert_eq!(street.history().await.len(), 2);
}

#[actix_web::test]
async fn all_four_states_are_kept() {
    let street = Street::start().await;
    let drivers = street.ready(4).await;
    let states = ["active", "resting", "expired", "not_started"];
    for (driver, state) in drivers.iter().zip(states) {
        street.pin(*driver, json!({"session_status": state}));
    }
    let all: Vec<_> = drivers.iter().map(|index| (*index, "online")).collect();
    street.go(&all).await;
    street.drained().await;
    for (driver, state) in drivers.iter().zip(states) {
        let (status, ..) = street.shift(*driver).await.expect("a shift");
        assert_eq!(status.as_deref(), Some(state));
    }
}

/// Two profiles of one person: the answer to the later status counts, in whatever order they came.
#[actix_web::test]
async fn of_two_profiles_of_one_licence_the_later_status_counts() {
    let street = Street::start().await;
    // Of ten drivers the fifth and the tenth have one licence.
    let (one, other) = (0..200)
        .step_by(10)
        .map(|ten| (ten + 4, ten + 9))
        .find(|(one, other)| {
            let counts = |index: u64| {
                let driver = street.driver(index);
                driver.license.is_some() && driver.categories.contains(&"econom")
            };
            counts(*one) && counts(*other)
        })
        .expect("such a pair");
    assert_eq!(street.driver(one).license, street.driver(other).license);
    for index in [one, other] {
        street.place(index, Some(super::super::rig::MOSCOW));
    }
    street.bind(one).await;
    let event = |index: u64, at: &str| {
        let driver = street.driver(index);
        json!({
            "park_id": driver.park_id, "driver_id": driver.driver_id, "status": "online",
            "occurred_at": at, "event_id": "x",
        })
    };
    let (later, earlier) =
        (event(one, "2026-03-01T10:00:01Z"), event(other, "2026-03-01T10:00:00Z"));
    street.internal.post("status-events", json!({"events": [later]})).await.expect(200);
    street.drained().await;
    street.pin(one, json!({"session_status": "expired"}));
    street.internal.post("status-events", json!({"events": [earlier]})).await.expect(200);
    street.drained().await;
    assert_eq!(street.told(one), [true, true], "both are told");
    let (status, ..) = street.shift(one).await.expect("a shift");
    assert_eq!(status.as_deref(), Some("active"), "the answer to the later one stays");

    // Both in one batch.
    let both = [event(other, "2026-03-01T11:00:01Z"), event(one, "2026-03-01T11:00:00Z")];
    street.internal.post("status-events", json!({"events": both})).await.expect(200);
    street.drained().await;
    let (status, ..) = street.shift(one).await.expect("a shift");
    assert_eq!(status.as_deref(), Some("expired"));
    let newest = "SELECT count(*) FROM deptrans.session_statuses \
         WHERE occurred_at = '2026-03-01T11:00:01Z'";
    assert_eq!(street.database().count(newest).await, 1);
}

#[actix_web::test]
async fn an_answer_that_comes_after_the_binding_went_is_not_kept() {
    let street = Street::start().await;
    let driver = street.ready(1).await[0];
    street.krt_fault(json!({"kind": "hold_after_work", "route": "statuses", "times": 1}));
    street.goes(driver, "online").await;
    eventually("it is on its way", async || street.told(driver) == [true]).await;
    street.database().execute("UPDATE deptrans.profiles SET deptrans_id = NULL").await;
    street.sandbox().clear_fault("krt");
    street.drained().await;
    assert_eq!(street.shift(driver).await, None);
}

/// Whoever follows the feed is told.
#[actix_web::test]
async fn a_change_is_notified() {
    let street = Street::start().await;
    let drivers = street.ready(2).await;
    let before = street.last_number().await;
    let all: Vec<_> = drivers.iter().map(|index| (*index, "online")).collect();
    street.go(&all).await;
    street.drained().await;
    let numbers = "SELECT count(DISTINCT seq) FROM deptrans.session_statuses";
    assert_eq!(street.database().count(numbers).await, 2);
    let (.., one) = street.shift(drivers[0]).await.expect("a shift");
    let (.., other) = street.shift(drivers[1]).await.expect("a shift");
    assert!(one > before && other > before && one.max(other) <= street.last_number().await);
}
