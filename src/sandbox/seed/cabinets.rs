//! Gives an empty fleet server the sandbox's cabinets and what is in them, through its own API.

use std::sync::Arc;
use std::{io, thread};

use actix_web::rt::System;
use actix_web::rt::time::timeout;
use anyhow::Context as _;
use awc::http::Method;
use serde_json::{Value, json};

use super::super::cabinets::{Cabinets, place_of};
use super::{List, READY_WITHIN, api, keyed, ready, send};
use crate::platform::telemetry::metrics::Metrics;
use crate::platform::upstream::{Call, Upstream, UpstreamMetrics};

const BASE: &str = "/scooter-accumulator/internal/v1";
/// Scooters for each cabinet, each with a flat accumulator.
const SCOOTERS: usize = 2;

/// Seeds the server at `base_url` in the background; says in the log how it went.
pub(in super::super) fn spawn(base_url: String, cabinets: Arc<Cabinets>) -> io::Result<()> {
    thread::Builder::new().name("seed-cabinets".into()).spawn(move || {
        System::new().block_on(async {
            match seed(&base_url, &cabinets).await {
                Ok(0) => tracing::info!("there are cabinets already: none were added"),
                Ok(cabinets) => tracing::info!(cabinets, "example cabinets were added"),
                Err(error) => {
                    tracing::error!(error = %format!("{error:#}"), "seeding cabinets failed");
                }
            }
        });
    })?;
    Ok(())
}

/// Returns how many cabinets were added.
async fn seed(base_url: &str, cabinets: &Cabinets) -> anyhow::Result<usize> {
    let metrics = UpstreamMetrics::register(&Metrics::default());
    let fleet = api(base_url, "sandbox-internal", &metrics)?;
    timeout(READY_WITHIN, ready(&fleet)).await.context("the server is not ready")?;
    let list = Call::new(Method::GET, "cabinets_list", format!("{BASE}/cabinets?limit=1"));
    let list: List = send(&fleet, list).await?;
    if !list.items.is_empty() {
        return Ok(0);
    }
    let run = uuid::Uuid::now_v7();
    let create = async |what: &str, id: &str, body: Value| {
        create(&fleet, what, &format!("seed-{run}-{id}"), body).await
    };
    // Accumulators first: one that a cabinet reports and nobody has made known is flagged.
    for (number, cabinet) in cabinets.all().iter().enumerate() {
        for held in cabinet.cells().iter().filter_map(|cell| cell.holds.as_ref()) {
            let charge = format!("{:.0}", held.charge.floor()).parse::<u8>().unwrap_or_default();
            let body = json!({ "id": held.id, "charge": charge, "place": null });
            create("accumulators", &held.id, body).await?;
        }
        for scooter in (1 + number * SCOOTERS)..=((number + 1) * SCOOTERS) {
            let id = format!("acc-s-{scooter}");
            let place = json!({ "scooter_id": format!("scooter-{scooter}") });
            let body = json!({ "id": id, "charge": 3 + scooter % 17, "place": place });
            create("accumulators", &id, body).await?;
        }
    }
    let all = cabinets.all();
    for (number, cabinet) in all.iter().enumerate() {
        let [lat, lon] = place_of(number);
        let cells = cabinet.cells().len();
        let body = json!({ "id": cabinet.id(), "lat": lat, "lon": lon, "cell_count": cells });
        create("cabinets", cabinet.id(), body).await?;
        cabinet.report();
    }
    Ok(all.len())
}

async fn create(fleet: &Upstream, what: &str, key: &str, body: Value) -> anyhow::Result<()> {
    let call = Call::post("create", format!("{BASE}/{what}"), &body)?;
    let _: Value = send(fleet, keyed(call, key)?).await?;
    Ok(())
}
