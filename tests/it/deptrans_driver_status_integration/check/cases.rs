//! Who may take orders: each case in each stage, in the region and outside of it.

use super::*;

/// Drivers of whom each is another case, and the reason that stands against him.
const CASES: [(u64, Option<&str>); 8] = [
    (0, Some("no_id")),
    (1, Some("no_active_shift")),
    (2, None),
    (3, Some("shift_ends_at")),
    (4, Some("no_active_shift")),
    (5, Some("no_active_shift")),
    (6, None),
    (8, Some("no_id")),
];

async fn world(config: &str) -> World {
    let world = World::with(config).await;
    for index in [1, 2, 3, 4, 5, 6] {
        world.bind(index, &format!("'id-{index}'")).await;
    }
    // 1: the regulator said nothing of a shift.
    world.shift(2, "'active'", "now() + interval '10 hours'").await;
    world.shift(3, "'active'", "'2099-01-01T00:00:00Z'").await;
    let soon = "UPDATE deptrans.session_statuses SET ended_at = now() + interval '30 minutes' \
         WHERE ended_at > now() + interval '1 year'";
    world.app.database().execute(soon).await;
    world.shift(4, "'active'", "now() - interval '1 second'").await;
    world.shift(5, "'resting'", "now() + interval '5 hours'").await;
    world.shift(6, "'active'", "NULL").await;
    // A removed binding, with a shift that is still active.
    world.bind(8, "NULL").await;
    world.shift(8, "'active'", "now() + interval '10 hours'").await;
    world
}

/// An item's codes.
fn codes(item: &Value) -> Vec<&str> {
    let reasons = item["reasons"].as_array().expect("reasons");
    reasons.iter().map(|reason| reason["code"].as_str().expect("a code")).collect()
}

/// What is found of all cases: (driver, codes, allowed).
async fn all(world: &World) -> Vec<(u64, Vec<String>, bool)> {
    let keys: Vec<Value> = CASES.iter().map(|(index, _)| world.key(*index)).collect();
    let answer = world.ask(&keys).await.expect(200);
    let items = answer["items"].as_array().expect("items");
    assert_eq!(items.len(), keys.len());
    let one = |((index, _), item): (&(u64, Option<&str>), &Value)| {
        let allowed = item["allowed"].as_bool().expect("allowed");
        assert_eq!(item["blocking"], !allowed, "{item}");
        (*index, codes(item).into_iter().map(str::to_owned).collect(), allowed)
    };
    CASES.iter().zip(items).map(one).collect()
}

fn expected(blocks: bool) -> Vec<(u64, Vec<String>, bool)> {
    let one = |(index, reason): &(u64, Option<&str>)| {
        let stands_against = matches!(reason, Some("no_id" | "no_active_shift"));
        let codes = reason.iter().map(|code| (*code).to_owned()).collect();
        (*index, codes, !(blocks && stands_against))
    };
    CASES.iter().map(one).collect()
}

#[actix_web::test]
async fn in_the_first_stage_reasons_warn() {
    let world = world(WARNS).await;
    assert_eq!(all(&world).await, expected(false));
}

#[actix_web::test]
async fn in_the_second_stage_they_block() {
    let world = world(BLOCKS).await;
    assert_eq!(all(&world).await, expected(true));
    let blocked = "deptrans_checked_drivers_total{blocks=\"yes\",reason=\"no_active_shift\"}";
    assert_eq!(world.app.count(blocked).await, 3);
    let none = "deptrans_checked_drivers_total{blocks=\"no\",reason=\"none\"}";
    assert_eq!(world.app.count(none).await, 2);
}

#[actix_web::test]
async fn outside_of_all_regions_and_without_a_position_they_only_warn() {
    for position in [Some(TVER), None] {
        let world = world(BLOCKS).await;
        for (index, _) in CASES {
            world.place(index, position);
        }
        assert_eq!(all(&world).await, expected(false), "{position:?}");
    }
}

#[actix_web::test]
async fn the_end_of_a_shift_is_told_when_it_is_near() {
    let world = world(BLOCKS).await;
    let item = world.check(3).await;
    let at: jiff::Timestamp = item["reasons"][0]["at"].as_str().expect("at").parse().unwrap();
    let left = at.duration_since(jiff::Timestamp::now());
    assert!(left.as_mins() >= 25 && left.as_mins() <= 30, "{item}");
    assert!(world.check(4).await["reasons"][0]["at"].is_null());

    let early =
        format!("{BLOCKS}[deptrans_driver_status_integration.check]\nshift_warning_minutes = 10\n");
    let other = self::world(&early).await;
    assert_eq!(other.check(3).await, verdict(true, &[]));
}

#[actix_web::test]
async fn a_profile_without_a_licence_and_an_unknown_one_have_no_id() {
    let world = World::with(BLOCKS).await;
    assert!(world.app.sandbox.driver(7).license.is_none());
    assert_eq!(world.check(7).await, verdict(false, &["no_id"]));
    world.app.sandbox.set_position("park-1", "nobody", Some(MOSCOW)).unwrap();
    let unknown = json!({"park_id": "park-1", "driver_id": "nobody"});
    let answer = world.ask(&[unknown]).await.expect(200);
    assert_eq!(codes(&answer["items"][0]), ["no_id"]);
}

#[actix_web::test]
async fn a_thousand_are_answered_in_their_order_each_as_often_as_asked() {
    let world = World::with(BLOCKS).await;
    world.bind(2, "'id-2'").await;
    world.shift(2, "'active'", "NULL").await;
    let keys: Vec<Value> = (0..1_000).map(|n| world.key(if n % 4 == 0 { 2 } else { n })).collect();
    let answer = world.ask(&keys).await.expect(200);
    let items = answer["items"].as_array().unwrap();
    assert_eq!(items.len(), 1_000);
    for (n, (key, item)) in keys.iter().zip(items).enumerate() {
        assert_eq!((&item["park_id"], &item["driver_id"]), (&key["park_id"], &key["driver_id"]));
        let has_id = n % 4 == 0 || n == 2;
        assert_eq!(item["reasons"].as_array().unwrap().is_empty(), has_id, "{n}: {item}");
    }
    let statements = "database_batches_total{outcome=\"ok\",statement=\"check_drivers\"}";
    assert_eq!(world.app.count(statements).await, 1, "one statement for all");
}

#[actix_web::test]
async fn bad_bodies_are_refused() {
    let world = World::with(WARNS).await;
    let key = world.key(0);
    world.ask(&[]).await.invalid_at("/drivers");
    world.ask(&vec![key.clone(); 1_001]).await.invalid_at("/drivers");
    world.ask(&[key, json!({"park_id": "park-1"})]).await.invalid_at("/drivers/1");
    let bad = json!({"park_id": "park 1", "driver_id": "x"});
    world.ask(&[bad]).await.invalid_at("/drivers/0/park_id");
    world.caller.post(CHECK, json!({"drivers": [], "x": 1})).await.invalid_at("/x");
}
