//! `{first_name}` becomes each driver's own.

use super::*;

/// Each channel's own text in the last request that feeds got, and the common one.
fn shown(office: &Office) -> (BTreeMap<String, Value>, Value) {
    let (_, body) = office.app.sandbox.last_request("feeds", "create").expect("a request");
    let body: Value = serde_json::from_slice(&body).unwrap();
    let channels = body["channels"].as_array().unwrap().iter();
    let texts = channels.map(|to| (id_of(to, "channel"), to["payload"]["text"].clone()));
    (texts.collect(), body["payload"].clone())
}

#[actix_web::test]
async fn each_driver_reads_his_own_name() {
    let office = Office::of_drivers(0).await;
    for (id, name) in [("a", "Анна"), ("b", ""), ("c", "Bo\u{0}b"), ("d", "{first_name}")] {
        office.app.sandbox.set_driver(PARK, id, json!({"first_name": name})).unwrap();
    }
    let id = office.order("Hi {first_name}, {first_name}! {} { b }").await;
    let sent = office.becomes(&id, "sent").await;
    assert_eq!(sent["recipients"], recipients(4, 4, 0));
    assert_eq!(sent["message"], "Hi {first_name}, {first_name}! {} { b }");
    let (texts, common) = shown(&office);
    let expected = [
        ("a", "Hi Анна, Анна! {} { b }"),
        ("b", "Hi , ! {} { b }"),
        ("c", "Hi Bob, Bob! {} { b }"),
        ("d", "Hi {first_name}, {first_name}! {} { b }"),
    ];
    for (id, text) in expected {
        assert_eq!(texts[&channel(id)], text);
    }
    assert_eq!(texts.len(), 4);
    assert_eq!(common, json!({"text": "Hi , ! {} { b }", "kind": "mailing"}));
}

#[actix_web::test]
async fn a_message_without_names_is_sent_as_one_and_asks_for_none() {
    let office = Office::of_drivers(7).await;
    let id = office.order("Hi {} all").await;
    office.becomes(&id, "sent").await;
    let (texts, common) = shown(&office);
    assert_eq!(common["text"], "Hi {} all");
    assert!(texts.values().all(Value::is_null), "{texts:?}");
    let asked = office.app.sandbox.calls("parks", "POST /v1/driver-profiles/list");
    assert_eq!(asked, 1, "for the recipients only");
}

#[actix_web::test]
async fn names_of_a_big_park_are_asked_for_with_each_chunk() {
    let office = Office::of_drivers(2_300).await;
    let id = office.order("Hi {first_name}").await;
    let sent = office.becomes(&id, "sent").await;
    assert_eq!(sent["recipients"], recipients(2_300, 2_300, 0));
    office.assert_reached(ids(&office));
    let (texts, _) = shown(&office);
    assert_eq!(texts.len(), 300);
    assert!(
        texts.values().all(|text| text.as_str().is_some_and(|text| text.len() > 4)),
        "{texts:?}"
    );
}
