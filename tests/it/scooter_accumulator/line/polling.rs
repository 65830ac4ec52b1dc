//! Cabinets are asked for their state in turn.

use std::time::Duration;

use fleet::sandbox::cabinets::{CabinetFaults, Cell};
use serde_json::json;

use super::Rig;
use crate::support::eventually;

fn asked(rig: &Rig) -> usize {
    rig.cabinet.commands().iter().filter(|command| command["type"] == "get_state").count()
}

#[actix_web::test]
async fn what_a_cabinet_does_not_say_by_itself_is_asked_for() {
    let rig = Rig::with("[scooter_accumulator.commands]\npoll_ms = 600\n").await;
    // Nobody tells of it.
    rig.cabinet.set_cell(4, Cell::holding("silent", 50.0)).unwrap();
    rig.comes_to("silent", &super::cell(4)).await;
    assert!(asked(&rig) > 0);
    assert_eq!(rig.events("command_result", "unknown_command").await, 0);
    // A question is not a command that anybody gave.
    assert_eq!(
        rig.app.database().count("SELECT count(*) FROM scooter_accumulator.commands").await,
        0
    );
    assert!(rig.app.count("scooter_accumulator_polls_total").await > 0);
}

#[actix_web::test]
async fn instances_share_the_turns() {
    let rig = Rig::with("[scooter_accumulator.commands]\npoll_ms = 1000\n").await;
    let _others = (
        rig.another("[scooter_accumulator.commands]\npoll_ms = 1000\n").await,
        rig.another("[scooter_accumulator.commands]\npoll_ms = 1000\n").await,
    );
    let started = std::time::Instant::now();
    let before = asked(&rig);
    eventually("some turns have passed", async || asked(&rig) >= before + 3).await;
    // Three instances that each asked for themselves would have been three times as quick.
    assert!(started.elapsed() >= Duration::from_millis(1_900), "{:?}", started.elapsed());
}

#[actix_web::test]
async fn a_cabinet_that_falls_silent_is_offline_and_comes_back_with_its_next_word() {
    let rig =
        Rig::with("[scooter_accumulator.commands]\npoll_ms = 300\noffline_after_ms = 1500\n").await;
    let online = async |expected: bool| {
        eventually("as expected", async || {
            rig.backend.get("cabinets/cab-1").await.json()["online"] == expected
        })
        .await;
    };
    rig.cabinet.set_faults(CabinetFaults { ignores: true, ..CabinetFaults::default() });
    online(false).await;
    rig.cabinet.set_faults(CabinetFaults::default());
    online(true).await;
}

#[actix_web::test]
async fn while_the_broker_is_away_no_cabinet_falls_silent() {
    let mut rig =
        Rig::with("[scooter_accumulator.commands]\npoll_ms = 300\noffline_after_ms = 4000\n").await;
    // The last word of a broker that is shut down in order would be that all are gone.
    rig.broker.kill();
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(rig.backend.get("cabinets/cab-1").await.json()["online"], true);
    rig.backend
        .post(
            "bookings",
            json!({"cabinet_id": "cab-1", "contractor_id": "t", "kind": "pickup", "count": 1}),
        )
        .await
        .expect(201);
}
