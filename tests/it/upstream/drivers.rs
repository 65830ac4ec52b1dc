//! driver-profiles, driver-categories-api and driver-trackstory: the clients against their stand-ins.

use std::collections::BTreeMap;

use fleet::platform::telemetry::metrics::Metrics;
use fleet::platform::upstream::{UpstreamError, UpstreamMetrics};
use fleet::sandbox::{Sandbox, SandboxDriver};
use fleet::upstreams::driver_categories::DriverCategories;
use fleet::upstreams::driver_profiles::{DriverProfiles, Profile};
use fleet::upstreams::driver_trackstory::{DriverRef, DriverTrackstory};
use fleet::upstreams::updates::UpdatesError;
use serde_json::json;

use super::plain::Plain;
use super::{ctx, settings};
use crate::support::app::start_sandbox;

struct Rig {
    sandbox: Sandbox,
    profiles: DriverProfiles,
    categories: DriverCategories,
    trackstory: DriverTrackstory,
}

fn rig() -> Rig {
    let sandbox = start_sandbox();
    let metrics = UpstreamMetrics::register(&Metrics::default());
    let settings = |stand_in| settings(sandbox.base_url(stand_in));
    Rig {
        profiles: DriverProfiles::new(&settings("driver-profiles"), &metrics).unwrap(),
        categories: DriverCategories::new(&settings("driver-categories-api"), &metrics).unwrap(),
        trackstory: DriverTrackstory::new(&settings("driver-trackstory"), &metrics).unwrap(),
        sandbox,
    }
}

impl Rig {
    /// All profiles from `cursor` on, in how many pages, and where they end.
    async fn all(&self, cursor: Option<String>, limit: usize) -> (Vec<Profile>, usize, String) {
        let (mut profiles, mut pages, mut cursor) = (Vec::new(), 0, cursor);
        loop {
            let page = self.profiles.page(&ctx(), cursor.as_deref(), limit).await.unwrap();
            profiles.extend(page.items);
            pages += 1;
            if !page.has_more {
                return (profiles, pages, page.cursor);
            }
            cursor = Some(page.cursor);
        }
    }
}

fn ids(index: u64) -> (String, String) {
    let SandboxDriver { park_id, driver_id, .. } = SandboxDriver::of(index);
    (park_id, driver_id)
}

#[actix_web::test]
async fn profiles_come_whole_and_then_as_they_change() {
    let rig = rig();
    let (profiles, pages, cursor) = rig.all(None, 30).await;
    assert_eq!((profiles.len(), pages), (100, 4));
    for (index, profile) in profiles.iter().enumerate() {
        let expected = SandboxDriver::of(index as u64);
        let license_pd_id = expected.license.map(|license| license.pd_id);
        let (park_id, driver_id) = (expected.park_id, expected.driver_id);
        assert_eq!(profile, &Profile { park_id, driver_id, license_pd_id, is_deleted: false });
    }
    assert_eq!(rig.all(Some(cursor.clone()), 30).await, (Vec::new(), 1, cursor.clone()));

    let (park, driver) = ids(0);
    let set = |driver: &str, change| rig.sandbox.set_profile(&park, driver, &change).unwrap();
    set(&driver, json!({"license_pd_id": "first"}));
    set("new", json!({"license_number": "7700000001"}));
    set(&driver, json!({"license_pd_id": null}));
    set(&ids(1).1, json!({"is_deleted": true}));
    let (changes, pages, _) = rig.all(Some(cursor), 2).await;
    assert_eq!(pages, 2);
    let seen: BTreeMap<_, _> = changes
        .iter()
        .map(|one| (one.driver_id.clone(), (one.license_pd_id.clone(), one.is_deleted)))
        .collect();
    let new = SandboxDriver::of(1).license.unwrap().pd_id;
    let expected =
        [(driver, (None, false)), ("new".into(), (Some(new), false)), (ids(1).1, (None, true))];
    assert_eq!(seen, expected.into());
    assert_eq!(changes.len(), 3, "the last state of each");

    let (whole, _, _) = rig.all(None, 1_000).await;
    assert_eq!(whole.len(), 100, "one more and one gone");
    assert_eq!(whole.last().unwrap().driver_id, "new");
}

#[actix_web::test]
async fn what_changes_during_a_full_read_is_not_missed() {
    let rig = rig();
    let (park, driver) = ids(0);
    let first = rig.profiles.page(&ctx(), None, 50).await.unwrap();
    rig.sandbox.set_profile(&park, &driver, &json!({"license_pd_id": "late"})).unwrap();
    rig.sandbox.set_profile(&park, "added", &json!({"license_pd_id": "late"})).unwrap();
    let (rest, _, _) = rig.all(Some(first.cursor), 50).await;
    let late: Vec<_> =
        rest.iter().filter(|one| one.license_pd_id.as_deref() == Some("late")).collect();
    assert!(late.iter().any(|one| one.driver_id == driver), "{late:?}");
    assert!(late.iter().any(|one| one.driver_id == "added"), "{late:?}");
}

#[actix_web::test]
async fn a_cursor_that_is_refused_is_told_apart() {
    let rig = rig();
    let (_, _, cursor) = rig.all(None, 1_000).await;
    rig.sandbox.forget_cursors();
    let refused = rig.profiles.page(&ctx(), Some(&cursor), 10).await.unwrap_err();
    assert_eq!(refused, UpdatesError::CursorRefused);
    let refused = rig.categories.page(&ctx(), Some("x"), 10).await.unwrap_err();
    assert_eq!(refused, UpdatesError::CursorRefused);
    let limit = rig.profiles.page(&ctx(), None, 0).await.unwrap_err();
    assert!(matches!(limit, UpdatesError::Unavailable(UpstreamError::Status { .. })), "{limit}");
}

#[actix_web::test]
async fn categories_come_whole_and_then_as_they_change() {
    let rig = rig();
    let page = rig.categories.page(&ctx(), None, 1_000).await.unwrap();
    assert_eq!((page.items.len(), page.has_more), (100, false));
    for (index, item) in page.items.iter().enumerate() {
        assert_eq!(item.categories, SandboxDriver::of(index as u64).categories);
    }
    assert!(page.items.iter().any(|item| item.categories.contains(&"comfortplus".to_owned())));
    let (park, driver) = ids(3);
    let categories = json!({"categories": ["cargo", "night"]});
    rig.sandbox.set_categories(&park, &driver, &categories).unwrap();
    rig.sandbox.set_categories(&park, &ids(4).1, &json!({"is_deleted": true})).unwrap();
    let changes = rig.categories.page(&ctx(), Some(&page.cursor), 10).await.unwrap().items;
    assert_eq!((changes.len(), &changes[0].driver_id), (2, &driver));
    assert_eq!(changes[0].categories, ["cargo", "night"]);
    assert!(changes[1].is_deleted);
}

#[actix_web::test]
async fn a_million_drivers_cost_nothing_until_they_are_read() {
    let rig = rig();
    rig.sandbox.set_drivers(1_000_000).unwrap();
    let page = rig.profiles.page(&ctx(), None, 5_000).await.unwrap();
    assert_eq!((page.items.len(), page.has_more), (5_000, true));
    assert!(rig.sandbox.set_drivers(5_000_001).is_err());
}

#[actix_web::test]
async fn positions_are_asked_for_in_batches() {
    let rig = rig();
    let all: Vec<_> = (0..1_200).map(ids).collect();
    let drivers: Vec<_> =
        all.iter().map(|(park_id, driver_id)| DriverRef { park_id, driver_id }).collect();
    let found = rig.trackstory.positions(&ctx(), &drivers).await.unwrap();
    assert_eq!(rig.sandbox.calls("driver-trackstory", "POST /v1/positions"), 3);
    let in_moscow = |lat: f64, lon: f64| (55.6..55.9).contains(&lat) && (37.4..37.8).contains(&lon);
    let inside = found.iter().filter(|one| in_moscow(one.lat, one.lon)).count();
    assert!((1_050..1_150).contains(&inside), "{inside}");
    assert!((inside + 30..1_200).contains(&found.len()), "{}", found.len());
    let certain = rig.trackstory.positions(&ctx(), &drivers[..100]).await.unwrap();
    assert_eq!(certain.iter().filter(|one| in_moscow(one.lat, one.lon)).count(), 100);
    let again = rig.trackstory.positions(&ctx(), &drivers[..100]).await.unwrap();
    let place = |one: &fleet::upstreams::driver_trackstory::Position| (one.lat, one.lon);
    assert!(certain.iter().map(place).eq(again.iter().map(place)), "frozen");
}

#[actix_web::test]
async fn a_driver_can_be_put_anywhere_or_nowhere() {
    let rig = rig();
    let drivers = ["a", "b", "c"].map(|driver_id| DriverRef { park_id: "park-9", driver_id });
    rig.sandbox.set_position("park-9", "a", Some((59.9, 30.3))).unwrap();
    rig.sandbox.set_position("park-9", "b", None).unwrap();
    let found = rig.trackstory.positions(&ctx(), &drivers).await.unwrap();
    let seen: Vec<_> = found.iter().map(|one| one.driver_id.as_str()).collect();
    assert_eq!(seen, ["a", "c"], "whoever is unknown is somewhere in Moscow");
    assert!((found[0].lat - 59.9).abs() < 1e-9 && (found[0].lon - 30.3).abs() < 1e-9);

    let body = json!({"positions": [
        {"park_id": "p", "driver_id": "d", "lat": 95.0, "lon": 0.0, "at": "2026-01-01T00:00:00Z"},
        {"park_id": "p", "driver_id": "e", "lat": 5.0, "lon": 0.0, "at": "2026-01-01T00:00:00Z"},
    ]});
    let fault = json!({"kind": "answer", "status": 200, "body": body});
    rig.sandbox.set_fault("driver-trackstory", fault).unwrap();
    let found = rig.trackstory.positions(&ctx(), &drivers).await.unwrap();
    assert_eq!(found.len(), 1, "no such place on earth is passed over");
    rig.sandbox.set_fault("driver-trackstory", json!({"kind": "garbage"})).unwrap();
    let error = rig.trackstory.positions(&ctx(), &drivers).await.unwrap_err();
    assert!(matches!(error, UpstreamError::BadBody { .. }), "{error}");
}

#[actix_web::test]
async fn the_stand_ins_are_steered_over_http_too() {
    let plain = Plain::start("driver-profiles", "/v1/profiles/");
    let put = async |path: &str, body| plain.control("PUT", path, Some(body)).await.0;
    assert_eq!(put("/driver-profiles", json!({"drivers": 10})).await, 204);
    assert_eq!(put("/driver-profiles", json!({"drivers": "ten"})).await, 400);
    assert_eq!(put("/driver-profiles/p/d", json!({"license_pd_id": "l"})).await, 204);
    assert_eq!(put("/driver-profiles/p/d", json!({"license": "l"})).await, 400);
    assert_eq!(put("/driver-categories-api/p/d", json!({"categories": ["vip"]})).await, 204);
    assert_eq!(put("/driver-categories-api/p/d", json!({})).await, 400);
    assert_eq!(put("/driver-trackstory/p/d", json!({"lat": 1.0, "lon": 2.0})).await, 204);
    assert_eq!(put("/driver-trackstory/p/d", json!(null)).await, 204);
    assert_eq!(put("/driver-trackstory/p/d", json!({"lat": 1.0})).await, 400);
    let (_, page) = plain.post("updates", &json!({"limit": 100})).await;
    assert_eq!(page["profiles"].as_array().unwrap().len(), 11);
    let cursor = page["cursor"].clone();
    assert_eq!(plain.control("DELETE", "/driver-profiles/cursors", None).await.0, 204);
    assert_eq!(plain.control("DELETE", "/driver-categories-api/cursors", None).await.0, 204);
    assert_eq!(plain.control("DELETE", "/driver-trackstory/p/d", None).await.0, 204);
    let (status, refused) = plain.post("updates", &json!({"limit": 1, "cursor": cursor})).await;
    assert_eq!((status, &refused["code"]), (400, &json!("bad_cursor")));
    let many: Vec<_> = (0..501).map(|_| json!({"park_id": "p", "driver_id": "d"})).collect();
    let trackstory = Plain::start("driver-trackstory", "/v1/");
    assert_eq!(trackstory.post("positions", &json!({"drivers": many})).await.0, 400);
}
