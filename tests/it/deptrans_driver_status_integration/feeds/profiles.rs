//! Items carry the profiles of their licence, and come again when those change.

use serde_json::json;

use super::*;
use crate::support::eventually;
use crate::support::proxy::{Mode, Proxy, host_and_port};

/// Caches look for changes often here.
const QUICK: &str = "[deptrans_driver_status_integration.directory]\nrefresh_ms = 50\n";

impl World {
    /// Binds an id to the licence of a driver of the stand-ins, and gives it a state; returns the licence.
    async fn bind_driver(&self, index: u64) -> String {
        self.bind_driver_as(index, "an-id").await
    }

    async fn bind_driver_as(&self, index: u64, id: &str) -> String {
        let license = self.app.sandbox.driver(index).license.expect("a licence").pd_id;
        for (feed, write) in [
            (
                "bindings",
                "INSERT INTO deptrans.profiles (seq, updated_at, driver_license_pd_id, deptrans_id) \
                 SELECT last_seq, clock_timestamp(), LICENSE, 'ID' FROM feed",
            ),
            (
                "statuses",
                "INSERT INTO deptrans.session_statuses \
                   (seq, updated_at, occurred_at, driver_license_pd_id, session_status) \
                 SELECT last_seq, clock_timestamp(), now(), LICENSE, 'active' FROM feed",
            ),
        ] {
            let write = write.replace("ID'", &format!("{id}'"));
            let write = write.replace("LICENSE", &format!("'\\x01{license}'::bytea"));
            let sql = format!(
                "WITH feed AS (UPDATE deptrans.feeds SET last_seq = last_seq + 1 \
                   WHERE name = '{feed}' RETURNING last_seq) {write}"
            );
            self.database().execute(&sql).await;
        }
        license
    }

    /// Gives a profile of this world's stand-in a licence.
    fn set_profile(&self, driver: &str, license: Option<&str>) {
        let change = json!({ "license_pd_id": license });
        self.app.sandbox.set_profile("park-1", driver, &change).unwrap();
    }
}

/// The drivers of an item's profiles, in order.
fn drivers(item: &Value) -> Vec<String> {
    let profiles = item["profiles"].as_array().expect("profiles");
    let mut drivers: Vec<String> =
        profiles.iter().map(|profile| profile["driver_id"].as_str().unwrap().to_owned()).collect();
    drivers.sort_unstable();
    drivers
}

#[actix_web::test]
async fn an_item_comes_again_when_a_profile_comes_or_goes() {
    let world = World::with(QUICK).await;
    let license = world.bind_driver(0).await;
    let own = world.app.sandbox.driver(0).driver_id;
    for feed in [BINDINGS, STATUSES] {
        let mut cache = world.read(feed, None).await;
        assert_eq!(drivers(&cache.items[&license]), std::slice::from_ref(&own));
        for (driver, of, expected) in [
            ("a-new-one", Some(license.as_str()), vec![own.clone(), "a-new-one".to_owned()]),
            ("a-new-one", None, vec![own.clone()]),
        ] {
            world.set_profile(driver, of);
            let mut expected = expected;
            expected.sort_unstable();
            let started = std::time::Instant::now();
            while drivers(&cache.items[&license]) != expected {
                assert!(started.elapsed() < crate::support::PATIENCE, "{feed} {driver}: {of:?}");
                cache.poll(&world.caller, feed, 10).await;
            }
        }
    }
    let again = "deptrans_feed_renumbered_total{feed=\"bindings\"}";
    // Two changes that come fast may share one.
    eventually("they are counted", async || world.app.count(again).await >= 2).await;
}

#[actix_web::test]
async fn a_profile_that_moves_to_another_licence_leaves_the_first() {
    let world = World::with(QUICK).await;
    let (first, second) =
        (world.bind_driver_as(0, "one").await, world.bind_driver_as(1, "two").await);
    world.set_profile("mover", Some(&first));
    let mut cache = world.read(BINDINGS, None).await;
    let has = |cache: &Cache, license: &str| {
        drivers(&cache.items[license]).iter().any(|driver| driver == "mover")
    };
    for (at, other) in [(&first, &second), (&second, &first), (&first, &second)] {
        world.set_profile("mover", Some(at));
        let started = std::time::Instant::now();
        while !has(&cache, at) || has(&cache, other) {
            assert!(started.elapsed() < crate::support::PATIENCE, "{:?}", cache.items);
            cache.poll(&world.caller, BINDINGS, 10).await;
        }
    }
}

#[actix_web::test]
async fn a_poller_of_two_instances_is_right_once_both_have_seen_a_change() {
    let first = World::with(QUICK).await;
    let second = first.beside(QUICK).await;
    let license = first.bind_driver(0).await;
    let mut cache = first.read(BINDINGS, None).await;
    // Each instance has services outside of its own: one sees the change long before the other.
    first.set_profile("late", Some(&license));
    let started = std::time::Instant::now();
    while !drivers(&cache.items[&license]).contains(&"late".to_owned()) {
        assert!(started.elapsed() < crate::support::PATIENCE, "the first instance saw it");
        cache.poll(&first.caller, BINDINGS, 10).await;
    }
    // Asked anew, the second knows nothing of it yet, and so does whoever follows it.
    let mut of_second = second.read(BINDINGS, None).await;
    assert_eq!(drivers(&of_second.items[&license]).len(), 1);
    second.set_profile("late", Some(&license));
    let started = std::time::Instant::now();
    while drivers(&of_second.items[&license]).len() != 2 {
        assert!(started.elapsed() < crate::support::PATIENCE, "the second instance saw it");
        // Whichever is asked: the item has a new number, and both know the profile.
        of_second.poll(&first.caller, BINDINGS, 10).await;
    }
}

#[actix_web::test]
async fn a_change_that_comes_while_the_database_is_away_is_told_afterwards() {
    let database = TestDatabase::create();
    let proxy = Proxy::start(host_and_port(&database.url()).1);
    let config = format!("{QUICK}[database]\nurl = '{}'\n", proxy.in_front_of(&database.url()));
    let builder = TestApp::builder().domains(&[DOMAIN]).config(config).database(database);
    let world = World::of(builder.start().await);
    let license = world.bind_driver(0).await;
    let mut cache = world.read(BINDINGS, None).await;
    proxy.set(Mode::Close);
    world.set_profile("meanwhile", Some(&license));
    let calls = || world.app.sandbox.calls("driver-profiles", "POST /v1/profiles/updates");
    let seen = calls();
    eventually("the cache has seen it", async || calls() > seen + 2).await;
    proxy.set(Mode::Pass);
    eventually("polls are answered", async || {
        world.caller.get(&path(BINDINGS, cache.cursor.as_deref(), 10)).await.status == 200
    })
    .await;
    let started = std::time::Instant::now();
    while drivers(&cache.items[&license]).len() != 2 {
        assert!(started.elapsed() < crate::support::PATIENCE, "{:?}", cache.items);
        cache.poll(&world.caller, BINDINGS, 10).await;
    }
}
