//! What an order stores, and that it stores all of it or nothing.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::*;

#[actix_web::test]
async fn an_order_is_accepted_kept_as_a_template_and_sent() {
    let office = Office::of_drivers(30).await;
    let body = json!({"message": "Доброе утро", "filter": {}});
    let reply = office.dispatcher.post("mailings", body).await;
    let ordered = reply.expect(202);
    assert_eq!(ordered["status"], "created");
    let id = id_of(&ordered, "mailing_id");
    let location = format!("/{DOMAIN}/dispatcher/v1/mailings/{id}");
    assert_eq!(reply.header("location"), location);
    let sent = office.becomes(&id, "sent").await;
    let shown = office.app.dispatcher(DOMAIN, PARK).get(&format!("mailings/{id}")).await;
    assert_eq!(shown.expect(200), sent);
    assert_eq!(sent["message"], "Доброе утро");
    assert_eq!(sent["created_by"], 4711);
    assert_eq!(sent["template_id"], ordered["template_id"]);
    assert_eq!(sent["recipients"], recipients(30, 30, 0));
    assert!(sent["finished_at"].is_string() && sent.get("error").is_none(), "{sent}");
    let template = id_of(&ordered, "template_id");
    let template = office.dispatcher.get(&format!("mailing-templates/{template}")).await;
    let template = template.expect(200);
    assert_eq!((&template["message"], &template["filter"]), (&sent["message"], &json!({})));
    assert!(template["last_sent_at"].is_string(), "{template}");
    office.assert_reached(ids(&office));
    assert_eq!(office.tasks().await, 0);
}

#[actix_web::test]
async fn a_saved_template_is_sent_as_it_was_when_ordered() {
    let office = Office::of_drivers(30).await;
    let chosen = ids(&office)[3..5].to_vec();
    let body = json!({"message": "one", "filter": {"incl_contractor_ids": chosen}});
    let saved = office.dispatcher.post("mailing-templates", body).await.expect(201);
    assert!(saved.get("last_sent_at").is_none(), "{saved}");
    let template = id_of(&saved, "id");
    let at = Timestamp::now() + SignedDuration::from_secs(1);
    let order = json!({"template_id": template, "send_at": at.to_string()});
    let ordered = office.dispatcher.post("mailings", order).await.expect(202);
    let edit = json!({"message": "two", "filter": {}});
    office.dispatcher.put(&format!("mailing-templates/{template}"), edit).await.expect(200);
    let sent = office.becomes(&id_of(&ordered, "mailing_id"), "sent").await;
    assert_eq!(sent["message"], "one");
    office.assert_reached(chosen);
}

#[actix_web::test]
async fn a_template_that_is_not_there_cannot_be_sent() {
    let office = Office::of_drivers(3).await;
    let body = json!({"message": "x", "filter": {}});
    let saved = office.stranger.post("mailing-templates", body.clone()).await.expect(201);
    let own = office.dispatcher.post("mailing-templates", body).await.expect(201);
    let own = id_of(&own, "id");
    office.dispatcher.delete(&format!("mailing-templates/{own}")).await.expect(204);
    for id in [own, id_of(&saved, "id"), NOBODYS.to_owned()] {
        let order = json!({"template_id": id});
        office.dispatcher.post("mailings", order).await.problem(404, "template_not_found");
    }
    assert_eq!(office.tasks().await, 0);
}

#[actix_web::test]
async fn a_repeated_order_is_one_mailing_and_another_one_is_refused() {
    let office = Office::of_drivers(20).await;
    let keyed = office.dispatcher.header("Idempotency-Key", "order-1");
    let body = json!({"message": "once", "filter": {}});
    let first = keyed.post("mailings", body.clone()).await;
    let id = id_of(&first.expect(202), "mailing_id");
    office.becomes(&id, "sent").await;
    for _ in 0..3 {
        let again = keyed.post("mailings", body.clone()).await;
        assert_eq!(again.expect(202), first.json());
        assert_eq!(again.header("location"), first.header("location"));
    }
    let other = json!({"message": "twice", "filter": {}});
    keyed.post("mailings", other).await.problem(422, "idempotency_key_reused");
    let elsewhere = office.stranger.header("Idempotency-Key", "order-1");
    let foreign = elsewhere.post("mailings", body.clone()).await.expect(202);
    assert_ne!(id_of(&foreign, "mailing_id"), id);
    let all = office.dispatcher.get("mailings").await.expect(200);
    assert_eq!(all["items"].as_array().unwrap().len(), 1);
    let templates = office.dispatcher.get("mailing-templates").await.expect(200);
    assert_eq!(templates["items"].as_array().unwrap().len(), 1);
    office.assert_reached(ids(&office));
    let ordered = "fleet_communications_mailings_total{outcome=\"ordered\"}";
    assert_eq!(office.app.count(ordered).await, 2, "repeating is not ordering");
}

#[actix_web::test]
async fn many_at_once_under_one_key_are_one_mailing() {
    let office = Office::of_drivers(10).await;
    let keyed = office.dispatcher.header("Idempotency-Key", "k");
    let body = json!({"message": "once", "filter": {}});
    let calls = (0..20).map(|_| keyed.post("mailings", body.clone()));
    let replies = futures_util::future::join_all(calls).await;
    let mut ids = BTreeSet::new();
    for reply in replies {
        match reply.status {
            202 => drop(ids.insert(id_of(&reply.json(), "mailing_id"))),
            _ => drop(reply.problem(409, "idempotency_key_in_progress")),
        }
    }
    assert_eq!(ids.len(), 1, "{ids:?}");
    office.becomes(ids.first().unwrap(), "sent").await;
    let sql = "SELECT count(*) FROM fleet_communications.mailings";
    assert_eq!(office.app.database().count(sql).await, 1);
}

#[actix_web::test]
async fn template_mailing_and_task_are_stored_together_or_not_at_all() {
    let office = Office::of_drivers(5).await;
    let database = office.app.database();
    let refuse = "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN RAISE EXCEPTION 'refused'; END $$";
    database.execute(refuse).await;
    let keyed = office.dispatcher.header("Idempotency-Key", "k");
    let body = json!({"message": "x", "filter": {}});
    for table in [
        "fleet_communications.mailing_templates",
        "fleet_communications.mailings",
        "task_queue.tasks",
        "fleet_platform.idempotency_keys",
    ] {
        let trigger = format!(
            "CREATE TRIGGER refuse AFTER INSERT ON {table} EXECUTE FUNCTION public.refuse()"
        );
        database.execute(&trigger).await;
        let reply = keyed.post("mailings", body.clone()).await;
        assert!(reply.status >= 500, "{table}: {}", reply.text());
        database.execute(&format!("DROP TRIGGER refuse ON {table}")).await;
        let left = "SELECT (SELECT count(*) FROM fleet_communications.mailing_templates) \
             + (SELECT count(*) FROM fleet_communications.mailings) \
             + (SELECT count(*) FROM fleet_platform.idempotency_keys) \
             + (SELECT count(*) FROM task_queue.tasks WHERE queue = 'mailings')";
        assert_eq!(database.count(left).await, 0, "{table}");
    }
    let ordered = keyed.post("mailings", body).await.expect(202);
    office.becomes(&id_of(&ordered, "mailing_id"), "sent").await;
    office.assert_reached(ids(&office));
}

#[actix_web::test]
async fn a_scheduled_mailing_waits_for_its_time() {
    let office = Office::of_drivers(5).await;
    let later = Timestamp::now() + SignedDuration::from_hours(1);
    let body = json!({"message": "x", "filter": {}, "send_at": later.to_string()});
    let ordered = office.dispatcher.post("mailings", body).await.expect(202);
    assert_eq!(ordered["status"], "scheduled");
    let id = id_of(&ordered, "mailing_id");
    // One that is ordered later and goes at once, so that the first had its chance.
    let now = office.order_to("now", json!({"incl_contractor_ids": [ids(&office)[0]]})).await;
    office.becomes(&now, "sent").await;
    let waits = office.mailing(&id).await;
    assert_eq!((&waits["status"], sum(&waits["recipients"])), (&json!("scheduled"), 0));
    assert_eq!(
        waits["send_at"].as_str().unwrap().parse::<Timestamp>().unwrap().as_second(),
        later.as_second()
    );
    // Its time has come.
    let due = "UPDATE task_queue.tasks SET run_at = now() WHERE state = 'scheduled' AND queue = 'mailings'";
    office.app.database().execute(due).await;
    let sent = office.becomes(&id, "sent").await;
    assert_eq!(sent["recipients"], recipients(5, 5, 0));
}

#[actix_web::test]
async fn a_time_that_has_just_passed_is_now() {
    let office = Office::of_drivers(5).await;
    let past = Timestamp::now() - SignedDuration::from_mins(5);
    let body = json!({"message": "x", "filter": {}, "send_at": past.to_string()});
    let ordered = office.dispatcher.post("mailings", body).await.expect(202);
    assert_eq!(ordered["status"], "created");
    office.becomes(&id_of(&ordered, "mailing_id"), "sent").await;
    office.assert_reached(ids(&office));
}
