//! Ids, licence numbers and tokens are nowhere but in calls to the regulator.

use serde_json::json;

use super::super::rig::{Instances, go, ready};
use crate::support::{eventually, names_of_series};

/// However much is logged, and whatever fails.
#[actix_web::test]
async fn no_secret_is_logged_counted_or_kept() {
    let world = Instances::prepare();
    let drivers = ready(&world.sandbox, &world.database, 20).await;
    let server = world.start(&[("FLEET__TELEMETRY__LOG", "trace")]).await;
    let all =
        |status: &'static str| -> Vec<_> { drivers.iter().map(|index| (*index, status)).collect() };
    let internal = Instances::internal(&server);
    let faults = [
        json!({"kind": "garbage", "route": "statuses", "times": 4}),
        json!({"kind": "close_after_work", "route": "statuses", "times": 4}),
        json!({"kind": "status", "status": 500, "route": "statuses", "times": 4}),
        json!({"kind": "answer", "status": 422, "body": {"code": "x", "message": "7700000000"}, "route": "statuses", "times": 2}),
        json!({"kind": "status", "status": 401, "times": 4}),
    ];
    for (round, fault) in faults.into_iter().enumerate() {
        world.sandbox.set_fault("krt", fault).unwrap();
        let status = if round % 2 == 0 { "online" } else { "offline" };
        go(&internal, &world.sandbox, &all(status)).await;
        eventually("all are sent", async || world.waiting().await == 0).await;
    }
    let licenses: Vec<_> =
        drivers.iter().filter_map(|index| world.sandbox.driver(*index).license).collect();
    let output = server.output();
    assert!(output.contains("upstream"), "it logged nothing");
    let metrics = names_of_series(&server.anonymous().get("metrics").await.text());
    for license in &licenses {
        for secret in [&license.krt_id, &license.number, &license.pd_id] {
            for (what, text) in [("the log", &output), ("the metrics", &metrics)] {
                let line = text.lines().find(|line| line.contains(secret.as_str()));
                assert_eq!(line, None, "{secret} is in {what}");
            }
        }
    }
    assert!(!output.contains("sandbox\""), "the password is in the log");
    let dump = world.database.dump().await;
    for license in &licenses {
        assert!(!dump.contains(&license.number), "a licence number is in the database");
    }
    let (headers, _) = world.sandbox.last_request("krt", "statuses").expect("a report");
    let token = headers.get("authorization").expect("a token").to_str().unwrap();
    let token = token.strip_prefix("Bearer ").expect("a bearer's");
    assert!(token.len() > 10 && !dump.contains(token), "the token is in the database");
    assert!(!output.contains(token), "the token is in the log");
}
