//! The stand-in for feeds, against its contract.

use serde_json::{Value, json};

use super::plain::{Plain, code};

const PARK: &str = "park-1";

fn plain() -> Plain {
    Plain::start("feeds", "/v1/feeds/")
}

fn channel(id: &str) -> String {
    format!("contractor:{PARK}:{id}")
}

fn request(request_id: &str, ids: &[&str]) -> Value {
    let channels: Vec<_> = ids.iter().map(|id| json!({"channel": channel(id)})).collect();
    json!({
        "request_id": request_id, "service": "fleet-communications", "channels": channels,
        "payload": {"text": "Здравствуйте", "title": "t", "kind": "mailing"},
        "expire_at": "2040-01-01T00:00:00Z",
    })
}

#[actix_web::test]
async fn a_lost_answer_does_not_double_a_delivery() {
    let plain = plain();
    let create = request("r-1", &["a", "b"]);
    plain.sandbox.set_fault("feeds", json!({"kind": "close_after_work", "times": 1})).unwrap();
    assert!(plain.try_post("create", &create).await.is_err());
    let (status, first) = plain.post("create", &create).await;
    assert_eq!((status, &first["rejected"]), (200, &json!([])));
    let ids = first["feed_ids"].as_object().unwrap();
    assert_eq!(ids.len(), 2);
    assert!(ids[&channel("a")].is_string() && ids[&channel("a")] != ids[&channel("b")]);
    assert_eq!(plain.post("create", &create).await, (200, first));

    let delivered = plain.sandbox.delivered(PARK);
    assert_eq!(delivered, [(channel("a"), 1), (channel("b"), 1)].into());
    let counts = json!({
        "drivers": 2, "deliveries": 2, "doubled": 0, "removed": 0, "rejected": 0, "requests": 1,
        "mismatches": 0,
    });
    let path = format!("/feeds/delivered?park={PARK}");
    assert_eq!(plain.control("GET", &path, None).await, (200, counts));
    assert!(plain.sandbox.delivered("park-2").is_empty());

    plain.post("create", &request("r-2", &["b"])).await;
    assert_eq!(plain.sandbox.delivered_counts(Some(PARK)).doubled, 1, "by another request");
    assert_eq!(plain.control("DELETE", "/feeds/delivered", None).await.0, 204);
    assert_eq!(plain.sandbox.delivered_counts(None).deliveries, 0);
}

#[actix_web::test]
async fn some_channels_are_rejected_and_the_rest_is_delivered() {
    let plain = plain();
    assert!(plain.sandbox.reject_channel(&channel("gone"), Some("unknown_channel")));
    let mut create = request("r", &["a", "b-blocked", "gone", "long"]);
    create["channels"][3]["payload"] = json!({"text": "я".repeat(4_097)});
    create["channels"].as_array_mut().unwrap().push(json!({"channel": "scooter:1"}));
    let (_, created) = plain.post("create", &create).await;
    let expected = json!([
        {"channel": channel("b-blocked"), "code": "blocked"},
        {"channel": channel("gone"), "code": "unknown_channel"},
        {"channel": channel("long"), "code": "bad_text"},
        {"channel": "scooter:1", "code": "bad_channel"},
    ]);
    assert_eq!(created["rejected"], expected);
    assert_eq!(plain.sandbox.delivered(PARK), [(channel("a"), 1)].into());

    let path = format!("/feeds/rejected/{}", channel("gone"));
    assert_eq!(plain.control("DELETE", &path, None).await.0, 204);
    assert_eq!(plain.post("create", &create).await.1, created, "the same answer");
    let (_, created) = plain.post("create", &request("r-2", &["gone"])).await;
    assert_eq!(created["rejected"], json!([]));
    assert_eq!(plain.control("PUT", &path, Some(json!({"code": "full"}))).await.0, 204);
    let (_, created) = plain.post("create", &request("r-3", &["gone"])).await;
    assert_eq!(created["rejected"][0]["code"], "full");
}

#[actix_web::test]
async fn what_was_delivered_is_removed_once() {
    let plain = plain();
    let create = request("r", &["a", "b"]);
    let remove = json!({"request_id": "r"});
    assert_eq!(plain.post("remove", &remove).await, (200, json!({"removed": 0})));
    plain.post("create", &create).await;
    assert_eq!(plain.post("remove", &remove).await, (200, json!({"removed": 2})));
    assert_eq!(plain.post("remove", &remove).await, (200, json!({"removed": 0})));
    assert_eq!(plain.post("create", &create).await.0, 200);
    let counts = plain.sandbox.delivered_counts(Some(PARK));
    assert_eq!((counts.deliveries, counts.removed), (2, 2));
}

#[actix_web::test]
async fn what_breaks_the_contract_is_refused() {
    let plain = plain();
    let with = |path: &str, value: Value| {
        let mut body = request("r", &["a"]);
        *body.pointer_mut(path).unwrap() = value;
        body
    };
    let ids: Vec<_> = (0..1_001).map(|id| id.to_string()).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    for (body, expected) in [
        (request("r", &ids), "bad_channels"),
        (request("r", &[]), "bad_channels"),
        (request("", &["a"]), "bad_request"),
        (with("/service", json!("other")), "bad_request"),
        (with("/expire_at", json!("tomorrow")), "bad_request"),
        (with("/payload", json!({"text": "t", "kind": "k", "colour": 1})), "bad_request"),
        (with("/payload/text", json!("")), "bad_payload"),
        (with("/payload/text", json!("я".repeat(4_097))), "bad_payload"),
    ] {
        let (status, refused) = plain.post("create", &body).await;
        assert_eq!((status, code(&refused)), (400, expected));
    }
    assert_eq!(plain.sandbox.delivered_counts(None).requests, 0);
    let full = with("/payload/text", json!("я".repeat(4_096)));
    assert_eq!(plain.post("create", &full).await.0, 200);
    assert_eq!(plain.post("create", &request("r-2", &ids[1..])).await.0, 200);
}
