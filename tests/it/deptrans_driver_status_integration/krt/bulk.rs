//! Many statuses in one call, where KRT has such a method.

use serde_json::json;

use super::super::rig::Street;
use crate::support::eventually;

const BULK: &str = "[deptrans_driver_status_integration.krt]\nbulk = true\n";

impl Street {
    fn bulk_calls(&self) -> u64 {
        self.sandbox().calls("krt", "POST /api/v1/statuses/bulk")
    }

    fn single_calls(&self) -> u64 {
        self.sandbox().calls("krt", "POST /api/v1/statuses")
    }
}

#[actix_web::test]
async fn a_batch_goes_in_one_call_and_each_has_its_own_outcome() {
    let street = Street::with(BULK).await;
    let drivers = street.ready(50).await;
    let unknown = street.driver(drivers[0]).license.unwrap().krt_id;
    let rebind = "UPDATE deptrans.profiles SET deptrans_id = '999999999999' \
         WHERE deptrans_id = convert_to($1, 'UTF8')";
    street.database().query(rebind, &[&unknown]).await;
    let other = street.driver(drivers[1]).license.unwrap().krt_id;
    street.sandbox().set_krt_driver(&other, json!({"license_number": "7799999999"})).unwrap();
    let all: Vec<_> = drivers.iter().map(|index| (*index, "online")).collect();
    street.go(&all).await;
    street.drained().await;
    assert_eq!(street.sandbox().krt_counts().reports, 48);
    street.had_fate("refused", "unknown_id", 1).await;
    street.had_fate("refused", "invalid", 1).await;
    assert!((1..10).contains(&street.bulk_calls()), "{} calls", street.bulk_calls());
    assert_eq!(street.single_calls(), 0);
    let states = "SELECT count(*) FROM deptrans.session_statuses WHERE session_status = 'active'";
    assert_eq!(street.database().count(states).await, 48);
}

#[actix_web::test]
async fn without_the_method_they_go_one_by_one() {
    let street = Street::with(BULK).await;
    street.sandbox().set_krt(json!({"bulk": false})).unwrap();
    let drivers = street.ready(20).await;
    let all: Vec<_> = drivers.iter().map(|index| (*index, "online")).collect();
    street.go(&all).await;
    street.drained().await;
    let asked = street.bulk_calls();
    assert!(asked >= 1);
    assert_eq!((street.single_calls(), street.sandbox().krt_counts().reports), (20, 20));
    // It is not asked for again soon.
    let all: Vec<_> = drivers.iter().map(|index| (*index, "offline")).collect();
    street.go(&all).await;
    street.drained().await;
    assert_eq!((street.bulk_calls(), street.single_calls()), (asked, 40));
}

#[actix_web::test]
async fn a_lost_answer_to_many_is_asked_for_again() {
    let street = Street::with(BULK).await;
    let drivers = street.ready(30).await;
    let lost = json!({"kind": "truncate", "route": "bulk", "times": 2});
    let short = json!({"kind": "answer", "status": 200, "body": {"items": []}, "route": "bulk", "times": 1});
    street.krt_fault(json!([lost, short]));
    let all: Vec<_> = drivers.iter().map(|index| (*index, "online")).collect();
    street.go(&all).await;
    street.drained().await;
    assert_eq!(street.sandbox().krt_counts().reports, 30);
    assert!(drivers.iter().all(|index| street.told(*index) == [true]));
    eventually("it is counted", async || street.fate("failed", "krt_bad_answer").await >= 1).await;
}
