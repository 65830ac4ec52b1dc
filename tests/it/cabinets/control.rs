//! The control routes, as a person uses them.

use serde_json::{Value, json};

use super::{CABINET, Rig};
use crate::support::client::Caller;

fn caller(rig: &Rig) -> Caller {
    Caller::anonymous(format!("http://{}", rig.sandbox.addr())).below("__sandbox")
}

#[actix_web::test]
async fn a_pick_up_by_hand() {
    let mut rig = Rig::start().await;
    let caller = caller(&rig);
    let all = caller.get("cabinets").await.expect(200);
    assert_eq!(all, json!([{"id": CABINET, "connected": true, "cells": 5, "open": 0}]));
    rig.command("c-1", "unlock_cells", &[1]).await;
    rig.result("c-1").await;
    let taken = caller.post("cabinets/cab-1/cells/1/take", json!({})).await.expect(200);
    assert_eq!(taken, json!({"id": "acc-1", "charge": 100.0}));
    let flat = json!({"id": "acc-7", "charge": 12});
    caller.post("cabinets/cab-1/cells/1/put", flat).await.expect(204);
    caller.post("cabinets/cab-1/cells/1/shut", json!({})).await.expect(204);
    assert_eq!(rig.event("cell_changed").await["cells"][0]["accumulator_id"], "acc-7");
    let one = caller.get("cabinets/cab-1").await.expect(200);
    assert_eq!(one["openings"][0]["command_id"], "c-1");
    assert_eq!(one["commands"][0]["type"], "unlock_cells");
    let again = caller.post("cabinets/cab-1/cells/1/shut", json!({})).await.expect(400);
    assert_eq!(again["code"], "bad_request");
}

#[actix_web::test]
async fn faults_cells_and_power() {
    let mut rig = Rig::start().await;
    let caller = caller(&rig);
    let put =
        async |path: &str, body: Value| caller.put(&format!("cabinets/{path}"), body).await.status;
    assert_eq!(put("cab-1/faults", json!({"busy": true})).await, 204);
    rig.command("c-1", "unlock_cells", &[1]).await;
    assert_eq!(rig.result("c-1").await["error"], "busy");
    assert_eq!(put("cab-1/faults", json!({})).await, 204);
    assert_eq!(put("cab-1/faults", json!({"lazy": true})).await, 400);
    assert_eq!(put("cab-1/cells/4", json!({"broken": true})).await, 204);
    assert_eq!(put("cab-1/cells/6", json!({})).await, 400);
    assert_eq!(put("technicians", json!({"acts": true, "after_ms": 5})).await, 204);
    assert_eq!(put("carried", json!([{"id": "acc-8", "charge": 1.0}])).await, 204);
    assert_eq!(caller.get("cabinets/carried").await.expect(200)[0]["id"], "acc-8");

    let post =
        async |path: &str, body: Value| caller.post(&format!("cabinets/{path}"), body).await.status;
    assert_eq!(post("cab-1/report", json!({})).await, 204);
    assert_eq!(rig.event("state").await["cells"][3]["state"], "broken");
    assert_eq!(post("cab-1/power", json!({"on": false})).await, 204);
    rig.event("offline").await;
    assert_eq!(post("cab-1/power", json!({"on": true})).await, 204);
    rig.event("online").await;
    rig.event("state").await;
    assert_eq!(post("cab-1/power", json!({})).await, 400);
    assert_eq!(post("cab-1/publish", json!({"text": "{}"})).await, 204);
    assert_eq!(post("cab-1/dance", json!({})).await, 400);
    assert_eq!(post("cab-9/report", json!({})).await, 404);
    assert_eq!(caller.post("cabinets", json!({"id": "cab-2", "cells": 3})).await.status, 204);
    assert_eq!(caller.post("cabinets", json!({"id": "cab-2"})).await.status, 400);
    assert_eq!(rig.event("state").await["cells"].as_array().unwrap().len(), 3);
}
