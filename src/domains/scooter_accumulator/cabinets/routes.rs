//! Routes: unpack, call the service, wrap.

use actix_web::{HttpResponse, delete, get, post, put};
use serde::Serialize;

use super::Cabinets;
use super::cells::Cell;
use super::model::{Cabinet, CabinetEdit, CabinetQuery, NewCabinet};
use super::store::Said;
use crate::domains::scooter_accumulator::ids::CabinetId;
use crate::platform::domain::Live;
use crate::platform::error::Result;
use crate::platform::http::body::Json;
use crate::platform::http::etag::{IfMatch, IfMatchHeader, created, versioned};
use crate::platform::http::idempotency::{IdempotencyHeader, IdempotencyKey};
use crate::platform::http::identity::Internal;
use crate::platform::http::pagination::Page;
use crate::platform::http::params::{Path, Query};
use crate::platform::http::problem::{
    CreateProblems, DeleteStateProblems, EditStateProblems, ReadProblems,
};
use crate::platform::http::routes::Routes;

/// Mounts the routes of cabinets.
pub fn mount(routes: &mut Routes<'_>) {
    routes
        .service(create)
        .service(list)
        .service(get_one)
        .service(replace)
        .service(remove)
        .service(cells);
}

type Service = Live<Cabinets>;

const CABINETS: &str = "/scooter-accumulator/internal/v1/cabinets";

/// The path parameter of a cabinet.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "only its description is used")]
pub struct CabinetPath {
    /// The cabinet.
    #[param(value_type = CabinetId)]
    cabinet_id: CabinetId,
}

/// A list that fits into one answer.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Cells {
    items: Vec<Cell>,
}

/// Makes a cabinet known, with empty cells. 409 `cabinet_exists`.
#[utoipa::path(operation_id = "cabinets_create", tag = "scooter-accumulator",
    params(IdempotencyHeader), request_body = NewCabinet,
    responses((status = 201, body = Cabinet, description = "It is known",
        headers(("ETag" = String, description = "The version of what people edit"),
            ("Location" = String, description = "The cabinet"))), CreateProblems))]
#[post("/internal/v1/cabinets")]
async fn create(
    internal: Internal,
    service: Service,
    key: IdempotencyKey,
    body: Json<NewCabinet>,
) -> Result<HttpResponse> {
    let call = key.guard(&internal.context, None, &body.bytes);
    let NewCabinet { id, lat, lon, cell_count } = body.value;
    let said = Said { lat, lon, cell_count };
    let made = service.0.create(&internal.context, &id, said, call).await?;
    let location = format!("{CABINETS}/{}", made.cabinet.id);
    Ok(created(location, made.version, &made.cabinet))
}

/// Cabinets by their ids, or the nearest to a point first, each with how many of its cells can be used
/// for what now.
#[utoipa::path(operation_id = "cabinets_list", tag = "scooter-accumulator",
    params(CabinetQuery),
    responses((status = 200, body = Page<Cabinet>, description = "A page"), ReadProblems))]
#[get("/internal/v1/cabinets")]
async fn list(
    internal: Internal,
    service: Service,
    query: Query<CabinetQuery>,
) -> Result<HttpResponse> {
    let asked = query.0.check()?;
    let (items, next) = service.0.list(&internal.context, &asked).await?;
    Ok(HttpResponse::Ok().json(Page::new(items, next)?))
}

/// A cabinet.
#[utoipa::path(operation_id = "cabinets_get", tag = "scooter-accumulator",
    params(CabinetPath),
    responses((status = 200, body = Cabinet, description = "The cabinet",
        headers(("ETag" = String, description = "The version of what people edit"))), ReadProblems))]
#[get("/internal/v1/cabinets/{cabinet_id}")]
async fn get_one(
    internal: Internal,
    service: Service,
    id: Path<CabinetId>,
) -> Result<HttpResponse> {
    let found = service.0.get(&internal.context, &id.0).await?;
    Ok(versioned(found.version, &found.cabinet))
}

/// Writes where a cabinet is and how many cells it has. 409 `cells_in_use` when cells would go that
/// something is in, or that are booked.
#[utoipa::path(operation_id = "cabinets_replace", tag = "scooter-accumulator",
    params(CabinetPath, IfMatchHeader), request_body = CabinetEdit,
    responses((status = 200, body = Cabinet, description = "The cabinet as it is now",
        headers(("ETag" = String, description = "The version of what people edit"))), EditStateProblems))]
#[put("/internal/v1/cabinets/{cabinet_id}")]
async fn replace(
    internal: Internal,
    service: Service,
    id: Path<CabinetId>,
    if_match: IfMatch,
    body: Json<CabinetEdit>,
) -> Result<HttpResponse> {
    let CabinetEdit { id: named, lat, lon, cell_count } = body.value;
    id.must_be(named.as_ref())?;
    let said = Said { lat, lon, cell_count };
    let edited = service.0.replace(&internal.context, &id.0, said, &if_match.0).await?;
    Ok(versioned(edited.version, &edited.cabinet))
}

/// Deletes a cabinet, with its ended bookings and its commands. 409 `cabinet_in_use` while
/// accumulators are in it or cells of it are booked. Repeating it does no harm.
#[utoipa::path(operation_id = "cabinets_delete", tag = "scooter-accumulator",
    params(CabinetPath, IfMatchHeader),
    responses((status = 204, description = "There is no such cabinet now"), DeleteStateProblems))]
#[delete("/internal/v1/cabinets/{cabinet_id}")]
async fn remove(
    internal: Internal,
    service: Service,
    id: Path<CabinetId>,
    if_match: IfMatch,
) -> Result<HttpResponse> {
    service.0.delete(&internal.context, &id.0, &if_match.0).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// The cells of a cabinet, in order.
#[utoipa::path(operation_id = "cabinets_cells", tag = "scooter-accumulator",
    params(CabinetPath),
    responses((status = 200, body = Cells, description = "All of them"), ReadProblems))]
#[get("/internal/v1/cabinets/{cabinet_id}/cells")]
async fn cells(internal: Internal, service: Service, id: Path<CabinetId>) -> Result<HttpResponse> {
    let items = service.0.cells(&internal.context, &id.0).await?;
    Ok(HttpResponse::Ok().json(Cells { items }))
}
