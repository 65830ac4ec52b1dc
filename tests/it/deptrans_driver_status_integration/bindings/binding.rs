//! A driver gives his id.

use super::*;

#[actix_web::test]
async fn an_id_is_bound_once_the_regulator_confirms_it() {
    let world = World::start().await;
    let driver = world.driver(0);
    assert_eq!(driver.presence().await, json!({"has_id": false}));
    let id = driver.license.krt_id.as_str();
    assert_eq!(driver.binds().await, shown(id));
    assert_eq!(driver.presence().await, shown(id));
    let updates = world.internal.get("id/updates").await.expect(200);
    let item = &updates["items"][0];
    assert_eq!(
        (&item["driver_license_pd_id"], &item["deptrans_id"]),
        (&json!(driver.license.pd_id), &json!(id))
    );
    let profile = json!({"park_id": driver.park, "driver_id": driver.driver});
    assert_eq!(item["profiles"], json!([profile]));
    let (_, asked) = world.app.sandbox.last_request("krt", "check").expect("it was asked");
    let asked: Value = serde_json::from_slice(&asked).expect("JSON");
    assert_eq!(asked, json!({"driver_id": id, "license_number": driver.license.number}));
    assert_eq!(world.outcomes("bound").await, 1);
}

#[actix_web::test]
async fn the_same_id_again_changes_nothing_and_asks_nobody() {
    let world = World::start().await;
    let driver = world.driver(0);
    driver.binds().await;
    let row = "SELECT seq FROM deptrans.profiles";
    let seq = world.app.database().count(row).await;
    world.app.fault("krt", json!({"kind": "status", "status": 500}));
    for _ in 0..3 {
        assert_eq!(driver.binds().await, shown(&driver.license.krt_id));
    }
    assert_eq!((world.app.database().count(row).await, world.checks()), (seq, 1));
    let head = "SELECT last_seq FROM deptrans.feeds WHERE name = 'bindings'";
    assert_eq!(world.app.database().count(head).await, seq);
    assert_eq!(world.outcomes("unchanged").await, 3);
}

#[actix_web::test]
async fn another_id_of_his_takes_the_place_of_the_first() {
    let world = World::start().await;
    let driver = world.driver(0);
    driver.binds().await;
    let number = &driver.license.number;
    world.app.sandbox.set_krt_driver("new-id-42", json!({"license_number": number})).unwrap();
    assert_eq!(driver.give("new-id-42").await.expect(200), shown("new-id-42"));
    assert_eq!((driver.presence().await, world.bindings().await), (shown("new-id-42"), 1));
    let updates = world.internal.get("id/updates").await.expect(200);
    let items = updates["items"].as_array().unwrap();
    assert_eq!((items.len(), &items[0]["deptrans_id"]), (1, &json!("new-id-42")));
}

#[actix_web::test]
async fn profiles_of_one_licence_share_its_id() {
    let world = World::start().await;
    let (one, other) = (world.driver(4), world.driver(9));
    assert_eq!(one.license, other.license, "one person with two profiles");
    one.binds().await;
    assert_eq!(other.presence().await, shown(&one.license.krt_id));
    let updates = world.internal.get("id/updates").await.expect(200);
    assert_eq!(updates["items"][0]["profiles"].as_array().unwrap().len(), 2);
}

#[actix_web::test]
async fn nobody_is_told_of_who_has_no_licence_or_is_not_known() {
    let world = World::start().await;
    let without = world.app.sandbox.driver(7);
    assert!(without.license.is_none());
    for (park, driver) in [(without.park_id.as_str(), without.driver_id.as_str()), ("park-1", "x")]
    {
        let caller = world.app.driver(DOMAIN, park, driver);
        assert_eq!(caller.get(ID).await.expect(200), json!({"has_id": false}));
    }
}

#[actix_web::test]
async fn who_is_on_line_already_is_reported_with_his_new_id() {
    let sends = "[deptrans_driver_status_integration.sending]\nworkers = 2\n";
    let world = World::with(sends).await;
    let driver = world.driver(0);
    let pack = "SELECT fleet_platform.readable_id(park_id) FROM deptrans.status_queue";
    let event = json!({"events": [{"park_id": driver.park, "driver_id": driver.driver,
        "status": "online", "occurred_at": jiff::Timestamp::now().to_string(), "event_id": "e-1"}]});
    assert_eq!(world.internal.post("status-events", event).await.expect(200)["accepted"], 1);
    let resting = "SELECT count(*) FROM deptrans.status_queue WHERE due_at IS NULL";
    eventually("without an id his status rests", async || {
        world.app.database().count(resting).await == 1
    })
    .await;
    assert_eq!(world.app.database().query(pack, &[]).await.len(), 1);
    assert!(world.app.sandbox.reported(&driver.license.krt_id).is_empty());
    driver.binds().await;
    eventually("he is reported", async || {
        world.app.sandbox.reported(&driver.license.krt_id).iter().any(|report| report.on_line)
    })
    .await;
}
