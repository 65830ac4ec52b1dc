//! The control routes of cabinets.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::{State, refuse};
use super::cabinet::{Accumulator, Cell};
use super::{Cabinet, CabinetFaults, Habit, MOST_CELLS};

/// Largest payload that is published on demand.
const MOST_BYTES: usize = 4 << 20;

pub(in super::super) fn control(config: &mut web::ServiceConfig) {
    config.service(
        web::scope("/cabinets")
            .service(web::resource("").get(list).post(add))
            .service(web::resource("/technicians").put(put_habit))
            .service(web::resource("/carried").get(get_carried).put(put_carried))
            .service(web::resource("/{id}").get(get))
            .service(web::resource("/{id}/faults").put(put_faults))
            .service(web::resource("/{id}/cells/{n}").put(put_cell))
            .service(web::resource("/{id}/cells/{n}/{act}").post(at_cell))
            .service(web::resource("/{id}/{act}").post(act)),
    );
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    id: String,
    cells: Option<usize>,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Act {
    reversed: bool,
    forgets: bool,
    on: Option<bool>,
    says_so: bool,
    topic: Option<String>,
    text: Option<String>,
    bytes: Option<usize>,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct AtCell {
    by_force: bool,
    id: Option<String>,
    charge: Option<f64>,
}

async fn list(state: web::Data<State>) -> HttpResponse {
    let row = |cabinet: &Cabinet| {
        let cells = cabinet.cells();
        let open = cells.iter().filter(|cell| cell.open).count();
        json!({
            "id": cabinet.id(), "connected": cabinet.is_connected(), "cells": cells.len(), "open": open,
        })
    };
    let rows: Vec<Value> = state.cabinets.all().iter().map(row).collect();
    HttpResponse::Ok().json(rows)
}

async fn add(state: web::Data<State>, body: web::Bytes) -> HttpResponse {
    done(read::<New>(&body).and_then(|new| {
        let cells = new.cells.unwrap_or(20).min(MOST_CELLS);
        state.cabinets.add(&new.id, vec![Cell::empty(); cells]).map(|_| None)
    }))
}

async fn get(state: web::Data<State>, id: web::Path<String>) -> HttpResponse {
    let Some(cabinet) = state.cabinets.get(&id) else { return unknown() };
    HttpResponse::Ok().json(json!({
        "id": cabinet.id(),
        "connected": cabinet.is_connected(),
        "cells": cabinet.cells(),
        "faults": cabinet.faults(),
        "commands": cabinet.commands(),
        "openings": cabinet.openings(),
    }))
}

async fn put_faults(
    state: web::Data<State>,
    id: web::Path<String>,
    body: web::Bytes,
) -> HttpResponse {
    let Some(cabinet) = state.cabinets.get(&id) else { return unknown() };
    done(read::<CabinetFaults>(&body).map(|faults| {
        cabinet.set_faults(faults);
        None
    }))
}

async fn put_cell(
    state: web::Data<State>,
    path: web::Path<(String, usize)>,
    body: web::Bytes,
) -> HttpResponse {
    let Some(cabinet) = state.cabinets.get(&path.0) else { return unknown() };
    let cell = read::<Cell>(&body);
    done(cell.and_then(|cell| cabinet.set_cell(path.1, cell).map(|()| None)))
}

async fn at_cell(
    state: web::Data<State>,
    path: web::Path<(String, usize, String)>,
    body: web::Bytes,
) -> HttpResponse {
    let (id, n, act) = path.into_inner();
    let Some(cabinet) = state.cabinets.get(&id) else { return unknown() };
    done(read::<AtCell>(&body).and_then(|with| match (act.as_str(), with.id) {
        ("take", _) if with.by_force => cabinet.take_by_force(n).map(|taken| Some(json!(taken))),
        ("take", _) => cabinet.take(n).map(|taken| Some(json!(taken))),
        ("put", Some(id)) => cabinet.put(n, &id, with.charge.unwrap_or_default()).map(|()| None),
        ("shut", _) => cabinet.shut(n).map(|()| None),
        _ => Err("take, put (with `id`) or shut".to_owned()),
    }))
}

async fn act(
    state: web::Data<State>,
    path: web::Path<(String, String)>,
    body: web::Bytes,
) -> HttpResponse {
    let (id, act) = path.into_inner();
    let Some(cabinet) = state.cabinets.get(&id) else { return unknown() };
    done(read::<Act>(&body).and_then(|with| {
        match act.as_str() {
            "release" => cabinet.release(with.reversed),
            "report" => cabinet.report(),
            "restart" => cabinet.restart(with.forgets),
            "power" if with.on == Some(true) => cabinet.come_back(),
            "power" if with.says_so => cabinet.leave(),
            "power" if with.on == Some(false) => cabinet.cut(),
            "publish" => {
                let bytes = vec![b'x'; with.bytes.unwrap_or_default().min(MOST_BYTES)];
                let payload = with.text.map_or(bytes, String::into_bytes);
                cabinet.publish(with.topic.as_deref(), payload);
            }
            _ => return Err("release, report, restart, power or publish".to_owned()),
        }
        Ok(None)
    }))
}

async fn put_habit(state: web::Data<State>, body: web::Bytes) -> HttpResponse {
    done(read::<Habit>(&body).map(|habit| {
        state.cabinets.set_habit(habit);
        None
    }))
}

async fn get_carried(state: web::Data<State>) -> HttpResponse {
    HttpResponse::Ok().json(state.cabinets.carried())
}

async fn put_carried(state: web::Data<State>, body: web::Bytes) -> HttpResponse {
    let carried = read::<Vec<Accumulator>>(&body);
    done(carried.and_then(|carried| state.cabinets.set_carried(carried).map(|()| None)))
}

/// An empty body is an empty object.
fn read<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

fn done(result: Result<Option<Value>, String>) -> HttpResponse {
    match result {
        Ok(None) => HttpResponse::NoContent().finish(),
        Ok(Some(value)) => HttpResponse::Ok().json(value),
        Err(message) => refuse(StatusCode::BAD_REQUEST, "bad_request", &message),
    }
}

fn unknown() -> HttpResponse {
    refuse(StatusCode::NOT_FOUND, "not_found", "there is no such cabinet")
}
