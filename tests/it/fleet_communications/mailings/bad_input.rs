//! Every mistake in a body is refused before anything is stored, and told by its place.

use super::*;

fn order(change: impl FnOnce(&mut Value)) -> Value {
    let mut body = json!({"message": "x", "filter": {}});
    change(&mut body);
    body
}

#[actix_web::test]
async fn bad_orders_are_refused_at_their_place() {
    let office = Office::of_drivers(1).await;
    let long = "я".repeat(4097);
    let many: Vec<String> = (0..10_001).map(|n| n.to_string()).collect();
    for (body, pointer) in [
        (order(|b| b["message"] = json!("")), "/message"),
        (order(|b| b["message"] = json!(" \n ")), "/message"),
        (order(|b| b["message"] = json!("{first_name} ")), "/message"),
        (order(|b| b["message"] = json!(long)), "/message"),
        (order(|b| b["message"] = json!("a\u{0}b")), "/message"),
        (order(|b| b["message"] = json!("Hi {last_name}")), "/message"),
        (order(|b| b["message"] = json!(7)), "/message"),
        (json!({"message": "x"}), "/message"),
        (json!({"filter": {}}), "/message"),
        (json!({}), "/template_id"),
        (order(|b| b["template_id"] = json!(NOBODYS)), "/template_id"),
        (json!({"template_id": "a b"}), "/template_id"),
        (order(|b| b["filter"]["status"] = json!("sleeping")), "/filter/status"),
        (order(|b| b["filter"]["work_rule"] = json!("")), "/filter/work_rule"),
        (
            order(|b| b["filter"]["excl_contractor_ids"] = json!(["a", "b c"])),
            "/filter/excl_contractor_ids/1",
        ),
        (
            order(|b| b["filter"]["incl_contractor_ids"] = json!([""])),
            "/filter/incl_contractor_ids/0",
        ),
        (
            order(|b| b["filter"]["incl_contractor_ids"] = json!(many)),
            "/filter/incl_contractor_ids",
        ),
        (order(|b| b["filter"]["incl_contractor_ids"] = json!([])), "/filter/incl_contractor_ids"),
        (order(|b| b["send_at"] = json!("tomorrow")), "/send_at"),
        (order(|b| b["send_at"] = json!("2020-01-01T00:00:00Z")), "/send_at"),
        (order(|b| b["send_at"] = json!("2199-01-01T00:00:00Z")), "/send_at"),
    ] {
        office.dispatcher.post("mailings", body).await.invalid_at(pointer);
    }
    for body in
        [order(|b| b["sent_at"] = json!("x")), order(|b| b["filter"]["park_id"] = json!("park-2"))]
    {
        office.dispatcher.post("mailings", body).await.problem(400, "invalid_request");
    }
    let stored = "SELECT (SELECT count(*) FROM fleet_communications.mailing_templates) \
         + (SELECT count(*) FROM fleet_communications.mailings)";
    assert_eq!(office.app.database().count(stored).await, 0);
}

#[actix_web::test]
async fn bad_templates_previews_and_queries_are_refused() {
    let office = Office::of_drivers(1).await;
    for (body, pointer) in [
        (json!({"message": "{x}", "filter": {}}), "/message"),
        (json!({"message": "x", "filter": {"work_rule": "a b"}}), "/filter/work_rule"),
    ] {
        office.dispatcher.post("mailing-templates", body.clone()).await.invalid_at(pointer);
        let path = format!("mailing-templates/{NOBODYS}");
        office.dispatcher.put(&path, body).await.invalid_at(pointer);
    }
    let filter = json!({"filter": {"status": 1}});
    office.dispatcher.post("mailings/preview", filter).await.invalid_at("/filter/status");
    for query in
        ["status=lost", "limit=0", "limit=1001", "from=yesterday", "cursor=x", "park_id=park-2"]
    {
        let reply = office.dispatcher.get(&format!("mailings?{query}")).await;
        assert_eq!(reply.status, 400, "{query}: {}", reply.text());
    }
    office.dispatcher.get(&format!("mailings/{NOBODYS}")).await.problem(404, "mailing_not_found");
}

#[actix_web::test]
async fn the_longest_message_and_the_longest_lists_are_taken() {
    let office = Office::of_drivers(3).await;
    let mut named: Vec<String> = (0..9_997).map(|n| format!("nobody-{n}")).collect();
    named.extend(ids(&office));
    let filter =
        json!({"incl_contractor_ids": named, "excl_contractor_ids": vec!["x".repeat(64); 10_000]});
    let id = office.order_to(&"я".repeat(4096), filter).await;
    let sent = office.becomes(&id, "sent").await;
    assert_eq!(sent["recipients"], recipients(3, 3, 0));
    office.assert_reached(ids(&office));
}
