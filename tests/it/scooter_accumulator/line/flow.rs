//! The whole way: take charged ones out, swap them into scooters, bring discharged ones back.

use serde_json::json;

use super::{Rig, cell, good, numbers, outcomes, technician};

#[actix_web::test]
async fn accumulators_go_out_into_scooters_and_come_back() {
    let rig = Rig::start().await;
    rig.habit(good());
    // 1-4: which cabinet has how many; two of them are booked, the most charged first.
    let near = rig.backend.get("cabinets?near=55.75,37.61&radius_m=1000&available=2").await;
    assert_eq!(near.expect(200)["items"][0]["counts"]["available"], 3);
    let booking = rig.book("pickup", 2).await;
    // 5-8: the doors open, and the accumulators are the technician's.
    let executed = rig.execute(&booking, json!({})).await.expect(200);
    assert_eq!(numbers(&executed), [1, 2]);
    let settled = rig.becomes(&booking, "completed").await;
    assert_eq!(outcomes(&settled), ["taken", "taken"]);
    for id in ["acc-1", "acc-2"] {
        assert_eq!(rig.place_of(id).await, technician());
    }
    assert_eq!(rig.place_of("acc-3").await, cell(3));
    // 10-11: after each swap the discharged one is his.
    rig.backend
        .post("accumulators", json!({"id": "old-1", "charge": 5, "place": {"scooter_id": "s-1"}}))
        .await
        .expect(201);
    let swap = json!({"contractor_id": "t", "charged_accumulator_id": "acc-1",
        "discharged_accumulator_id": "old-1"});
    rig.backend.post("scooters/s-1/swap", swap).await.expect(200);
    assert_eq!(rig.place_of("acc-1").await, json!({"scooter_id": "s-1"}));
    assert_eq!(rig.place_of("old-1").await, technician());
    // And back: he brings the discharged one, and one that he did not need.
    let carried = rig.app.sandbox.cabinets().carried();
    let unused = carried.into_iter().find(|one| one.id == "acc-2").unwrap();
    let old = fleet::sandbox::cabinets::Accumulator { id: "old-1".into(), charge: 5.0 };
    rig.app.sandbox.cabinets().set_carried(vec![old, unused]).unwrap();
    let bringing = rig.book("return", 2).await;
    let named = json!({"accumulator_ids": ["old-1", "acc-2"]});
    let executed = rig.execute(&bringing, named).await.expect(200);
    assert_eq!(executed["cells"].as_array().unwrap().len(), 2);
    let settled = rig.becomes(&bringing, "completed").await;
    assert_eq!(outcomes(&settled), ["returned", "returned"]);
    for cell in settled["cells"].as_array().unwrap() {
        let place = json!({"cabinet_id": "cab-1", "cell": cell["n"]});
        assert_eq!(rig.place_of(cell["accumulator_id"].as_str().unwrap()).await, place);
    }
    // Every step is in the history.
    let history = rig.backend.get("accumulators/acc-2/history").await.expect(200);
    let kinds: Vec<&str> = history["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["kind"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds.iter().rev().copied().collect::<Vec<_>>(),
        ["created", "reported", "unlocked", "returned"]
    );
    rig.assert_sound().await;
}
