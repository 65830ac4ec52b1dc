//! Chunk by chunk: progress, rejections, lost answers, turns between parks.

use super::*;

#[actix_web::test]
async fn progress_shows_while_it_goes_out() {
    let office = Office::of_drivers(4_500).await;
    office.hold_from_the_second_chunk();
    let id = office.order("x").await;
    let under_way = office.until_the_second_chunk(&id).await;
    assert_eq!(under_way["recipients"], recipients(4_500, 1_000, 0));
    assert_eq!((&under_way["status"], under_way.get("finished_at")), (&json!("sending"), None));
    office.app.sandbox.clear_fault("feeds");
    let sent = office.becomes(&id, "sent").await;
    assert_eq!(sent["recipients"], recipients(4_500, 4_500, 0));
    office.assert_reached(ids(&office));
    assert_eq!(office.feeds_calls("create"), 5);
}

#[actix_web::test]
async fn a_driver_whose_app_does_not_take_it_fails_alone() {
    let office = Office::of_drivers(1_200).await;
    office.app.sandbox.set_driver(PARK, "x-blocked", json!({})).unwrap();
    let all = ids(&office);
    let odd = "unknown code \u{0}\n";
    for (position, code) in [(3, "no_app"), (700, odd), (1_100, "no_app")] {
        assert!(office.app.sandbox.reject_channel(&channel(&all[position]), Some(code)));
    }
    let id = office.order("x").await;
    let sent = office.becomes(&id, "sent").await;
    assert_eq!(sent["recipients"], recipients(1_201, 1_197, 4));
    let rejected = [&all[3], &all[700], &all[1_100], &all[1_200]];
    assert_eq!(rejected[3], "x-blocked");
    office.assert_reached(all.iter().filter(|id| !rejected.contains(id)).cloned());
    let errors = "SELECT contractor_id, error FROM fleet_communications.mailing_recipients \
         WHERE status = 'failed' ORDER BY error, contractor_id";
    let mut errors: Vec<(String, String)> = office
        .app
        .database()
        .query(errors, &[])
        .await
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    let mut expected = vec![
        (all[3].clone(), "no_app".to_owned()),
        (all[700].clone(), "unknowncode".to_owned()),
        (all[1_100].clone(), "no_app".to_owned()),
        ("x-blocked".to_owned(), "blocked".to_owned()),
    ];
    errors.sort();
    expected.sort();
    assert_eq!(errors, expected);
}

#[actix_web::test]
async fn a_lost_answer_is_asked_for_again_and_nobody_gets_it_twice() {
    let office = Office::with(2_400, "[upstreams.feeds]\ntimeout_ms = 1000\n").await;
    office.app.fault(
        "feeds",
        json!([
            {"kind": "close_after_work", "times": 1},
            {"kind": "truncate", "times": 1},
            {"kind": "delay_after_work", "ms": 1500, "times": 1},
            {"kind": "garbage", "times": 1},
            {"kind": "close_after_work", "times": 1},
        ]),
    );
    let id = office.order("Hi {first_name}").await;
    let sent = office.becomes(&id, "sent").await;
    assert_eq!(sent["recipients"], recipients(2_400, 2_400, 0));
    assert!(sent.get("error").is_none(), "{sent}");
    office.assert_reached(ids(&office));
    assert!(office.feeds_calls("create") >= 3 + 5, "each fault was met");
    assert_eq!(office.app.sandbox.delivered_counts(Some(PARK)).requests, 3);
}

#[actix_web::test]
async fn a_big_mailing_does_not_hold_up_a_small_one() {
    let config =
        "[tasks]\nqueues = { mailings = 1 }\n[fleet_communications]\nmailing_slice_ms = 1\n";
    let office = Office::with(8_000, config).await;
    office.hold_from_the_second_chunk();
    let big = office.order("big").await;
    office.until_the_second_chunk(&big).await;
    let body = json!({"message": "small", "filter": {}});
    let small = office.stranger.post("mailings", body).await.expect(202);
    // Of eight chunks at most six go out before the small one's turn has come.
    let pass = json!({"kind": "delay", "ms": 1, "times": 4});
    office.app.fault("feeds", json!([pass, {"kind": "hold"}]));
    let small = becomes(&office.stranger, &id_of(&small, "mailing_id"), "sent").await;
    assert_eq!(small["recipients"], recipients(20, 20, 0));
    let under_way = office.mailing(&big).await;
    assert_eq!(under_way["status"], "sending", "{under_way}");
    office.app.sandbox.clear_fault("feeds");
    office.becomes(&big, "sent").await;
    office.assert_reached(ids(&office));
}
