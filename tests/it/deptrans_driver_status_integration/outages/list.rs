//! `GET internal/v1/krt/outages`.

use serde_json::{Value, json};

use super::super::rig::Street;

#[actix_web::test]
async fn outages_are_listed_in_pages_the_newest_first() {
    let street = Street::start().await;
    street
        .database()
        .execute(
            "INSERT INTO deptrans.krt_outages (from_at, to_at, caught_up_at, longest_queue, superseded) \
             SELECT '2026-03-01T00:00:00Z'::timestamptz + day * interval '1 day', \
               '2026-03-01T02:00:00Z'::timestamptz + day * interval '1 day', \
               '2026-03-01T02:10:00Z'::timestamptz + day * interval '1 day', day * 100, day * 1000 \
             FROM generate_series(0, 4) day",
        )
        .await;
    let mut days = Vec::new();
    let mut path = "krt/outages?limit=2".to_owned();
    loop {
        let page = street.internal.get(&path).await.expect(200);
        let items = page["items"].as_array().unwrap();
        days.extend(items.iter().map(|item| item["superseded"].as_u64().unwrap() / 1000));
        let Some(next) = page.get("next_cursor") else { break };
        assert_eq!(items.len(), 2);
        path = format!("krt/outages?limit=2&cursor={}", next.as_str().unwrap());
    }
    assert_eq!(days, [4, 3, 2, 1, 0]);
    let newest = street.outages().await[0].clone();
    let expected = json!({
        "from_at": "2026-03-05T00:00:00Z", "to_at": "2026-03-05T02:00:00Z",
        "caught_up_at": "2026-03-05T02:10:00Z", "longest_queue": 400, "superseded": 4000,
    });
    assert_eq!(newest, expected);
    street.internal.get("krt/outages?cursor=x").await.problem(400, "invalid_cursor");
    street.internal.get("krt/outages?limit=0").await.problem(400, "invalid_limit");
}

#[actix_web::test]
async fn an_open_one_has_no_end() {
    let street = Street::start().await;
    assert_eq!(street.outages().await, Vec::<Value>::new());
    street
        .database()
        .execute("INSERT INTO deptrans.krt_outages (from_at) VALUES ('2026-03-01T00:00:00Z')")
        .await;
    let outage = street.outages().await[0].clone();
    let expected = json!({"from_at": "2026-03-01T00:00:00Z", "longest_queue": 0, "superseded": 0});
    assert_eq!(outage, expected);
}
