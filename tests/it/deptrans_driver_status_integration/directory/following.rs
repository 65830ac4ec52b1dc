//! What changes outside is seen, what breaks outside is not.

use std::collections::BTreeSet;
use std::time::Duration;

use fleet::domains::deptrans_driver_status_integration::directory::License;
use fleet::sandbox::SandboxDriver;
use serde_json::json;

use super::Caches;
use crate::support::app::start_sandbox;
use crate::support::eventually;

fn license(index: u64) -> String {
    SandboxDriver::of(index).license.unwrap().pd_id
}

#[actix_web::test]
async fn everything_is_read_at_the_start() {
    let sandbox = start_sandbox();
    let caches = Caches::start(&sandbox).await;
    for index in 0..100 {
        let driver = SandboxDriver::of(index);
        assert!(caches.agrees(&driver), "{driver:?}");
    }
    let stranger = SandboxDriver::of(100);
    let unknown = caches.directory.license(&stranger.park_id, &stranger.driver_id);
    assert_eq!(unknown, License::UnknownProfile);
    let wanted = caches.directory.category_set(["econom"]);
    let works = caches.directory.works_in_any(&stranger.park_id, &stranger.driver_id, wanted);
    assert_eq!(works, None);
    let sizes = caches.directory.sizes();
    // Two of a hundred have no licence, ten share one with another.
    assert_eq!((sizes.profiles, sizes.categories, sizes.licenses), (100, 100, 88));
    let shared = caches.directory.profiles_of(&license(4));
    let drivers: BTreeSet<_> = shared.iter().map(|key| key.driver_id.clone()).collect();
    assert_eq!(drivers, [4, 9].map(|index| SandboxDriver::of(index).driver_id).into());
    assert!(caches.directory.profiles_of("nobody's").is_empty());
    assert!(caches.directory.changes().is_empty(), "nobody has to be told of what was always so");
    assert_eq!(caches.loads("profiles", "full"), 1);
    caches.stop().await;
}

#[actix_web::test]
async fn changes_are_seen_and_then_handed_over() {
    let sandbox = start_sandbox();
    let caches = Caches::start(&sandbox).await;
    let (park, driver) = (SandboxDriver::of(0).park_id, SandboxDriver::of(0).driver_id);
    let next = async || {
        let taken = caches.directory.changes().take(100);
        let taken = tokio::time::timeout(Duration::from_secs(20), taken).await.unwrap();
        caches.directory.changes().done();
        taken.into_iter().map(String::from).collect::<BTreeSet<_>>()
    };

    sandbox.set_profile(&park, &driver, &json!({"license_pd_id": license(1)})).unwrap();
    assert_eq!(next().await, [license(0), license(1)].into());
    let of = caches.directory.license_of(&park, &driver).unwrap();
    assert_eq!(of.as_str(), license(1), "it is seen before it is told");
    assert_eq!(caches.directory.profiles_of(&license(1)).len(), 2);
    assert!(caches.directory.profiles_of(&license(0)).is_empty());

    sandbox.set_profile(&park, &driver, &json!({"is_deleted": true})).unwrap();
    assert_eq!(next().await, [license(1)].into());
    assert_eq!(caches.directory.license(&park, &driver), License::UnknownProfile);

    sandbox.set_profile("park-new", "driver-new", &json!({"license_pd_id": license(2)})).unwrap();
    assert_eq!(next().await, [license(2)].into());
    sandbox.set_profile("park-new", "driver-new", &json!({"license_pd_id": null})).unwrap();
    assert_eq!(next().await, [license(2)].into());
    assert_eq!(caches.directory.license("park-new", "driver-new"), License::Without);

    let wanted = caches.directory.category_set(["night"]);
    sandbox.set_categories("park-new", "driver-new", &json!({"categories": ["night"]})).unwrap();
    eventually("his categories are known", async || {
        caches.directory.works_in_any("park-new", "driver-new", wanted) == Some(true)
    })
    .await;
    sandbox.set_categories("park-new", "driver-new", &json!({"is_deleted": true})).unwrap();
    eventually("his categories are not known any more", async || {
        caches.directory.works_in_any("park-new", "driver-new", wanted).is_none()
    })
    .await;
    assert!(caches.directory.changes().is_empty(), "categories concern nobody who polls");
    caches.stop().await;
}

#[actix_web::test]
async fn what_is_known_is_served_while_the_services_are_broken() {
    let sandbox = start_sandbox();
    let caches = Caches::start(&sandbox).await;
    let driver = SandboxDriver::of(1);
    for fault in [
        json!({"kind": "status", "status": 500}),
        json!({"kind": "status", "status": 401}),
        json!({"kind": "close"}),
        json!({"kind": "garbage"}),
        json!({"kind": "truncate"}),
        json!({"kind": "answer", "status": 200, "body": {"profiles": [{"park_id": 1}]}}),
        json!({"kind": "answer", "status": 404, "body": {"code": "unknown_route"}}),
    ] {
        sandbox.set_fault("driver-profiles", fault.clone()).unwrap();
        let before = caches.loads("profiles", "failed");
        eventually("a refresh fails", async || caches.loads("profiles", "failed") > before).await;
        assert!(caches.agrees(&driver), "{fault}");
        sandbox.clear_fault("driver-profiles");
        let before = caches.loads("profiles", "incremental");
        eventually("it goes on", async || caches.loads("profiles", "incremental") > before).await;
    }
    assert_eq!(caches.loads("profiles", "full"), 1, "nothing was read anew");
    assert_eq!(caches.loads("categories", "failed"), 0);
    caches.stop().await;
}

#[actix_web::test]
async fn age_tells_how_long_nothing_was_heard() {
    let sandbox = start_sandbox();
    let caches = Caches::start(&sandbox).await;
    assert!(caches.age("profiles").unwrap() < 10);
    sandbox.set_fault("driver-profiles", json!({"kind": "close"})).unwrap();
    eventually("it is older than what goes on being read", async || {
        caches.age("profiles").unwrap() > caches.age("categories").unwrap()
    })
    .await;
    caches.stop().await;
}

#[actix_web::test]
async fn a_refused_cursor_leads_to_a_full_read_over_what_is_served() {
    let sandbox = start_sandbox();
    let caches = Caches::start(&sandbox).await;
    // What the feed forgets with its cursors: 40 drivers are gone, one is new.
    sandbox.set_drivers(60).unwrap();
    sandbox.set_profile("park-new", "driver-new", &json!({"license_pd_id": license(2)})).unwrap();
    eventually("it is read anew", async || {
        caches.loads("profiles", "full") == 2 && caches.loads("categories", "full") == 2
    })
    .await;
    for index in 0..60 {
        assert!(caches.agrees(&SandboxDriver::of(index)), "{index}");
    }
    let sizes = caches.directory.sizes();
    assert_eq!((sizes.profiles, sizes.categories), (61, 60));
    let gone = SandboxDriver::of(70);
    assert_eq!(caches.directory.license(&gone.park_id, &gone.driver_id), License::UnknownProfile);

    let told: BTreeSet<_> = caches.directory.changes().take(1_000).await.into_iter().collect();
    let told: BTreeSet<String> = told.into_iter().map(String::from).collect();
    let mut expected: BTreeSet<String> =
        (60..100).filter_map(|index| Some(SandboxDriver::of(index).license?.pd_id)).collect();
    expected.insert(license(2));
    assert_eq!(told, expected, "those whose profiles went or came, and no others");
    caches.stop().await;
}

#[actix_web::test]
async fn a_full_read_that_breaks_off_goes_on_where_it_was() {
    let sandbox = start_sandbox();
    let caches = Caches::start(&sandbox).await;
    let asked = || sandbox.calls("driver-profiles", "POST /v1/profiles/updates");
    // The refusal and the first pages pass, then nothing for a while.
    sandbox.forget_cursors();
    eventually("it has begun", async || caches.loads("profiles", "refused") == 1).await;
    sandbox.set_fault("driver-profiles", json!({"kind": "close", "times": 4})).unwrap();
    eventually("it is whole", async || caches.loads("profiles", "full") == 2).await;
    assert!(asked() > 4);
    assert_eq!(caches.directory.sizes().profiles, 100);
    assert!(caches.directory.changes().is_empty(), "nothing changed");
    caches.stop().await;
}

#[actix_web::test]
async fn a_feed_that_stands_still_does_not_keep_it_busy_for_ever() {
    let sandbox = start_sandbox();
    let caches = Caches::start(&sandbox).await;
    let body = json!({"profiles": [], "cursor": "stuck", "has_more": true});
    let fault = json!({"kind": "answer", "status": 200, "body": body});
    sandbox.set_fault("driver-profiles", fault).unwrap();
    eventually("it gives up", async || caches.loads("profiles", "failed") > 0).await;
    sandbox.clear_fault("driver-profiles");
    // That cursor was never one of the feed's.
    eventually("it recovers", async || caches.loads("profiles", "full") == 2).await;
    assert_eq!(caches.directory.sizes().profiles, 100);
    caches.stop().await;
}

#[actix_web::test]
async fn it_stops_at_once_while_a_service_hangs() {
    let sandbox = start_sandbox();
    let caches = Caches::start(&sandbox).await;
    sandbox.set_fault("driver-profiles", json!({"kind": "hang"})).unwrap();
    let before = sandbox.calls("driver-profiles", "POST /v1/profiles/updates");
    eventually("it hangs", async || {
        sandbox.calls("driver-profiles", "POST /v1/profiles/updates") > before
    })
    .await;
    let stopped = tokio::time::timeout(Duration::from_secs(5), caches.stop()).await;
    assert!(stopped.is_ok());
}
