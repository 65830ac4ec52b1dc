//! What the product watches.

use super::*;
use crate::support::eventually;

#[actix_web::test]
async fn gauges_show_where_everything_is() {
    let config = "[scooter_accumulator]\ngauges_ms = 50\nsweep_ms = 60000";
    let world = World::with(config).await;
    world.filled("c", 6, &[0, 19, 20, 80, 100]).await;
    world.cabinet("d", 2).await;
    world.accumulator("t-1", 5, &contractor("t")).await;
    world.accumulator("s-1", 5, &scooter("s")).await;
    let lost = json!({ "id": "x", "charge": 0, "place": null, "flagged": true });
    world.backend.post("accumulators", lost).await.expect(201);
    let say = "UPDATE scooter_accumulator.cabinets SET online = true WHERE id = 'c'; \
         UPDATE scooter_accumulator.cells SET state = 'broken' WHERE cabinet_id = 'd' AND n = 2";
    world.app.database().execute(say).await;
    let dead = id_of(&world.book("c", "pickup", 1).await.expect(201));
    world.book("c", "pickup", 1).await.expect(201);
    world.let_expire(&dead).await;
    for (series, expected) in [
        ("in_cabinets{charge=\"0-19\"}", 2),
        ("in_cabinets{charge=\"20-39\"}", 1),
        ("in_cabinets{charge=\"40-59\"}", 0),
        ("in_cabinets{charge=\"80-100\"}", 2),
        ("accumulators{place=\"cabinet\"}", 5),
        ("accumulators{place=\"contractor\"}", 1),
        ("accumulators{place=\"scooter\"}", 1),
        ("accumulators{place=\"lost\"}", 1),
        ("flagged", 1),
        ("cells{state=\"charged\"}", 2),
        ("cells{state=\"charging\"}", 3),
        ("cells{state=\"empty\"}", 2),
        ("cells{state=\"open\"}", 0),
        ("cells{state=\"broken\"}", 1),
        ("cabinets{online=\"true\"}", 1),
        ("cabinets{online=\"false\"}", 1),
        ("bookings{status=\"active\"}", 1),
        ("bookings{status=\"unknown\"}", 0),
    ] {
        eventually(series, async || {
            let text = world.app.anonymous().get("metrics").await.text();
            text.contains(&format!("\nscooter_accumulator_{series} {expected}\n"))
        })
        .await;
    }
}

#[actix_web::test]
async fn bookings_are_counted_by_outcome_and_no_label_names_anything() {
    let world = World::start().await;
    world.filled("cab-secret", 2, &[90]).await;
    let book = async |count: i32| {
        let mut body = booking("cab-secret", "pickup", count);
        body["contractor_id"] = json!("tech-secret");
        world.backend.post("bookings", body).await
    };
    let first = id_of(&book(1).await.expect(201));
    book(1).await.problem(409, "not_enough_accumulators");
    book(2).await.problem(409, "not_enough_accumulators");
    for _ in 0..2 {
        world.backend.delete(&format!("bookings/{first}")).await.expect(204);
    }
    let expired = id_of(&book(1).await.expect(201));
    world.let_expire(&expired).await;
    book(1).await.expect(201);
    for (outcome, expected) in [("booked", 3), ("refused", 2), ("cancelled", 1)] {
        let series = format!("scooter_accumulator_bookings_total{{outcome=\"{outcome}\"}}");
        assert_eq!(world.app.count(&series).await, expected, "{outcome}");
    }
    let text = world.app.anonymous().get("metrics").await.text();
    assert!(text.contains("route=\"/scooter-accumulator/internal/v1/bookings/{booking_id}\""));
    for secret in ["cab-secret", "tech-secret", &first] {
        assert!(!text.contains(secret), "{secret}");
    }
}
