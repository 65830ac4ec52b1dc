//! What callers see when the database is down.

use super::*;
use crate::support::database::TestDatabase;
use crate::support::eventually;
use crate::support::proxy::{Mode, Proxy, host_and_port};

const IMPATIENT: &str = "[http]\ndefault_timeout_ms = 5000\n[database]\nconnect_timeout_ms = 3000\n\
     acquire_timeout_ms = 3000\nstatement_timeout_ms = 3000\nlock_timeout_ms = 3000\n";

/// Every route once.
async fn every_route(backend: &Caller) -> Vec<Reply> {
    let swap = json!({ "contractor_id": "t", "charged_accumulator_id": "a" });
    let cabinet = json!({ "lat": 1, "lon": 1, "cell_count": 3 });
    let mut new_cabinet = cabinet.clone();
    new_cabinet["id"] = json!("new");
    let accumulator = json!({ "charge": 1, "place": null });
    let mut new_accumulator = accumulator.clone();
    new_accumulator["id"] = json!("new");
    let booked = "bookings/01a1fc16-07a1-709c-957b-cafc67055379";
    vec![
        backend.post("cabinets", new_cabinet).await,
        backend.get("cabinets").await,
        backend.get("cabinets?near=1,1").await,
        backend.get("cabinets/c").await,
        backend.put("cabinets/c", cabinet).await,
        backend.get("cabinets/c/cells").await,
        backend.post("accumulators", new_accumulator).await,
        backend.get("accumulators").await,
        backend.get("accumulators/a").await,
        backend.put("accumulators/a", accumulator).await,
        backend.get("accumulators/a/history").await,
        backend.post("bookings", booking("c", "pickup", 1)).await,
        backend.get(booked).await,
        backend.delete(booked).await,
        backend.post("scooters/s/swap", swap).await,
        backend.delete("accumulators/a").await,
        backend.delete("cabinets/c").await,
    ]
}

#[actix_web::test]
async fn without_its_database_every_route_says_so() {
    let app = TestApp::builder().domains(&[DOMAIN]).without_database().without_waiting();
    let app = app.start().await;
    for reply in every_route(&app.internal(DOMAIN)).await {
        reply.problem(503, "domain_unavailable");
    }
}

#[actix_web::test]
async fn while_the_database_is_cut_off_every_route_says_so_and_then_goes_on() {
    let database = TestDatabase::create();
    let proxy = Proxy::start(host_and_port(&database.url()).1);
    let url = format!("[database]\nurl = '{}'", proxy.in_front_of(&database.url()));
    let builder = TestApp::builder().domains(&[DOMAIN]).database(database);
    let app = builder.config(IMPATIENT).config(url).start().await;
    let world = World { backend: app.internal(DOMAIN), app };
    world.filled("c", 3, &[90, 90]).await;
    let kept = world.book("c", "pickup", 1).await.expect(201);

    proxy.set(Mode::Close);
    for reply in every_route(&world.backend).await {
        reply.problem(503, "database_unavailable");
    }
    proxy.set(Mode::BlackHole);
    for path in ["cabinets?near=55,37", "accumulators/c-1"] {
        let hung = world.backend.get(path).await;
        assert!([503, 504].contains(&hung.status), "{}", hung.text());
    }
    proxy.set(Mode::Pass);
    eventually("it goes on by itself", async || {
        world.backend.get("cabinets/c").await.status == 200
    })
    .await;
    assert_eq!(world.booking_status(&id_of(&kept)).await, "active");
    world.book("c", "pickup", 1).await.expect(201);
    world.assert_sound().await;
}
