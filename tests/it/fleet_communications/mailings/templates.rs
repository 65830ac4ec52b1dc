//! Saved templates.

use super::*;

fn body(message: &str) -> Value {
    json!({"message": message, "filter": {"status": "online", "work_rule": "rule-1", "excl_contractor_ids": ["a"]}})
}

#[actix_web::test]
async fn a_template_is_saved_read_edited_and_deleted() {
    let office = Office::of_drivers(1).await;
    let saved = office.dispatcher.post("mailing-templates", body("one")).await;
    let template = saved.expect(201);
    let path = format!("mailing-templates/{}", id_of(&template, "id"));
    assert_eq!(saved.header("location"), format!("/{DOMAIN}/dispatcher/v1/{path}"));
    assert_eq!((&template["message"], &template["filter"]), (&json!("one"), &body("")["filter"]));
    assert_eq!(template["created_by"], 4711);
    let read = office.dispatcher.get(&path).await;
    assert_eq!(read.expect(200), template);
    assert_eq!(read.etag(), saved.etag());

    let current = office.dispatcher.header("If-Match", read.etag());
    let edited = current.put(&path, json!({"message": "two", "filter": {}})).await;
    assert_eq!(edited.expect(200)["message"], "two");
    assert_ne!(edited.etag(), read.etag());
    current.put(&path, body("three")).await.problem(412, "stale_version");
    current.delete(&path).await.problem(412, "stale_version");
    let shown = office.dispatcher.get(&path).await.expect(200);
    assert_eq!((&shown["message"], &shown["filter"]), (&json!("two"), &json!({})));

    office.dispatcher.header("If-Match", edited.etag()).delete(&path).await.expect(204);
    office.dispatcher.delete(&path).await.expect(204);
    office.dispatcher.get(&path).await.problem(404, "template_not_found");
    office.dispatcher.put(&path, body("x")).await.problem(404, "template_not_found");
    let list = office.dispatcher.get("mailing-templates").await.expect(200);
    assert_eq!(list["items"], json!([]));
}

#[actix_web::test]
async fn deleting_a_template_keeps_its_history() {
    let office = Office::of_drivers(4).await;
    let saved = json!({"message": "kept", "filter": {}});
    let saved = office.dispatcher.post("mailing-templates", saved).await.expect(201);
    let template = id_of(&saved, "id");
    let ordered = office.dispatcher.post("mailings", json!({"template_id": template})).await;
    let id = id_of(&ordered.expect(202), "mailing_id");
    office.dispatcher.delete(&format!("mailing-templates/{template}")).await.expect(204);
    let sent = office.becomes(&id, "sent").await;
    assert_eq!((&sent["message"], &sent["template_id"]), (&json!("kept"), &json!(template)));
    let history = office.dispatcher.get(&format!("mailings?template_id={template}")).await;
    assert_eq!(history.expect(200)["items"], json!([sent]));
}

#[actix_web::test]
async fn templates_are_listed_page_by_page_newest_first() {
    let office = Office::of_drivers(1).await;
    let mut saved = Vec::new();
    for number in 0..7 {
        let one = office.dispatcher.post("mailing-templates", body(&number.to_string())).await;
        saved.push(one.expect(201));
    }
    saved.reverse();
    let (mut found, mut cursor) = (Vec::new(), String::new());
    for _ in 0..4 {
        let path = format!("mailing-templates?limit=2{cursor}");
        let page = office.dispatcher.get(&path).await.expect(200);
        found.extend(page["items"].as_array().unwrap().iter().cloned());
        cursor = page["next_cursor"].as_str().map(|c| format!("&cursor={c}")).unwrap_or_default();
    }
    assert_eq!((found, cursor.as_str()), (saved, ""));
}

#[actix_web::test]
async fn a_template_is_saved_once_under_a_key() {
    let office = Office::of_drivers(1).await;
    let keyed = office.dispatcher.header("Idempotency-Key", "k");
    let first = keyed.post("mailing-templates", body("one")).await;
    let again = keyed.post("mailing-templates", body("one")).await;
    assert_eq!(again.expect(201), first.expect(201));
    assert_eq!(again.etag(), first.etag());
    keyed.post("mailing-templates", body("two")).await.problem(422, "idempotency_key_reused");
}

#[actix_web::test]
async fn of_many_edits_of_one_version_one_wins() {
    let office = Office::of_drivers(1).await;
    let saved = office.dispatcher.post("mailing-templates", body("one")).await;
    let path = format!("mailing-templates/{}", id_of(&saved.expect(201), "id"));
    let current = office.dispatcher.header("If-Match", saved.etag());
    let edits = (0..10).map(async |n| current.put(&path, body(&format!("edit {n}"))).await);
    let replies = futures_util::future::join_all(edits).await;
    let won: Vec<_> = replies.iter().filter(|reply| reply.status == 200).collect();
    assert_eq!(won.len(), 1);
    assert_eq!(office.dispatcher.get(&path).await.expect(200), won[0].json());
}
