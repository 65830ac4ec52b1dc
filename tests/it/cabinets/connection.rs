//! A cabinet's connection: it comes back, tells what it could not, and has only its own topics.

use serde_json::json;

use super::{CABINET, Rig, cells, eventually};
use crate::support::mqtt::next;

#[actix_web::test]
async fn the_broker_tells_that_it_was_cut_and_itself_that_it_leaves() {
    let mut rig = Rig::start().await;
    rig.cabinet.cut();
    rig.event("offline").await;
    rig.cabinet.come_back();
    rig.event("online").await;
    rig.cabinet.leave();
    let offline = rig.event("offline").await;
    eventually("it has gone", async || !rig.cabinet.is_connected()).await;
    rig.cabinet.come_back();
    let (_, next) = next(&mut rig.events).await;
    assert!(next.contains("online"), "its will was not told: {next} after {offline}");
}

#[actix_web::test]
async fn what_happened_while_it_was_gone_is_told_when_it_is_back() {
    let mut rig = Rig::start().await;
    rig.command("c-1", "unlock_cells", &[1]).await;
    rig.result("c-1").await;
    rig.cabinet.cut();
    rig.event("offline").await;
    rig.cabinet.take(1).unwrap();
    rig.cabinet.shut(1).unwrap();
    rig.cabinet.come_back();
    let changed = rig.event("cell_changed").await;
    assert_eq!(changed["cells"], json!([{"n": 1, "state": "empty"}]));
}

#[actix_web::test]
async fn it_is_back_after_the_broker_was_killed() {
    let mut rig = Rig::start().await;
    rig.broker.kill();
    eventually("it has noticed", async || !rig.cabinet.is_connected()).await;
    rig.broker.start_again().await;
    rig.server.up().await;
    eventually("it is back", async || rig.cabinet.is_connected()).await;
    rig.command("c-1", "get_state", &[]).await;
    rig.result("c-1").await;
}

#[actix_web::test]
async fn it_can_say_anything_but_only_as_itself() {
    let mut rig = Rig::start().await;
    rig.cabinet.publish(Some("cabinets/cab-2/events"), "as another");
    rig.cabinet.publish(None, "not json");
    rig.cabinet.publish(None, vec![b'x'; 300 * 1024]);
    rig.cabinet.publish(None, "the end");
    let own = format!("cabinets/{CABINET}/events");
    assert_eq!(next(&mut rig.events).await, (own.clone(), "not json".to_owned()));
    assert_eq!(next(&mut rig.events).await, (own, "the end".to_owned()));
    assert_eq!(rig.server.count("mqtt_dropped_total{reason=\"oversized\"}"), 1);
}

#[actix_web::test]
async fn a_stranger_is_not_let_in() {
    let rig = Rig::start().await;
    let stranger = rig.cabinets().add("stranger", cells()).unwrap();
    eventually("it was refused", async || rig.broker.log().contains("not authorised")).await;
    assert!(!stranger.is_connected());
    assert!(rig.cabinets().add(CABINET, cells()).is_err(), "the name is taken");
}
