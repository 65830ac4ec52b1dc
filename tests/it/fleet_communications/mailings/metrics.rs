//! The product metrics.

use super::*;

#[actix_web::test]
async fn mailings_and_recipients_are_counted_by_outcome() {
    let office = Office::of_drivers(1_500).await;
    let rejected = ids(&office)[3].clone();
    assert!(office.app.sandbox.reject_channel(&channel(&rejected), Some("no_app")));
    let sent = office.order("sent").await;
    office.becomes(&sent, "sent").await;
    office.cancelled(&sent).await;
    office.cancel(&sent).await;
    let down = json!({"kind": "status", "status": 503});
    office.app.fault("feeds", json!([{"kind": "delay", "ms": 1, "times": 1}, down]));
    let failed = office.order("failed").await;
    office.until(&failed, "it waits", |m| m["recipients"]["sent"] == 999).await;
    office.limit_attempts(1).await;
    office.becomes(&failed, "failed").await;
    office.app.sandbox.clear_fault("feeds");
    office.cancelled(&failed).await;
    for (series, expected) in [
        ("mailings_total{outcome=\"ordered\"}", 2),
        ("mailings_total{outcome=\"sent\"}", 1),
        ("mailings_total{outcome=\"failed\"}", 1),
        ("mailings_total{outcome=\"cancelled\"}", 2),
        ("recipients_total{outcome=\"sent\"}", 1_499 + 1_499),
        ("recipients_total{outcome=\"failed\"}", 2),
        ("recipients_total{outcome=\"recalled\"}", 1_499 + 1_499),
        ("recipients_total{outcome=\"skipped\"}", 0),
        ("mailing_duration_seconds_count", 1),
    ] {
        let name = format!("fleet_communications_{series}");
        eventually(&format!("{series} is {expected}"), async || {
            office.app.count(&name).await == expected
        })
        .await;
    }
}
