//! Several drivers, or one several times, at the same moment.

use futures_util::future::join_all;

use super::*;

/// A regulator to whom every id is everybody's: only our own rules are left.
async fn world() -> World {
    let world = World::start().await;
    let yes = json!({"kind": "answer", "status": 200, "body": {"match": true},
        "route": "/drivers/check"});
    world.app.fault("krt", yes);
    world
}

#[actix_web::test]
async fn of_many_drivers_who_give_the_same_id_one_gets_it() {
    let world = world().await;
    for round in 0..5 {
        let id = format!("contested-{round}");
        let drivers: Vec<Person> =
            [0, 1, 2, 3, 5, 6].map(|index| world.driver(index)).into_iter().collect();
        let replies = join_all(drivers.iter().map(|driver| driver.give(&id))).await;
        let bound = replies.iter().filter(|reply| reply.status == 200).count();
        assert_eq!(bound, 1, "round {round}");
        for reply in replies.iter().filter(|reply| reply.status != 200) {
            reply.problem(409, "id_bound_to_another_license");
        }
        let rows = "SELECT count(*) FROM deptrans.profiles WHERE deptrans_id = $1";
        let rows = world.app.database().query(rows, &[&id.as_bytes()]).await;
        assert_eq!(rows[0].get::<_, i64>(0), 1);
    }
}

#[actix_web::test]
async fn of_many_ids_of_one_driver_the_last_stays() {
    let world = world().await;
    let driver = world.driver(0);
    let ids: Vec<String> = (0..12).map(|n| format!("of-one-driver-{n}")).collect();
    let replies = join_all(ids.iter().map(|id| driver.give(id))).await;
    for reply in replies {
        reply.expect(200);
    }
    assert_eq!(world.bindings().await, 1);
    let updates = world.internal.get("id/updates").await.expect(200);
    let items = updates["items"].as_array().unwrap();
    let stays = items[0]["deptrans_id"].as_str().unwrap();
    assert!(items.len() == 1 && ids.iter().any(|id| id == stays));
    assert_eq!(driver.presence().await, shown(stays));
}
