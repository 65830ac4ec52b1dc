//! Many at once, over two instances: nothing is booked twice, and everything is in one place.

use futures_util::future::{join, join_all};

use super::*;

#[actix_web::test]
async fn hundreds_of_bookings_of_one_cabinet_never_book_twice() {
    let world = World::start().await;
    let other = world.another("").await;
    world.filled("c", 40, &[90; 24]).await;
    let calls = (0..300).map(|number: i32| {
        let caller = if number % 2 == 0 { &world.backend } else { &other.backend };
        let kind = if number % 3 == 0 { "return" } else { "pickup" };
        let body = booking("c", kind, 1 + number % 3);
        async move { caller.post("bookings", body).await }
    });
    let replies = join_all(calls).await;
    let (mut cells, mut accumulators) = (Vec::new(), Vec::new());
    for reply in &replies {
        if reply.status == 201 {
            let made = reply.json();
            accumulators.extend(booked(&made));
            cells
                .extend(made["cells"].as_array().unwrap().iter().map(|cell| cell["n"].to_string()));
            continue;
        }
        let code = reply.expect(409)["code"].clone();
        assert!(["not_enough_accumulators", "not_enough_cells"].contains(&code.as_str().unwrap()));
    }
    // All is booked in the end, but what no booking's size fits.
    let left = world.counts("c").await;
    assert!(left["available"].as_i64().unwrap() <= 2 && left["empty"].as_i64().unwrap() <= 2);
    for booked in [&mut cells, &mut accumulators] {
        let all = booked.len();
        booked.sort_unstable();
        booked.dedup();
        assert_eq!(booked.len(), all, "booked twice");
    }
    assert_eq!(left["booked"].as_i64().unwrap(), i64::try_from(cells.len()).unwrap());
    world.assert_sound().await;
}

#[actix_web::test]
async fn swaps_of_the_same_accumulators_happen_once() {
    let world = World::start().await;
    let other = world.another("").await;
    for number in 0..4 {
        world.accumulator(&format!("full-{number}"), 99, &contractor("t")).await;
        world.accumulator(&format!("flat-{number}"), 3, &scooter(&format!("s-{number}"))).await;
    }
    // Each scooter by all, and each accumulator for all scooters, named in both orders.
    let calls = (0..64).map(|number: usize| {
        let caller = if number.is_multiple_of(2) { &world.backend } else { &other.backend };
        let (full, at) = (number % 4, (number / 4) % 4);
        let body = json!({
            "contractor_id": "t", "charged_accumulator_id": format!("full-{full}"),
            "discharged_accumulator_id": format!("flat-{at}"),
        });
        async move { caller.post(&format!("scooters/s-{at}/swap"), body).await }
    });
    let mut swapped = 0;
    for reply in join_all(calls).await {
        if reply.status == 200 {
            swapped += 1;
        } else {
            let code = reply.expect(409)["code"].as_str().unwrap().to_owned();
            assert!(code.ends_with("_elsewhere"), "{code}");
        }
    }
    assert!((1..=4).contains(&swapped), "{swapped}");
    for number in 0..4 {
        let in_it = world.backend.get(&format!("accumulators?scooter_id=s-{number}")).await;
        assert_eq!(ids(&in_it.expect(200)).len(), 1);
    }
    let list = world.backend.get("accumulators?contractor_id=t").await.expect(200);
    assert_eq!(ids(&list).len(), 4);
    world.assert_sound().await;
}

#[actix_web::test]
async fn two_into_one_empty_scooter_are_one() {
    let world = World::start().await;
    for round in 0..5 {
        let (one, two) = (format!("a-{round}"), format!("b-{round}"));
        for id in [&one, &two] {
            world.accumulator(id, 99, &contractor("t")).await;
        }
        let swap = async |id: &str| {
            let body = json!({ "contractor_id": "t", "charged_accumulator_id": id });
            world.backend.post(&format!("scooters/s-{round}/swap"), body).await.status
        };
        let mut statuses: [u16; 2] = join(swap(&one), swap(&two)).await.into();
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409]);
    }
}

#[actix_web::test]
async fn accumulators_that_people_move_crosswise_do_not_get_stuck() {
    let world = World::start().await;
    let other = world.another("").await;
    for id in ["c", "d", "e"] {
        world.filled(id, 6, &[90, 90]).await;
    }
    let movers = (0..6).map(|mover: usize| {
        let caller = if mover.is_multiple_of(2) { &world.backend } else { &other.backend };
        async move {
            let mut stuck = 0;
            for step in 0..12_usize {
                let id = format!("{}-{}", ["c", "d", "e"][(mover + step) % 3], 1 + mover % 2);
                let n = i32::try_from(1 + (mover * 5 + step) % 6).unwrap();
                let to = cell(["e", "c", "d"][(mover * 2 + step) % 3], n);
                let body = json!({ "charge": 90, "place": to });
                let reply = caller.put(&format!("accumulators/{id}"), body).await;
                match reply.status {
                    200 => {}
                    409 => {
                        let code = reply.json()["code"].as_str().unwrap().to_owned();
                        assert!(
                            ["cell_occupied", "accumulator_booked", "cell_booked"]
                                .contains(&code.as_str()),
                            "{code}"
                        );
                    }
                    _ => {
                        assert_eq!(reply.problem(503, "accumulator_moved")["status"], 503);
                        stuck += 1;
                    }
                }
            }
            stuck
        }
    });
    let bookers = (0..3).map(|booker: usize| {
        let caller = &other.backend;
        async move {
            for _ in 0..8 {
                let reply =
                    caller.post("bookings", booking(["c", "d", "e"][booker], "pickup", 1)).await;
                if reply.status == 201 {
                    caller.delete(&format!("bookings/{}", id_of(&reply.json()))).await.expect(204);
                } else {
                    reply.problem(409, "not_enough_accumulators");
                }
            }
        }
    });
    join(join_all(movers), join_all(bookers)).await;
    world.assert_sound().await;
    let all = "SELECT count(*) FROM scooter_accumulator.accumulators WHERE cabinet_id IS NOT NULL";
    assert_eq!(world.app.database().count(all).await, 6);
}
