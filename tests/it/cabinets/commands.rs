//! What a cabinet makes of commands, and what may be wrong with its answers.

use fleet::sandbox::cabinets::{CabinetFaults, Cell};
use serde_json::json;

use super::{COMMANDS, Rig, command, eventually};
use crate::support::mqtt::next;

#[actix_web::test]
async fn doors_open_are_emptied_and_shut() {
    let mut rig = Rig::start().await;
    rig.command("c-1", "unlock_cells", &[1, 3]).await;
    let result = rig.result("c-1").await;
    assert_eq!(result["ok"], true);
    assert_eq!(result["cells"], json!([{"n": 1, "state": "open"}, {"n": 3, "state": "open"}]));
    assert_eq!(rig.cabinet.take(1).unwrap().id, "acc-1");
    rig.cabinet.shut(1).unwrap();
    assert_eq!(rig.event("cell_changed").await["cells"], json!([{"n": 1, "state": "empty"}]));
    rig.cabinet.shut(3).unwrap();
    let left = json!([{"n": 3, "state": "charged", "accumulator_id": "acc-3", "charge": 100}]);
    assert_eq!(rig.event("cell_changed").await["cells"], left);
    let openings: Vec<usize> = rig.cabinet.openings().iter().map(|opening| opening.cell).collect();
    assert_eq!(openings, [1, 3]);
}

#[actix_web::test]
async fn a_command_that_comes_again_is_answered_again_and_opens_nothing() {
    let mut rig = Rig::start().await;
    for _ in 0..3 {
        rig.command("c-1", "unlock_cells", &[2]).await;
        assert_eq!(rig.result("c-1").await["cells"][0]["state"], "open");
    }
    assert_eq!(rig.cabinet.openings().len(), 1);
    assert_eq!(rig.cabinet.commands().len(), 3);
    rig.cabinet.restart(true);
    rig.event("online").await;
    rig.command("c-1", "unlock_cells", &[2]).await;
    rig.result("c-1").await;
    assert_eq!(rig.cabinet.openings().len(), 2, "it has forgotten");
}

#[actix_web::test]
async fn what_has_expired_by_its_clock_or_waited_too_long_opens_nothing() {
    let mut rig = Rig::start().await;
    rig.cabinet.set_faults(CabinetFaults { skew_s: 60, ..CabinetFaults::default() });
    rig.command("c-1", "unlock_cells", &[1]).await;
    assert_eq!(rig.result("c-1").await["error"], "expired");
    // Two days: a command of ten seconds has expired before it is looked at.
    let two_seconds_left = CabinetFaults { skew_s: 8, slow_ms: 2100, ..CabinetFaults::default() };
    rig.cabinet.set_faults(two_seconds_left);
    rig.command("c-2", "unlock_cells", &[1]).await;
    assert_eq!(rig.result("c-2").await["error"], "expired");
    assert!(rig.cabinet.openings().is_empty());
    let behind = CabinetFaults { skew_s: -600, ..CabinetFaults::default() };
    rig.cabinet.set_faults(behind);
    rig.command("c-3", "unlock_cells", &[1]).await;
    assert_eq!(rig.result("c-3").await["ok"], true);
}

#[actix_web::test]
async fn the_other_commands_do_what_they_say() {
    let mut rig = Rig::start().await;
    rig.command("c-1", "get_state", &[]).await;
    assert_eq!(rig.result("c-1").await["ok"], true);
    assert_eq!(rig.event("state").await["cells"].as_array().unwrap().len(), 5);
    rig.command("c-2", "unlock_cells", &[1]).await;
    rig.result("c-2").await;
    rig.command("c-3", "lock_cells", &[1]).await;
    assert_eq!(rig.result("c-3").await["cells"][0]["state"], "charged");
    rig.command("c-4", "unlock_cells", &[9]).await;
    assert_eq!(rig.result("c-4").await["error"], "unknown_cell");
    rig.command("c-5", "reboot", &[]).await;
    assert_eq!(rig.result("c-5").await["ok"], true);
    rig.event("offline").await;
    rig.event("online").await;
    rig.event("state").await;
}

#[actix_web::test]
async fn answers_are_late_doubled_missing_or_in_another_order() {
    let mut rig = Rig::start().await;
    rig.cabinet.set_faults(CabinetFaults { copies: 2, late_ms: 50, ..CabinetFaults::default() });
    rig.command("c-1", "unlock_cells", &[1]).await;
    let first = rig.result("c-1").await;
    assert_eq!(rig.result("c-1").await["event_id"], first["event_id"]);
    assert_eq!(rig.result("c-1").await, first);

    rig.cabinet.set_faults(CabinetFaults { mute: true, ..CabinetFaults::default() });
    rig.command("c-2", "unlock_cells", &[2]).await;
    eventually("the door opens", async || rig.cabinet.cells()[1].open).await;
    rig.cabinet.set_faults(CabinetFaults { ignores: true, ..CabinetFaults::default() });
    rig.command("c-3", "unlock_cells", &[3]).await;
    eventually("it came", async || rig.cabinet.commands().len() == 3).await;
    assert!(!rig.cabinet.cells()[2].open);

    rig.cabinet.set_faults(CabinetFaults { holds: true, ..CabinetFaults::default() });
    rig.command("c-4", "unlock_cells", &[4]).await;
    eventually("the door opens", async || rig.cabinet.cells()[3].open).await;
    rig.cabinet.shut(4).unwrap();
    rig.cabinet.release(true);
    let (_, first) = next(&mut rig.events).await;
    assert!(first.contains("cell_changed"), "{first}");
    rig.result("c-4").await;
}

#[actix_web::test]
async fn cells_break_and_jam_and_the_cabinet_is_busy() {
    let mut rig = Rig::start().await;
    rig.cabinet.set_cell(1, Cell { jammed: true, ..Cell::holding("acc-1", 100.0) }).unwrap();
    rig.command("c-1", "unlock_cells", &[1, 3]).await;
    let result = rig.result("c-1").await;
    assert_eq!((&result["ok"], &result["cells"][0]["state"]), (&json!(true), &json!("broken")));
    assert_eq!(result["cells"][1]["state"], "open");
    rig.command("c-2", "unlock_cells", &[1]).await;
    assert_eq!(rig.result("c-2").await["error"], "jammed");
    rig.cabinet.set_faults(CabinetFaults { busy: true, ..CabinetFaults::default() });
    rig.command("c-3", "unlock_cells", &[2]).await;
    assert_eq!(rig.result("c-3").await["error"], "busy");
}

#[actix_web::test]
async fn garbage_does_not_disturb_it() {
    let mut rig = Rig::start().await;
    for text in ["", "{", "[]", r#"{"v": 1}"#, "\u{0}"] {
        rig.server.publish(COMMANDS, text).await;
    }
    let mut other_version = command("c-1", "unlock_cells", &[1]);
    other_version["v"] = json!(2);
    rig.server.publish(COMMANDS, other_version.to_string()).await;
    assert_eq!(rig.result("c-1").await["ok"], false);
    assert!(rig.cabinet.openings().is_empty());
}
