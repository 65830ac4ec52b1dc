//! A full read that names much less than is known is not believed at once.

use super::{Caches, Folder};
use crate::support::app::start_sandbox;
use crate::support::eventually;
use fleet::sandbox::{Sandbox, SandboxDriver};

/// Lets both feeds name so many drivers, and forget all cursors.
fn names(sandbox: &Sandbox, drivers: u64) {
    sandbox.set_drivers(drivers).unwrap();
}

async fn shrunken(caches: &Caches) {
    eventually("both are not believed", async || {
        ["profiles", "categories"].iter().all(|cache| caches.loads(cache, "shrunken") > 0)
    })
    .await;
    let directory = &caches.directory;
    let troubles = [directory.profiles_trouble(), directory.categories_trouble()];
    assert_eq!(troubles, [Some("shrunken"); 2]);
}

#[actix_web::test]
async fn what_is_known_is_served_until_the_service_names_it_again() {
    for left in [0, 49] {
        let sandbox = start_sandbox();
        let caches = Caches::start(&sandbox).await;
        names(&sandbox, left);
        shrunken(&caches).await;
        for index in 0..100 {
            assert!(caches.agrees(&SandboxDriver::of(index)), "{index} of {left}");
        }
        names(&sandbox, 100);
        eventually("it is whole", async || {
            caches.loads("profiles", "full") == 2 && caches.loads("categories", "full") == 2
        })
        .await;
        let sizes = caches.directory.sizes();
        assert_eq!((sizes.profiles, sizes.categories), (100, 100));
        assert!(caches.directory.changes().is_empty(), "nobody was told that anybody had gone");
        assert_eq!(caches.directory.profiles_trouble(), None);
        assert_eq!(caches.directory.categories_trouble(), None);
        caches.stop().await;
    }
}

#[actix_web::test]
async fn what_lasts_is_believed() {
    let sandbox = start_sandbox();
    let caches = Caches::believing_after(&sandbox, 1_000).await;
    names(&sandbox, 10);
    eventually("both are believed", async || {
        caches.loads("profiles", "full") == 2 && caches.loads("categories", "full") == 2
    })
    .await;
    assert!(caches.loads("profiles", "shrunken") > 0, "not at once");
    let sizes = caches.directory.sizes();
    assert_eq!((sizes.profiles, sizes.categories), (10, 10));
    assert_eq!(caches.directory.profiles_trouble(), None);
    assert!(!caches.directory.changes().is_empty(), "pollers are told who has gone");
    // From then on that is what is known.
    sandbox.set_drivers(9).unwrap();
    eventually("it is believed at once", async || caches.directory.sizes().profiles == 9).await;
    caches.stop().await;
}

/// Half is enough.
#[actix_web::test]
async fn what_shrinks_a_little_is_believed_at_once() {
    let sandbox = start_sandbox();
    let caches = Caches::start(&sandbox).await;
    names(&sandbox, 50);
    eventually("it is read anew", async || caches.directory.sizes().profiles == 50).await;
    assert_eq!(caches.loads("profiles", "shrunken"), 0);
    caches.stop().await;
}

#[actix_web::test]
async fn a_dump_is_not_overwritten_by_what_is_not_believed() {
    let (sandbox, folder) = (start_sandbox(), Folder::new());
    let caches = Caches::with_dump(&sandbox, &folder).await;
    eventually("there is a dump", async || caches.dumps("written") > 0).await;
    names(&sandbox, 1);
    shrunken(&caches).await;
    caches.stop().await;
    let caches = Caches::with_dump(&sandbox, &folder).await;
    assert_eq!(caches.dumps("loaded"), 1);
    shrunken(&caches).await;
    for index in 0..100 {
        assert!(caches.agrees(&SandboxDriver::of(index)), "{index}");
    }
    caches.stop().await;
}
