//! The stand-in for parks, against its contract.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::plain::{Plain, code};

const PARK: &str = "park-of-the-list";

fn plain() -> Plain {
    Plain::start("parks", "/v1/driver-profiles/")
}

/// All the drivers that `filter` selects, page by page, and how many pages they came in.
async fn all(plain: &Plain, filter: Value, limit: usize) -> (Vec<Value>, usize) {
    let (mut drivers, mut pages) = (Vec::new(), 0);
    let mut list = filter;
    list["park_id"] = json!(PARK);
    list["limit"] = json!(limit);
    loop {
        let (status, mut page) = plain.post("list", &list).await;
        assert_eq!(status, 200, "{page}");
        drivers.append(page["driver_profiles"].as_array_mut().unwrap());
        pages += 1;
        match page.get("cursor") {
            Some(cursor) => list["cursor"] = cursor.clone(),
            None => return (drivers, pages),
        }
    }
}

fn ids(drivers: &[Value]) -> BTreeSet<&str> {
    drivers.iter().map(|driver| driver["id"].as_str().unwrap()).collect()
}

#[actix_web::test]
async fn a_hundred_thousand_drivers_come_page_by_page() {
    let plain = plain();
    plain.sandbox.set_park(PARK, json!({"drivers": 100_000})).unwrap();
    let (drivers, pages) = all(&plain, json!({}), 1_000).await;
    assert_eq!((drivers.len(), pages, ids(&drivers).len()), (100_000, 100, 100_000));
    for name in ["id", "first_name", "work_rule_id", "work_status", "current_status"] {
        assert!(drivers[99_999][name].is_string(), "{name}");
    }
    let (again, _) = all(&plain, json!({}), 999).await;
    assert_eq!(again, drivers, "time stands still in tests");
}

#[actix_web::test]
async fn every_filter_selects_what_it_says() {
    let plain = plain();
    plain.sandbox.set_park(PARK, json!({"drivers": 2_000})).unwrap();
    let (drivers, _) = all(&plain, json!({}), 1_000).await;
    for (filter, name, values) in [
        ("work_rule_ids", "work_rule_id", ["rule-1", "rule-3"]),
        ("work_statuses", "work_status", ["working", "fired"]),
        ("current_statuses", "current_status", ["online", "busy"]),
    ] {
        let (found, _) = all(&plain, json!({ filter: values }), 100).await;
        let expected = drivers.iter().filter(|d| values.contains(&d[name].as_str().unwrap()));
        let expected: Vec<_> = expected.cloned().collect();
        assert!(expected.len() > 200 && expected.len() < 1_900, "{filter}");
        assert_eq!(found, expected, "{filter}");
        assert_eq!(all(&plain, json!({ filter: [] }), 1_000).await.0.len(), 2_000, "{filter}");
    }
    let named: Vec<_> = [7, 3, 3].iter().map(|at| drivers[*at]["id"].clone()).collect();
    let filter = json!({"ids": [named[0], named[1], named[2], "nobody"]});
    let (found, pages) = all(&plain, filter, 1).await;
    assert_eq!((found, pages), (vec![drivers[3].clone(), drivers[7].clone()], 2));
}

#[actix_web::test]
async fn drivers_can_be_changed_and_added() {
    let plain = plain();
    plain.sandbox.set_park(PARK, json!({"drivers": 3})).unwrap();
    let id = plain.sandbox.driver_ids(PARK).remove(1);
    let changed = json!({"first_name": "", "work_status": "fired", "current_status": "busy"});
    plain.sandbox.set_driver(PARK, &id, changed).unwrap();
    let path = format!("/parks/{PARK}/drivers/new-blocked");
    assert_eq!(plain.control("PUT", &path, Some(json!({"work_rule_id": "r"}))).await.0, 204);
    let (drivers, _) = all(&plain, json!({}), 10).await;
    assert_eq!(drivers.len(), 4);
    assert_eq!(drivers[1].get("first_name"), None);
    assert_eq!(
        (&drivers[1]["work_status"], &drivers[1]["current_status"]),
        (&json!("fired"), &json!("busy"))
    );
    assert_eq!(
        (&drivers[3]["id"], &drivers[3]["work_rule_id"]),
        (&json!("new-blocked"), &json!("r"))
    );
    assert_eq!(plain.control("PUT", &path, Some(json!({"work_status": "tired"}))).await.0, 400);
    let park = format!("/parks/{PARK}");
    assert_eq!(plain.control("DELETE", &park, None).await.0, 204);
    assert_eq!(all(&plain, json!({}), 1_000).await.0.len(), 100);
    assert_eq!(plain.control("PUT", &park, Some(json!({"drivers": 1_000_001}))).await.0, 400);
}

#[actix_web::test]
async fn what_breaks_the_contract_is_refused() {
    let plain = plain();
    let (_, page) = plain.post("list", &json!({"park_id": "park-2", "limit": 1})).await;
    for (list, expected) in [
        (json!({"park_id": PARK, "limit": 0}), "bad_limit"),
        (json!({"park_id": PARK, "limit": 1_001}), "bad_limit"),
        (json!({"park_id": PARK}), "bad_request"),
        (json!({"park_id": PARK, "limit": 1, "work_statuses": ["tired"]}), "bad_request"),
        (json!({"park_id": PARK, "limit": 1, "offset": 1}), "bad_request"),
        (json!({"park_id": PARK, "limit": 1, "cursor": "x"}), "bad_cursor"),
        (json!({"park_id": PARK, "limit": 1, "cursor": page["cursor"]}), "bad_cursor"),
    ] {
        let (status, refused) = plain.post("list", &list).await;
        assert_eq!((status, code(&refused)), (400, expected), "{list}");
    }
    let nobody = (200, json!({"driver_profiles": []}));
    assert_eq!(plain.post("list", &json!({"park_id": "else", "limit": 1})).await, nobody);
}
