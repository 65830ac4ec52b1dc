//! Whom a filter selects: as parks says, and the same in the preview and in the mailing.

use super::*;

/// All drivers of [`PARK`], asked for without any filter.
async fn all_drivers(office: &Office) -> Vec<Value> {
    let parks = Caller::anonymous(office.app.sandbox.base_url("parks")).token("test");
    let mut drivers = Vec::new();
    let mut cursor = Value::Null;
    loop {
        let ask = json!({"park_id": PARK, "limit": 1000, "cursor": cursor});
        let page = parks.post("v1/driver-profiles/list", ask).await.expect(200);
        drivers.extend(page["driver_profiles"].as_array().unwrap().iter().cloned());
        match page.get("cursor") {
            Some(next) => cursor = next.clone(),
            None => return drivers,
        }
    }
}

/// What the filter means, told by another code than the server's.
fn is_meant(filter: &Value, driver: &Value) -> bool {
    let has =
        |list: &str| filter[list].as_array().map(|ids| ids.iter().any(|id| *id == driver["id"]));
    let of_rule = filter["work_rule"].is_null() || filter["work_rule"] == driver["work_rule_id"];
    let of_status = match filter["status"].as_str() {
        Some("working") => driver["work_status"] == "working",
        Some("online") => driver["current_status"] == "online",
        _ => true,
    };
    of_rule
        && of_status
        && has("excl_contractor_ids") != Some(true)
        && (filter["incl_contractor_ids"].as_array().is_none_or(Vec::is_empty)
            || has("incl_contractor_ids") == Some(true))
}

#[actix_web::test]
async fn the_preview_counts_those_who_get_it_and_tells_who_is_left_out() {
    let office = Office::of_drivers(1_600).await;
    let all = ids(&office);
    let mut named = all[100..1_300].to_vec();
    named.extend(all[100..300].iter().cloned());
    named.extend((0..150).map(|n| format!("nobody-{n}")));
    let (few, many) = (all[..40].to_vec(), all[..900].to_vec());
    let drivers = all_drivers(&office).await;
    assert_eq!(drivers.len(), 1_600);
    for (round, filter) in [
        json!({}),
        json!({"work_rule": "rule-2"}),
        json!({"work_rule": "rule-none"}),
        json!({"status": "working"}),
        json!({"status": "online"}),
        json!({"excl_contractor_ids": many}),
        json!({"excl_contractor_ids": all}),
        json!({"incl_contractor_ids": few}),
        json!({"incl_contractor_ids": named}),
        json!({"incl_contractor_ids": named, "excl_contractor_ids": many, "status": "working"}),
        json!({"incl_contractor_ids": named, "work_rule": "rule-1", "status": "online"}),
        json!({"work_rule": "rule-3", "status": "working", "excl_contractor_ids": few}),
    ]
    .into_iter()
    .enumerate()
    {
        let meant: Vec<&Value> = drivers.iter().filter(|d| is_meant(&filter, d)).collect();
        let preview = json!({"filter": filter});
        let preview = office.dispatcher.post("mailings/preview", preview).await.expect(200);
        assert_eq!(number(&preview["total"]), meant.len() as u64, "{round}");
        let asked = filter["incl_contractor_ids"].as_array().filter(|ids| !ids.is_empty());
        let asked = asked.map_or(1_600, |_| {
            let only = json!({"incl_contractor_ids": filter["incl_contractor_ids"]});
            drivers.iter().filter(|driver| is_meant(&only, driver)).count()
        });
        let told = meant.len() as u64 + sum(&preview["left_out"]);
        assert_eq!(told, asked as u64, "{round}: {}", preview["left_out"]);
        let sample: Vec<&Value> =
            preview["sample"].as_array().unwrap().iter().map(|one| &one["contractor_id"]).collect();
        let first: Vec<&Value> = meant.iter().take(20).map(|driver| &driver["id"]).collect();
        assert_eq!(sample, first, "{round}");

        let before = office.delivered();
        let id = office.order_to(&format!("round {round}"), filter).await;
        let sent = office.becomes(&id, "sent").await;
        assert_eq!(sent["recipients"], recipients(meant.len(), meant.len(), 0), "{round}");
        let mut expected = before;
        for driver in &meant {
            *expected.entry(channel(driver["id"].as_str().unwrap())).or_default() += 1;
        }
        assert!(office.delivered() == expected, "{round}");
    }
    let counts = office.app.sandbox.delivered_counts(None);
    assert_eq!((counts.doubled, counts.mismatches), (0, 0));
}

#[actix_web::test]
async fn each_part_counts_those_whom_the_parts_before_it_let_pass() {
    let office = Office::of_drivers(0).await;
    let working = json!({"work_rule_id": "r", "work_status": "working"});
    let fired = json!({"work_rule_id": "r", "work_status": "fired"});
    let other = json!({"work_rule_id": "s", "work_status": "fired"});
    for (id, driver) in [
        ("a", &working),
        ("b", &working),
        ("c", &working),
        ("d", &fired),
        ("e", &fired),
        ("f", &other),
    ] {
        office.app.sandbox.set_driver(PARK, id, driver.clone()).unwrap();
    }
    let filter =
        json!({"work_rule": "r", "status": "working", "excl_contractor_ids": ["a", "d", "f"]});
    let preview =
        office.dispatcher.post("mailings/preview", json!({"filter": filter})).await.expect(200);
    assert_eq!(preview["total"], 2);
    assert_eq!(preview["left_out"], json!({"work_rule": 1, "status": 2, "excluded": 1}));
    let sample = preview["sample"].as_array().unwrap();
    assert_eq!(sample[0]["contractor_id"], "b");
    assert_eq!(sample[0]["work_rule"], "r");
}

#[actix_web::test]
async fn who_is_meant_is_decided_when_it_goes_out() {
    let office = Office::of_drivers(0).await;
    office.app.sandbox.set_driver(PARK, "a", json!({"work_status": "working"})).unwrap();
    office.app.sandbox.set_driver(PARK, "b", json!({"work_status": "fired"})).unwrap();
    let at = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    let body = json!({"message": "x", "filter": {"status": "working"}, "send_at": at.to_string()});
    let ordered = office.dispatcher.post("mailings", body).await.expect(202);
    office.app.sandbox.set_driver(PARK, "a", json!({"work_status": "fired"})).unwrap();
    office.app.sandbox.set_driver(PARK, "b", json!({"work_status": "working"})).unwrap();
    let due = "UPDATE task_queue.tasks SET run_at = now() WHERE queue = 'mailings'";
    office.app.database().execute(due).await;
    office.becomes(&id_of(&ordered, "mailing_id"), "sent").await;
    office.assert_reached(["b".to_owned()]);
}

#[actix_web::test]
async fn a_mailing_that_means_nobody_is_sent_to_nobody() {
    let office = Office::of_drivers(0).await;
    let id = office.order("x").await;
    assert_eq!(office.becomes(&id, "sent").await["recipients"], recipients(0, 0, 0));
    assert_eq!(office.feeds_calls("create"), 0);
}

#[actix_web::test]
async fn a_preview_without_parks_says_so() {
    let office = Office::of_drivers(5).await;
    office.app.fault("parks", json!({"kind": "close"}));
    let reply = office.dispatcher.post("mailings/preview", json!({"filter": {}})).await;
    reply.problem(503, "parks_unavailable");
    assert!(!reply.header("retry-after").is_empty());
}
