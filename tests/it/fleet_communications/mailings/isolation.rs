//! Another park's mailing or template is one that nobody has, on every route.

use super::*;
use crate::support::client::Reply;

/// Everything that can be asked about a mailing and a template.
async fn all(caller: &Caller, mailing: &str, template: &str) -> Vec<Reply> {
    let edit = json!({"message": "x", "filter": {}});
    vec![
        caller.get(&format!("mailings/{mailing}")).await,
        caller.post(&format!("mailings/{mailing}/cancel"), json!({})).await,
        caller.post(&format!("mailings/{mailing}/retry"), json!({})).await,
        caller.get(&format!("mailing-templates/{template}")).await,
        caller.put(&format!("mailing-templates/{template}"), edit.clone()).await,
        caller
            .header("If-Match", "\"99\"")
            .put(&format!("mailing-templates/{template}"), edit)
            .await,
        caller.delete(&format!("mailing-templates/{template}")).await,
        caller.header("If-Match", "\"99\"").delete(&format!("mailing-templates/{template}")).await,
        caller.post("mailings", json!({"template_id": template})).await,
        caller.get(&format!("mailings?template_id={template}")).await,
    ]
}

fn shown(reply: &Reply) -> (u16, Value) {
    let mut body = if reply.body.is_empty() { Value::Null } else { reply.json() };
    if let Some(problem) = body.as_object_mut() {
        problem.remove("trace_id");
    }
    (reply.status, body)
}

#[actix_web::test]
async fn what_is_anothers_is_as_unknown_as_what_is_nobodys() {
    let office = Office::of_drivers(5).await;
    let mut kept = Vec::new();
    for status in ["sent", "cancelled", "failed", "scheduled"] {
        let id = office.order(status).await;
        office.becomes(&id, "sent").await;
        let sql = format!(
            "UPDATE fleet_communications.mailings SET status = '{status}' WHERE id = '{id}'"
        );
        office.app.database().execute(&sql).await;
        kept.push(id);
    }
    let before = office.app.database().dump().await;
    for id in &kept {
        let template = id_of(&office.mailing(id).await, "template_id");
        let foreign = all(&office.stranger, id, &template).await;
        let nobodys = all(&office.stranger, NOBODYS, NOBODYS).await;
        for (foreign, nobodys) in foreign.iter().zip(&nobodys) {
            assert_eq!(shown(foreign), shown(nobodys));
            assert!(matches!(foreign.status, 200 | 204 | 404), "{}", foreign.text());
            assert!(!foreign.text().contains(id), "{}", foreign.text());
        }
        assert_eq!(shown(&foreign[0]).0, 404);
    }
    for list in ["mailings", "mailing-templates"] {
        assert_eq!(office.stranger.get(list).await.expect(200)["items"], json!([]));
    }
    let of_mailings = |dump: &str| {
        let lines = dump.lines().filter(|line| line.starts_with("fleet_communications"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let after = office.app.database().dump().await;
    assert_eq!(of_mailings(&after), of_mailings(&before), "nothing was changed");
}

/// A cursor of one park's list shows nothing of it to another.
#[actix_web::test]
async fn a_cursor_leads_nowhere_else() {
    let office = Office::of_drivers(1).await;
    for number in 0..3 {
        office.order(&number.to_string()).await;
    }
    for list in ["mailings", "mailing-templates"] {
        let page = office.dispatcher.get(&format!("{list}?limit=1")).await.expect(200);
        let cursor = page["next_cursor"].as_str().unwrap();
        let foreign = office.stranger.get(&format!("{list}?cursor={cursor}")).await;
        assert_eq!(foreign.expect(200)["items"], json!([]), "{list}");
    }
}

/// Drivers of another park cannot be named, and a mailing goes to the park's own channels only.
#[actix_web::test]
async fn another_parks_drivers_are_not_reached() {
    let office = Office::of_drivers(5).await;
    let foreign = office.app.sandbox.driver_ids(OTHER_PARK);
    let filter = json!({"incl_contractor_ids": foreign});
    let preview = json!({"filter": filter});
    let preview = office.dispatcher.post("mailings/preview", preview).await.expect(200);
    assert_eq!((&preview["total"], sum(&preview["left_out"])), (&json!(0), 0));
    let id = office.order_to("x", filter).await;
    assert_eq!(office.becomes(&id, "sent").await["recipients"], recipients(0, 0, 0));
    assert_eq!(office.app.sandbox.delivered_counts(None).deliveries, 0);
}

#[actix_web::test]
async fn only_dispatchers_may() {
    let office = Office::of_drivers(1).await;
    let anonymous = office.dispatcher.without("Authorization");
    let driver = office.dispatcher.token("test-driver");
    for path in ["mailings", "mailing-templates"] {
        anonymous.get(path).await.problem(401, "unauthenticated");
        assert_eq!(driver.get(path).await.status, 403);
    }
    let order = json!({"message": "x", "filter": {}});
    assert_eq!(driver.post("mailings", order).await.status, 403);
}
