//! The park's mailings, newest first, by period, template and status.

use super::*;

async fn listed(office: &Office, query: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut cursor = String::new();
    for _ in 0..100 {
        let path = format!("mailings?{query}{cursor}");
        let page = office.dispatcher.get(&path).await.expect(200);
        found.extend(page["items"].as_array().unwrap().iter().map(|item| id_of(item, "id")));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return found,
        }
    }
    panic!("the pages do not end");
}

#[actix_web::test]
async fn filters_and_pages_show_each_mailing_once() {
    let office = Office::of_drivers(2).await;
    let saved = json!({"message": "x", "filter": {}});
    let template = office.dispatcher.post("mailing-templates", saved.clone()).await.expect(201);
    let template = id_of(&template, "id");
    let mut all = Vec::new();
    for number in 0..12 {
        let body = if number % 3 == 0 { json!({"template_id": template}) } else { saved.clone() };
        let ordered = office.dispatcher.post("mailings", body).await.expect(202);
        all.push(id_of(&ordered, "mailing_id"));
    }
    for id in &all {
        office.becomes(id, "sent").await;
    }
    office.cancel(&all[4]).await;
    // Two in one instant, and each of the others in a minute of its own.
    for (minute, id) in all.iter().enumerate() {
        let minute = if minute == 7 { 6 } else { minute };
        let sql = format!(
            "UPDATE fleet_communications.mailings SET created_at = \
             timestamptz '2026-01-01 12:00:00Z' + interval '{minute} minutes' WHERE id = '{id}'"
        );
        office.app.database().execute(&sql).await;
    }
    let newest_first: Vec<String> = all.iter().rev().cloned().collect();
    for limit in [1, 5, 12, 1000] {
        assert_eq!(listed(&office, &format!("limit={limit}")).await, newest_first, "{limit}");
    }
    let of = |numbers: &[usize]| numbers.iter().map(|n| all[*n].clone()).collect::<Vec<_>>();
    for (query, expected) in [
        ("status=cancelled".to_owned(), of(&[4])),
        ("status=failed".to_owned(), of(&[])),
        (format!("template_id={template}&limit=2"), of(&[9, 6, 3, 0])),
        (format!("template_id={template}&status=cancelled"), of(&[])),
        (format!("template_id={NOBODYS}"), of(&[])),
        ("from=2026-01-01T12:10:00Z".to_owned(), of(&[11, 10])),
        ("to=2026-01-01T12:02:00Z".to_owned(), of(&[1, 0])),
        ("from=2026-01-01T12:06:00Z&to=2026-01-01T12:08:00Z&limit=1".to_owned(), of(&[7, 6])),
    ] {
        assert_eq!(listed(&office, &query).await, expected, "{query}");
    }
}
