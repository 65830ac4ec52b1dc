//! A restart comes up warm.

use std::collections::BTreeSet;

use fleet::domains::deptrans_driver_status_integration::directory::License;
use fleet::platform::ids::PersonalId;
use fleet::sandbox::SandboxDriver;
use serde_json::json;

use super::{Caches, Folder};
use crate::support::app::start_sandbox;
use crate::support::eventually;

const DOWN: [&str; 2] = ["driver-profiles", "driver-categories-api"];

#[actix_web::test]
async fn it_comes_up_from_its_dump_while_the_services_are_down() {
    let (sandbox, folder) = (start_sandbox(), Folder::new());
    let caches = Caches::with_dump(&sandbox, &folder).await;
    let before = caches.directory.sizes();
    caches.stop().await;
    for stand_in in DOWN {
        sandbox.set_fault(stand_in, json!({"kind": "close"})).unwrap();
    }
    let caches = Caches::with_dump(&sandbox, &folder).await;
    let after = caches.directory.sizes();
    assert_eq!(
        (after.profiles, after.categories, after.licenses),
        (before.profiles, before.categories, before.licenses)
    );
    for index in 0..100 {
        assert!(caches.agrees(&SandboxDriver::of(index)), "{index}");
    }
    assert_eq!((caches.dumps("loaded"), caches.loads("profiles", "full")), (1, 0));
    assert!(caches.age("profiles").is_some(), "as old as the dump");
    for stand_in in DOWN {
        sandbox.clear_fault(stand_in);
    }
    eventually("it follows the feeds again", async || {
        caches.loads("profiles", "incremental") > 0 && caches.loads("categories", "incremental") > 0
    })
    .await;
    assert_eq!(caches.loads("profiles", "full"), 0);
    caches.stop().await;
}

#[actix_web::test]
async fn what_changed_meanwhile_is_seen_at_once_and_told() {
    let (sandbox, folder) = (start_sandbox(), Folder::new());
    Caches::with_dump(&sandbox, &folder).await.stop().await;
    let (one, other) = (SandboxDriver::of(0), SandboxDriver::of(1));
    sandbox.set_profile(&one.park_id, &one.driver_id, &json!({"is_deleted": true})).unwrap();
    let caches = Caches::with_dump(&sandbox, &folder).await;
    let known = caches.directory.license(&one.park_id, &one.driver_id);
    assert_eq!(known, License::UnknownProfile);
    assert!(caches.agrees(&other));
    let told = caches.directory.changes().take(10).await;
    assert_eq!(
        told.iter().map(PersonalId::as_str).collect::<Vec<_>>(),
        [one.license.unwrap().pd_id]
    );
    assert_eq!(caches.loads("profiles", "full"), 0);
    caches.stop().await;
}

#[actix_web::test]
async fn what_was_not_told_before_the_end_is_told_after_it() {
    let (sandbox, folder) = (start_sandbox(), Folder::new());
    let caches = Caches::with_dump(&sandbox, &folder).await;
    for index in 0..3 {
        let driver = SandboxDriver::of(index);
        let change = json!({"is_deleted": true});
        sandbox.set_profile(&driver.park_id, &driver.driver_id, &change).unwrap();
    }
    eventually("they are applied", async || caches.directory.changes().len() == 3).await;
    // One is taken, and whoever took it dies.
    assert_eq!(caches.directory.changes().take(1).await.len(), 1);
    caches.stop().await;
    let caches = Caches::with_dump(&sandbox, &folder).await;
    let told: BTreeSet<String> =
        caches.directory.changes().take(10).await.into_iter().map(String::from).collect();
    let expected = (0..3).map(|index| SandboxDriver::of(index).license.unwrap().pd_id).collect();
    assert_eq!(told, expected);
    caches.stop().await;
}

#[actix_web::test]
async fn a_dump_that_cannot_be_used_is_passed_over() {
    let (sandbox, folder) = (start_sandbox(), Folder::new());
    Caches::with_dump(&sandbox, &folder).await.stop().await;
    let mut bytes = std::fs::read(folder.dump()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(folder.dump(), bytes).unwrap();
    let caches = Caches::with_dump(&sandbox, &folder).await;
    assert_eq!((caches.dumps("ignored"), caches.loads("profiles", "full")), (1, 1));
    assert!(caches.agrees(&SandboxDriver::of(99)));
    assert!(caches.directory.changes().is_empty());
    caches.stop().await;
    let caches = Caches::with_dump(&sandbox, &folder).await;
    assert_eq!(caches.dumps("loaded"), 1, "it was written anew");
    caches.stop().await;

    std::fs::write(folder.dump(), b"FLEETDIR").unwrap();
    for stand_in in DOWN {
        sandbox.set_fault(stand_in, json!({"kind": "close"})).unwrap();
    }
    let error = Caches::try_start(&sandbox, &folder.0, super::NEVER).await.err().unwrap();
    assert!(error.code().ends_with("_unavailable"), "{error}");
}

#[actix_web::test]
async fn a_dump_whose_cursors_are_refused_serves_while_everything_is_read_anew() {
    let (sandbox, folder) = (start_sandbox(), Folder::new());
    Caches::with_dump(&sandbox, &folder).await.stop().await;
    sandbox.set_drivers(50).unwrap();
    let caches = Caches::with_dump(&sandbox, &folder).await;
    eventually("it is read anew", async || caches.directory.sizes().profiles == 50).await;
    assert_eq!((caches.dumps("loaded"), caches.loads("profiles", "refused")), (1, 1));
    assert!(caches.agrees(&SandboxDriver::of(49)));
    caches.stop().await;
}

#[actix_web::test]
async fn a_folder_that_cannot_be_written_to_costs_nothing_but_the_dump() {
    let (sandbox, folder) = (start_sandbox(), Folder::new());
    let missing = folder.0.join("missing");
    let caches = Caches::try_start(&sandbox, &missing, super::NEVER).await.unwrap();
    eventually("it is counted", async || caches.dumps("failed") > 0).await;
    assert!(caches.agrees(&SandboxDriver::of(0)));
    caches.stop().await;
}
