//! The stand-in for fleet-parks, against its contract.

use serde_json::json;

use super::plain::{Plain, code};

#[actix_web::test]
async fn parks_are_there_by_their_ids() {
    let plain = Plain::start("fleet-parks", "/v1/parks/");
    let (status, park) = plain.get("park-2").await;
    assert_eq!(status, 200);
    let expected = json!({
        "id": "park-2", "dispatch_mode": "whitelabel", "locale": "ru", "currency": "KZT",
        "time_zone": "Asia/Almaty", "country_id": "kaz", "city_id": "almaty", "is_active": true,
    });
    assert_eq!(park, expected);
    let (_, park) = plain.get("park-of-a-test").await;
    assert_eq!((&park["dispatch_mode"], &park["currency"]), (&json!("saas"), &json!("RUB")));
    let (_, park) = plain.get("inactive-1").await;
    assert_eq!((&park["id"], &park["is_active"]), (&json!("inactive-1"), &json!(false)));
    for id in ["unknown-1", "else"] {
        let (status, refused) = plain.get(id).await;
        assert_eq!((status, code(&refused)), (404, "not_found"), "{id}");
    }
    assert_eq!(plain.sandbox.calls("fleet-parks", "GET /v1/parks/{park_id}"), 5);
}

#[actix_web::test]
async fn a_park_can_change() {
    let plain = Plain::start("fleet-parks", "/v1/parks/");
    plain.sandbox.change_park("park-1", json!({"currency": "BYN"})).unwrap();
    let change = Some(json!({"is_active": false}));
    assert_eq!(plain.control("PUT", "/fleet-parks/else", change).await.0, 204);
    let (_, park) = plain.get("park-1").await;
    assert_eq!((&park["currency"], &park["time_zone"]), (&json!("BYN"), &json!("Europe/Moscow")));
    assert_eq!(plain.get("else").await.1["is_active"], false);
    assert_eq!(plain.control("DELETE", "/fleet-parks/else", None).await.0, 204);
    assert_eq!(plain.get("else").await.0, 404);
    let unknown = Some(json!({"colour": "red"}));
    assert_eq!(plain.control("PUT", "/fleet-parks/park-1", unknown).await.0, 400);
}
