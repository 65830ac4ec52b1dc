//! CRUD and lists of accumulators.

use super::*;

#[actix_web::test]
async fn an_accumulator_is_made_known_read_edited_and_deleted() {
    let world = World::start().await;
    world.cabinet("c", 2).await;
    let body = json!({ "id": "a", "charge": 77, "place": cell("c", 2) });
    let made = world.backend.post("accumulators", body.clone()).await;
    assert_eq!(made.expect(201), body);
    assert_eq!(made.header("location"), "/scooter-accumulator/internal/v1/accumulators/a");
    world.backend.post("accumulators", body.clone()).await.problem(409, "accumulator_exists");
    let read = world.backend.get("accumulators/a").await;
    assert_eq!((read.expect(200), read.etag()), (body, made.etag()));

    let edit = json!({ "charge": 50, "place": contractor("t"), "flagged": true });
    let stale = world.backend.header("If-Match", "\"v7\"");
    stale.put("accumulators/a", edit.clone()).await.problem(412, "stale_version");
    stale.delete("accumulators/a").await.problem(412, "stale_version");
    let fresh = world.backend.header("If-Match", read.etag());
    let edited = fresh.put("accumulators/a", edit.clone()).await;
    assert_eq!(
        edited.expect(200),
        json!({ "id": "a", "charge": 50, "place": contractor("t"), "flagged": true })
    );
    assert_ne!(edited.etag(), read.etag());
    let lost = json!({ "id": "a", "charge": 0, "place": null });
    assert_eq!(world.backend.put("accumulators/a", lost.clone()).await.expect(200), lost);
    world.backend.put("accumulators/b", edit).await.problem(404, "accumulator_not_found");
    for _ in 0..2 {
        world.backend.delete("accumulators/a").await.expect(204);
    }
    for path in ["accumulators/a", "accumulators/a/history"] {
        world.backend.get(path).await.problem(404, "accumulator_not_found");
    }
    world.assert_sound().await;
}

#[actix_web::test]
async fn a_cell_counts_by_what_a_person_says_is_in_it() {
    let world = World::start().await;
    world.cabinet("c", 2).await;
    world.cabinet("d", 1).await;
    world.accumulator("a", 80, &cell("c", 1)).await;
    assert_eq!(world.counts("c").await, counts(1, 0, 1, 0, 0));
    let put = async |charge: i32, place: Value| {
        let body = json!({ "charge": charge, "place": place });
        world.backend.put("accumulators/a", body).await.expect(200);
    };
    put(79, cell("c", 1)).await;
    assert_eq!(world.counts("c").await, counts(0, 1, 1, 0, 0));
    put(79, cell("d", 1)).await;
    assert_eq!(world.counts("c").await, counts(0, 0, 2, 0, 0));
    assert_eq!(world.counts("d").await, counts(0, 1, 0, 0, 0));
    put(79, scooter("s")).await;
    assert_eq!(world.counts("d").await, counts(0, 0, 1, 0, 0));
    put(90, cell("d", 1)).await;
    world.backend.delete("accumulators/a").await.expect(204);
    assert_eq!(world.counts("d").await, counts(0, 0, 1, 0, 0));
    world.assert_sound().await;
}

#[actix_web::test]
async fn a_place_that_is_taken_or_is_none_is_refused() {
    let world = World::start().await;
    world.filled("c", 3, &[90]).await;
    let new = |place: Value| json!({ "id": "a", "charge": 5, "place": place });
    world.backend.post("accumulators", new(cell("c", 1))).await.problem(409, "cell_occupied");
    world.backend.post("accumulators", new(cell("c", 4))).await.invalid_at("/place/cell");
    world.backend.post("accumulators", new(cell("x", 1))).await.problem(404, "cabinet_not_found");
    world.book("c", "return", 1).await.expect(201);
    world.backend.post("accumulators", new(cell("c", 2))).await.problem(409, "cell_booked");
    world.backend.post("accumulators", new(cell("c", 3))).await.expect(201);
    let edit = |place: Value| json!({ "charge": 5, "place": place });
    world.backend.put("accumulators/a", edit(cell("c", 1))).await.problem(409, "cell_occupied");
    world.backend.put("accumulators/a", edit(cell("c", 2))).await.problem(409, "cell_booked");
    assert_eq!(world.place_of("a").await, cell("c", 3));
    world.assert_sound().await;
}

#[actix_web::test]
async fn a_booked_one_stays_where_it_is() {
    let world = World::start().await;
    world.filled("c", 2, &[90]).await;
    let booking = id_of(&world.book("c", "pickup", 1).await.expect(201));
    let edit = json!({ "charge": 90, "place": scooter("s") });
    world.backend.put("accumulators/c-1", edit.clone()).await.problem(409, "accumulator_booked");
    world.backend.delete("accumulators/c-1").await.problem(409, "accumulator_booked");
    let stays = json!({ "charge": 91, "place": cell("c", 1), "flagged": true });
    world.backend.put("accumulators/c-1", stays).await.expect(200);
    world.let_expire(&booking).await;
    world.backend.put("accumulators/c-1", edit).await.expect(200);
    assert_eq!(world.booking_status(&booking).await, "expired");
    world.backend.delete("accumulators/c-1").await.expect(204);
    let ended = world.backend.get(&format!("bookings/{booking}")).await.expect(200);
    assert_eq!(ended["cells"], json!([{ "n": 1 }]));
    world.assert_sound().await;
}

#[actix_web::test]
async fn what_no_accumulator_can_be_is_refused() {
    let world = World::start().await;
    let with = |change: Value| {
        let mut body = json!({ "id": "a", "charge": 5, "place": null });
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        body
    };
    for (change, pointer) in [
        (json!({ "id": "a b" }), "/id"),
        (json!({ "charge": 101 }), "/charge"),
        (json!({ "charge": -1 }), "/charge"),
        (json!({ "charge": 5.5 }), "/charge"),
        (json!({ "charge": 70_000 }), "/charge"),
        (json!({ "place": {} }), "/place"),
        (json!({ "place": { "cabinet_id": "c" } }), "/place"),
        (json!({ "place": { "cabinet_id": "c", "cell": 0 } }), "/place"),
        (json!({ "place": { "contractor_id": "t", "scooter_id": "s" } }), "/place"),
        (json!({ "place": { "scooter_id": "a b" } }), "/place/scooter_id"),
        (json!({ "place": { "scooter": "s" } }), "/place/scooter"),
        (json!({ "owner": 1 }), "/owner"),
    ] {
        world.backend.post("accumulators", with(change)).await.invalid_at(pointer);
    }
    // Where it is must be said, also that it is lost.
    let silent = json!({ "id": "a", "charge": 5 });
    world.backend.post("accumulators", silent).await.problem(400, "invalid_request");
    world.backend.post("accumulators", with(json!({}))).await.expect(201);
    world.backend.put("accumulators/a", with(json!({ "id": "b" }))).await.invalid_at("/id");
    world
        .backend
        .put("accumulators/a", json!({ "charge": 5 }))
        .await
        .problem(400, "invalid_request");
}

#[actix_web::test]
async fn lists_show_those_of_one_place() {
    let world = World::start().await;
    world.filled("c", 5, &[90, 10, 50]).await;
    world.accumulator("t-1", 1, &contractor("t")).await;
    world.accumulator("t-2", 2, &contractor("t")).await;
    world.accumulator("s-1", 3, &scooter("s")).await;
    let flagged = json!({ "id": "x", "charge": 0, "place": null, "flagged": true });
    world.backend.post("accumulators", flagged.clone()).await.expect(201);
    for (query, expected) in [
        ("contractor_id=t", vec!["t-1", "t-2"]),
        ("scooter_id=s", vec!["s-1"]),
        ("cabinet_id=c", vec!["c-1", "c-2", "c-3"]),
        ("flagged=true", vec!["x"]),
        ("contractor_id=nobody", vec![]),
        ("contractor_id=t&scooter_id=s", vec![]),
        ("", vec!["c-1", "c-2", "c-3", "s-1", "t-1", "t-2", "x"]),
    ] {
        let list = world.backend.get(&format!("accumulators?{query}")).await.expect(200);
        assert_eq!(ids(&list), expected, "{query}");
    }
    let first = world.backend.get("accumulators?limit=5").await.expect(200);
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = world.backend.get(&format!("accumulators?limit=5&cursor={cursor}")).await;
    let second = second.expect(200);
    assert_eq!(ids(&second), ["t-2", "x"]);
    assert_eq!(second["items"][1], flagged);
    assert!(second["next_cursor"].is_null());
    // A made up cursor: [1,"\u0000"].
    let forged = world.backend.get("accumulators?cursor=WzEsIlx1MDAwMCJd").await;
    forged.problem(400, "invalid_cursor");
    for query in ["contractor_id=a%20b", "cabinet_id=a/b", "flagged=1", "lost=true"] {
        world.backend.get(&format!("accumulators?{query}")).await.problem(400, "invalid_query");
    }
}
