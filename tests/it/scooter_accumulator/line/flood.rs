//! A cabinet that says the same tens of thousands of times, while the others have something to tell.

use fleet::sandbox::cabinets::{Broker, Cabinet, Cell};
use serde_json::json;

use super::{DOMAIN, QUICK, event};
use crate::support::app::TestApp;
use crate::support::eventually;
use crate::support::mosquitto::Mosquitto;

/// The first of them floods.
const CABINETS: usize = 51;
const FLOOD: usize = 20_000;
/// What each of the others tells.
const STATES: u8 = 5;
/// Far less room than the flood is long, and enough for all others.
const ROOM: &str = "max_waiting = 1500\nmax_waiting_per_topic = 100\n";

/// Has another charge in its cell, and says so.
fn tell(cabinet: &Cabinet, accumulator: &str, charge: u8) {
    cabinet.set_cell(1, Cell::holding(accumulator, f64::from(charge))).unwrap();
    cabinet.report();
}

#[actix_web::test]
async fn a_cabinet_that_floods_pushes_out_nothing_that_the_others_tell() {
    let names: Vec<String> = (0..CABINETS).map(|number| format!("flood-{number}")).collect();
    let broker = Mosquitto::start(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let app = TestApp::builder()
        .domains(&[DOMAIN])
        .config(broker.section() + ROOM)
        .config(QUICK)
        .start()
        .await;
    app.connected("mqtt").await;
    let backend = app.internal(DOMAIN);
    let url = broker.url();
    app.sandbox.cabinets().use_broker(Broker { url, password: "{cabinet_id}-secret".into() });
    let mut cabinets = Vec::new();
    for name in &names {
        let body = json!({"id": name, "lat": 55.75, "lon": 37.61, "cell_count": 1});
        backend.post("cabinets", body).await.expect(201);
        cabinets.push(app.sandbox.cabinets().add(name, vec![Cell::empty()]).unwrap());
    }
    eventually("all cabinets are there", async || {
        let list = backend.get("cabinets?limit=100").await.expect(200);
        list["items"].as_array().unwrap().iter().all(|cabinet| cabinet["online"] == true)
    })
    .await;

    // Nothing is applied meanwhile: whatever has no room now is lost.
    let mut blocker = app.database().connect().await;
    let lock = blocker.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE scooter_accumulator.applied_events").await.unwrap();
    let received = async || app.count("mqtt_received_total").await;
    let before = received().await;
    let others = cabinets.len() - 1;
    for charge in 1..=STATES {
        for _ in 0..FLOOD / usize::from(STATES) {
            cabinets[0].publish(None, event("online", json!({})).to_string());
        }
        for (cabinet, name) in cabinets.iter().zip(&names).skip(1) {
            tell(cabinet, &format!("acc-{name}"), charge);
        }
    }
    let told = FLOOD + others * usize::from(STATES);
    eventually("everything has come from the broker", async || {
        received().await >= before + u64::try_from(told).unwrap()
    })
    .await;
    let dropped =
        async |reason: &str| app.count(&format!("mqtt_dropped_total{{reason=\"{reason}\"}}")).await;
    assert!(dropped("topic_full").await > u64::try_from(FLOOD / 2).unwrap(), "it is cut short");
    assert_eq!(dropped("full").await, 0, "nobody else is");
    lock.rollback().await.unwrap();

    let last = format!(
        "SELECT count(*) FROM scooter_accumulator.accumulators WHERE charge = {STATES} \
         AND cabinet_id = replace(id, 'acc-', '')"
    );
    let others = i64::try_from(others).unwrap();
    eventually("the last that each of the others told is applied", async || {
        app.database().count(&last).await == others
    })
    .await;
}
