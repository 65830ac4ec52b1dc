//! Scenario 13 step by step: a process dies before the first, the second, the third … thing that it says to
//! the database while a booking is executed, answered and settled. Another goes on in its place.

use std::time::{Duration, Instant};

use actix_web::http::Method;
use futures_util::FutureExt;
use serde_json::{Value, json};

use super::cabinets::{CABINETS, Site};
use super::rig::{Counts, Run, limit, seeds, stride, until};

const TECHNICIAN: &str = "t-0";
/// More than an execution has.
const MOST_STEPS: u64 = 200;

/// A booking to take one accumulator out, or to bring back what the technician has.
async fn book(site: &Site) -> (String, Value) {
    let has = "SELECT id FROM scooter_accumulator.accumulators WHERE contractor_id = $1";
    let has = site.database.query(has, &[&TECHNICIAN]).await;
    let has: Vec<String> = has.iter().map(|row| row.get(0)).collect();
    let (kind, order) = if has.is_empty() {
        ("pickup", json!({}))
    } else {
        ("return", json!({ "accumulator_ids": has }))
    };
    let body =
        json!({"cabinet_id": CABINETS[0], "contractor_id": TECHNICIAN, "kind": kind, "count": 1});
    let booked = site.post(0, "bookings", &body).await.expect("a reply").expect(201);
    (booked["id"].as_str().expect("an id").to_owned(), order)
}

async fn has_ended(site: &Site, id: &str) -> bool {
    let sql = "SELECT ended_at IS NOT NULL FROM scooter_accumulator.bookings WHERE id::text = $1";
    site.database.query(sql, &[&id]).await[0].get(0)
}

/// Executes a booking at a process that dies before it says the next thing after `step` others. False:
/// everything was done before that.
async fn dies_at(site: &Site, step: u64, (id, order): &(String, Value)) -> bool {
    let path = format!("bookings/{id}/execute");
    let caller = site.caller(0);
    site.proxy.set(crate::support::proxy::Mode::HaltAfter(step));
    let mut call = Box::pin(caller.try_send(Method::POST, &path, Some(order.to_string())).fuse());
    let (started, mut struck) = (Instant::now(), false);
    while !struck && !has_ended(site, id).await {
        assert!(started.elapsed() < limit(), "neither was it executed nor did step {step} come");
        let pause = tokio::time::sleep(Duration::from_millis(2));
        futures_util::select_biased! {
            _ = call => {}
            () = Box::pin(pause.fuse()) => {}
        }
        struck = site.proxy.has_halted();
    }
    if struck {
        site.kill(0);
        site.proxy.set(crate::support::proxy::Mode::Close);
        until("nothing of it is left", async || site.proxy.open() == 0).await;
    }
    site.proxy.set(crate::support::proxy::Mode::Pass);
    if struck {
        site.start().await;
    }
    struck
}

#[actix_web::test]
async fn a_process_may_die_before_anything_that_it_says_while_a_booking_is_executed() {
    for seed in seeds() {
        let run = Run::of("13 steps", seed);
        let site = Site::of(1).await;
        let (mut kills, mut executed) = (0, 0);
        // One way takes out, the other brings back; each is walked through to its end.
        let mut next = [Some((seed - 1) % stride()), Some((seed - 1) % stride())];
        while next.iter().any(Option::is_some) {
            let booking = book(&site).await;
            let way = &mut next[usize::from(booking.1 != json!({}))];
            let step = way.unwrap_or(MOST_STEPS);
            assert!(step <= MOST_STEPS, "an execution has an end");
            let struck = dies_at(&site, step, &booking).await;
            *way = way.filter(|_| struck).map(|step| step + stride());
            kills += usize::from(struck);
            // Whoever stands before the cabinet calls until he is told.
            let path = format!("bookings/{}/execute", booking.0);
            let told = site.post(0, &path, &booking.1).await.expect("a reply");
            assert_eq!(told.status, 200, "step {step}: {}", told.text());
            executed += 1;
            until("the booking has ended", async || has_ended(&site, &booking.0).await).await;
            until("both have the same", async || site.differences().await == 0).await;
            site.assert_sound().await;
        }
        let doubled = site.wrong_openings();
        run.assert(kills, Counts { selected: executed, delivered: executed, lost: 0, doubled });
    }
}
