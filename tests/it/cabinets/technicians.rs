//! What people do at a cabinet by themselves.

use fleet::sandbox::cabinets::{Accumulator, Habit};
use serde_json::json;

use super::{COMMANDS, Rig, command};

#[actix_web::test]
async fn they_take_what_was_booked_and_more_or_less() {
    let mut rig = Rig::start().await;
    let usual = Habit { acts: true, ..Habit::default() };
    rig.cabinets().set_habit(Habit { forgets_one: true, ..usual.clone() });
    rig.command("c-1", "unlock_cells", &[1, 2]).await;
    rig.result("c-1").await;
    let left = rig.event("cell_changed").await;
    assert_eq!(left["cells"][0]["accumulator_id"], "acc-1", "the first was forgotten");
    assert_eq!(rig.event("cell_changed").await["cells"], json!([{"n": 2, "state": "empty"}]));

    rig.cabinets().set_habit(Habit { takes_one_unbooked: true, ..usual });
    rig.command("c-2", "unlock_cells", &[3]).await;
    rig.result("c-2").await;
    assert_eq!(rig.event("cell_changed").await["cells"], json!([{"n": 3, "state": "empty"}]));
    assert_eq!(rig.event("cell_changed").await["cells"], json!([{"n": 1, "state": "empty"}]));
    let carried: Vec<String> = rig.cabinets().carried().into_iter().map(|it| it.id).collect();
    assert_eq!(carried, ["acc-2", "acc-3", "acc-1"]);
}

#[actix_web::test]
async fn they_put_in_what_they_carry() {
    let mut rig = Rig::start().await;
    rig.cabinets().set_habit(Habit { acts: true, ..Habit::default() });
    let flat = Accumulator { id: "acc-9".to_owned(), charge: 7.0 };
    rig.cabinets().set_carried(vec![flat]).unwrap();
    let mut command = command("c-1", "unlock_cells", &[4, 5]);
    command["purpose"] = json!("return");
    rig.server.publish(COMMANDS, command.to_string()).await;
    rig.result("c-1").await;
    let put_in = rig.event("cell_changed").await;
    let charging = json!([{"n": 4, "state": "charging", "accumulator_id": "acc-9", "charge": 7}]);
    assert_eq!(put_in["cells"], charging);
    assert_eq!(rig.event("cell_changed").await["cells"], json!([{"n": 5, "state": "empty"}]));
}

#[actix_web::test]
async fn they_leave_doors_open() {
    let mut rig = Rig::start().await;
    rig.cabinets().set_habit(Habit { acts: true, never_shuts: true, ..Habit::default() });
    rig.command("c-1", "unlock_cells", &[1]).await;
    rig.result("c-1").await;
    super::eventually("they have taken it", async || rig.cabinets().carried().len() == 1).await;
    assert!(rig.cabinet.cells()[0].open);
    assert!(rig.cabinet.put(1, "acc-1", 3.0).is_ok());
    assert!(rig.cabinet.put(1, "acc-2", 3.0).is_err(), "it is full");
    assert!(rig.cabinet.put(2, "acc-3", 3.0).is_err(), "it is shut");
    assert!(rig.cabinet.take(2).is_err(), "it is shut");
    assert!(rig.cabinet.shut(2).is_err(), "it is shut");
}
