//! CRUD of cabinets, their list and their cells.

use super::*;

#[actix_web::test]
async fn a_cabinet_is_made_known_read_edited_and_deleted() {
    let world = World::start().await;
    let body = json!({ "id": "cab-1", "lat": 55.75, "lon": 37.61, "cell_count": 3 });
    let made = world.backend.post("cabinets", body.clone()).await;
    let cabinet = made.expect(201);
    assert_eq!(made.header("location"), "/scooter-accumulator/internal/v1/cabinets/cab-1");
    assert_eq!(
        cabinet,
        json!({
            "id": "cab-1", "lat": 55.75, "lon": 37.61, "cell_count": 3, "online": false,
            "counts": counts(0, 0, 3, 0, 0),
        })
    );
    world.backend.post("cabinets", body).await.problem(409, "cabinet_exists");
    let read = world.backend.get("cabinets/cab-1").await;
    assert_eq!(read.expect(200), cabinet);
    assert_eq!(read.etag(), made.etag());

    let edit = json!({ "lat": -1.5, "lon": 2, "cell_count": 5 });
    let stale = world.backend.header("If-Match", "\"v9\"");
    stale.put("cabinets/cab-1", edit.clone()).await.problem(412, "stale_version");
    let fresh = world.backend.header("If-Match", read.etag());
    let edited = fresh.put("cabinets/cab-1", edit.clone()).await;
    assert_ne!(edited.etag(), read.etag());
    assert_eq!(edited.expect(200)["counts"], counts(0, 0, 5, 0, 0));
    fresh.put("cabinets/cab-1", edit.clone()).await.problem(412, "stale_version");
    fresh.delete("cabinets/cab-1").await.problem(412, "stale_version");
    world.backend.put("cabinets/nobody", edit).await.problem(404, "cabinet_not_found");

    for _ in 0..2 {
        world.backend.delete("cabinets/cab-1").await.expect(204);
    }
    for path in ["cabinets/cab-1", "cabinets/cab-1/cells"] {
        world.backend.get(path).await.problem(404, "cabinet_not_found");
    }
    assert_eq!(
        world.app.database().count("SELECT count(*) FROM scooter_accumulator.cells").await,
        0
    );
}

#[actix_web::test]
async fn cells_show_what_is_in_them() {
    let world = World::start().await;
    world.filled("c", 4, &[95, 30]).await;
    let cells = world.backend.get("cabinets/c/cells").await.expect(200);
    assert_eq!(
        cells,
        json!({ "items": [
            { "n": 1, "state": "charged", "accumulator_id": "c-1", "charge": 95 },
            { "n": 2, "state": "charging", "accumulator_id": "c-2", "charge": 30 },
            { "n": 3, "state": "empty" },
            { "n": 4, "state": "empty" },
        ] })
    );
    assert_eq!(world.counts("c").await, counts(1, 1, 2, 0, 0));
    // What the cabinet says of them.
    let say = "UPDATE scooter_accumulator.cells SET reported_at = '2026-05-01T12:00:00Z', \
         state = CASE n WHEN 3 THEN 'broken' WHEN 4 THEN 'open' ELSE 'charged' END::scooter_accumulator.cell_state";
    world.app.database().execute(say).await;
    let cells = world.backend.get("cabinets/c/cells").await.expect(200);
    assert_eq!(
        cells["items"][2],
        json!({ "n": 3, "state": "broken", "reported_at": "2026-05-01T12:00:00Z" })
    );
    assert_eq!(world.counts("c").await, counts(2, 0, 0, 0, 1), "an open cell is not counted");
}

#[actix_web::test]
async fn cells_go_only_when_nothing_is_in_them_or_booked() {
    let world = World::start().await;
    world.filled("c", 6, &[90, 90, 90]).await;
    let edit = |cells: i32| json!({ "id": "c", "lat": 1, "lon": 1, "cell_count": cells });
    let booking = id_of(&world.book("c", "return", 1).await.expect(201));
    world.backend.put("cabinets/c", edit(3)).await.problem(409, "cells_in_use");
    world.backend.put("cabinets/c", edit(4)).await.expect(200);
    world.backend.delete(&format!("bookings/{booking}")).await.expect(204);
    world.backend.put("cabinets/c", edit(2)).await.problem(409, "cells_in_use");
    let cut = world.backend.put("cabinets/c", edit(3)).await.expect(200);
    assert_eq!(cut["counts"], counts(3, 0, 0, 0, 0));
    // The ended booking of a cell that is gone can still be read.
    assert_eq!(world.booking_status(&booking).await, "cancelled");
    let grown = world.backend.put("cabinets/c", edit(5)).await.expect(200);
    assert_eq!(grown["counts"], counts(3, 0, 2, 0, 0));
}

#[actix_web::test]
async fn a_cabinet_in_use_is_not_deleted() {
    let world = World::start().await;
    world.filled("c", 2, &[90]).await;
    world.backend.delete("cabinets/c").await.problem(409, "cabinet_in_use");
    world.backend.delete("accumulators/c-1").await.expect(204);
    let booking = id_of(&world.book("c", "return", 1).await.expect(201));
    world.backend.delete("cabinets/c").await.problem(409, "cabinet_in_use");
    // Nobody comes for it any more.
    world.let_expire(&booking).await;
    world.backend.delete("cabinets/c").await.expect(204);
    world.backend.get(&format!("bookings/{booking}")).await.problem(404, "booking_not_found");
}

#[actix_web::test]
async fn what_no_cabinet_can_be_is_refused() {
    let world = World::start().await;
    let with = |change: Value| {
        let mut body = json!({ "id": "c", "lat": 1, "lon": 1, "cell_count": 3 });
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        body
    };
    for (change, pointer) in [
        (json!({ "id": "a/b" }), "/id"),
        (json!({ "id": "+" }), "/id"),
        (json!({ "id": "" }), "/id"),
        (json!({ "lat": 90.5 }), "/lat"),
        (json!({ "lon": -181 }), "/lon"),
        (json!({ "lat": "1" }), "/lat"),
        (json!({ "cell_count": 0 }), "/cell_count"),
        (json!({ "cell_count": 1001 }), "/cell_count"),
        (json!({ "online": true }), "/online"),
    ] {
        world.backend.post("cabinets", with(change)).await.invalid_at(pointer);
    }
    world.cabinet("c", 3).await;
    world.backend.put("cabinets/c", with(json!({ "id": "d" }))).await.invalid_at("/id");
    world.backend.put("cabinets/c", json!({ "lat": 1 })).await.problem(400, "invalid_request");
    for id in ["a%20b", "a%2Fb", "%2B", "%00"] {
        world.backend.get(&format!("cabinets/{id}")).await.problem(404, "not_found");
    }
}

#[actix_web::test]
async fn the_list_is_read_in_pages_and_by_what_can_be_booked() {
    let world = World::start().await;
    for number in 0..7 {
        let charges = vec![90; number];
        world.filled(&format!("c{number}"), 8, &charges).await;
    }
    let all = world.backend.get("cabinets").await.expect(200);
    assert_eq!(ids(&all), ["c0", "c1", "c2", "c3", "c4", "c5", "c6"]);
    assert!(all["next_cursor"].is_null() && all["items"][0]["distance_m"].is_null());
    let mut seen = Vec::new();
    let mut path = "cabinets?limit=2&available=3".to_owned();
    loop {
        let page = world.backend.get(&path).await.expect(200);
        seen.extend(ids(&page));
        let Some(next) = page["next_cursor"].as_str() else { break };
        assert_eq!(page["items"].as_array().unwrap().len(), 2);
        path = format!("cabinets?limit=2&available=3&cursor={next}");
    }
    assert_eq!(seen, ["c3", "c4", "c5", "c6"]);
    for query in [
        "min_charge=101",
        "min_charge=-1",
        "available=0",
        "available=1001",
        "x=1",
        "near=1",
        "radius_m=5",
    ] {
        world.backend.get(&format!("cabinets?{query}")).await.problem(400, "invalid_query");
    }
    for query in ["limit=0", "limit=1001"] {
        world.backend.get(&format!("cabinets?{query}")).await.problem(400, "invalid_limit");
    }
    let near = world.backend.get("cabinets?near=1,1&limit=1").await.expect(200);
    let cursor = near["next_cursor"].as_str().unwrap();
    // A cursor of the other list.
    world.backend.get(&format!("cabinets?cursor={cursor}")).await.problem(400, "invalid_cursor");
    // One that was made up: [1,[null,"\u0000"]].
    let forged = "cabinets?cursor=WzEsW251bGwsIlx1MDAwMCJdXQ";
    world.backend.get(forged).await.problem(400, "invalid_cursor");
}
