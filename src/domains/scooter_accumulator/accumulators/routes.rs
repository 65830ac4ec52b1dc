//! Routes: unpack, call the service, wrap.

use actix_web::{HttpResponse, delete, get, post, put};

use super::Accumulators;
use super::model::{
    Accumulator, AccumulatorEdit, AccumulatorQuery, HistoryItem, NewAccumulator, NewSwap, Swap,
};
use crate::domains::scooter_accumulator::ids::{AccumulatorId, ScooterId};
use crate::platform::domain::Live;
use crate::platform::error::Result;
use crate::platform::http::body::Json;
use crate::platform::http::etag::{IfMatch, IfMatchHeader, created, versioned};
use crate::platform::http::idempotency::{IdempotencyHeader, IdempotencyKey};
use crate::platform::http::identity::Internal;
use crate::platform::http::pagination::{Page, Paging};
use crate::platform::http::params::{Path, Query};
use crate::platform::http::problem::{
    CreateProblems, DeleteStateProblems, EditStateProblems, ReadProblems,
};
use crate::platform::http::routes::Routes;

/// Mounts the routes of accumulators and swaps.
pub fn mount(routes: &mut Routes<'_>) {
    routes
        .service(create)
        .service(list)
        .service(get_one)
        .service(replace)
        .service(remove)
        .service(history)
        .service(swap);
}

type Service = Live<Accumulators>;

const ACCUMULATORS: &str = "/scooter-accumulator/internal/v1/accumulators";

/// The path parameter of an accumulator.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "only its description is used")]
struct AccumulatorPath {
    /// The accumulator.
    #[param(value_type = AccumulatorId)]
    accumulator_id: AccumulatorId,
}

/// The path parameter of a scooter.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "only its description is used")]
struct ScooterPath {
    /// The scooter.
    #[param(value_type = ScooterId)]
    scooter_id: ScooterId,
}

/// Makes an accumulator known. 409 `accumulator_exists`, `cell_occupied`, `cell_booked`.
#[utoipa::path(operation_id = "accumulators_create", tag = "scooter-accumulator",
    params(IdempotencyHeader), request_body = NewAccumulator,
    responses((status = 201, body = Accumulator, description = "It is known",
        headers(("ETag" = String, description = "The version"),
            ("Location" = String, description = "The accumulator"))), CreateProblems))]
#[post("/internal/v1/accumulators")]
async fn create(
    internal: Internal,
    service: Service,
    key: IdempotencyKey,
    body: Json<NewAccumulator>,
) -> Result<HttpResponse> {
    let call = key.guard(&internal.context, None, &body.bytes);
    let made = service.0.create(&internal.context, body.value, call).await?;
    let location = format!("{ACCUMULATORS}/{}", made.accumulator.id);
    Ok(created(location, made.version, &made.accumulator))
}

/// Accumulators by their ids: all, or those of a technician, a scooter or a cabinet.
#[utoipa::path(operation_id = "accumulators_list", tag = "scooter-accumulator",
    params(AccumulatorQuery),
    responses((status = 200, body = Page<Accumulator>, description = "A page"), ReadProblems))]
#[get("/internal/v1/accumulators")]
async fn list(
    internal: Internal,
    service: Service,
    query: Query<AccumulatorQuery>,
) -> Result<HttpResponse> {
    let (items, next) = service.0.list(&internal.context, &query.0).await?;
    Ok(HttpResponse::Ok().json(Page::new(items, next)?))
}

/// An accumulator: its charge, and where it is.
#[utoipa::path(operation_id = "accumulators_get", tag = "scooter-accumulator",
    params(AccumulatorPath),
    responses((status = 200, body = Accumulator, description = "The accumulator",
        headers(("ETag" = String, description = "The version"))), ReadProblems))]
#[get("/internal/v1/accumulators/{accumulator_id}")]
async fn get_one(
    internal: Internal,
    service: Service,
    id: Path<AccumulatorId>,
) -> Result<HttpResponse> {
    let found = service.0.get(&internal.context, &id.0).await?;
    Ok(versioned(found.version, &found.accumulator))
}

/// Writes what a person says of an accumulator. What cabinets report later counts more. 409
/// `accumulator_booked`, `cell_occupied`, `cell_booked` when it would move and may not.
#[utoipa::path(operation_id = "accumulators_replace", tag = "scooter-accumulator",
    params(AccumulatorPath, IfMatchHeader), request_body = AccumulatorEdit,
    responses((status = 200, body = Accumulator, description = "The accumulator as it is now",
        headers(("ETag" = String, description = "The version"))), EditStateProblems))]
#[put("/internal/v1/accumulators/{accumulator_id}")]
async fn replace(
    internal: Internal,
    service: Service,
    id: Path<AccumulatorId>,
    if_match: IfMatch,
    body: Json<AccumulatorEdit>,
) -> Result<HttpResponse> {
    id.must_be(body.value.id.as_ref())?;
    let edited = service.0.replace(&internal.context, &id.0, &body.value, &if_match.0).await?;
    Ok(versioned(edited.version, &edited.accumulator))
}

/// Deletes an accumulator, with its history. 409 `accumulator_booked`. Repeating it does no harm.
#[utoipa::path(operation_id = "accumulators_delete", tag = "scooter-accumulator",
    params(AccumulatorPath, IfMatchHeader),
    responses((status = 204, description = "There is no such accumulator now"), DeleteStateProblems))]
#[delete("/internal/v1/accumulators/{accumulator_id}")]
async fn remove(
    internal: Internal,
    service: Service,
    id: Path<AccumulatorId>,
    if_match: IfMatch,
) -> Result<HttpResponse> {
    service.0.delete(&internal.context, &id.0, &if_match.0).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// The moves of an accumulator, the newest first.
#[utoipa::path(operation_id = "accumulators_history", tag = "scooter-accumulator",
    params(AccumulatorPath, Paging),
    responses((status = 200, body = Page<HistoryItem>, description = "A page"), ReadProblems))]
#[get("/internal/v1/accumulators/{accumulator_id}/history")]
async fn history(
    internal: Internal,
    service: Service,
    id: Path<AccumulatorId>,
    paging: Query<Paging>,
) -> Result<HttpResponse> {
    let (limit, before) = (paging.0.limit()?, paging.0.position()?);
    let (items, next) = service.0.history(&internal.context, &id.0, before, limit).await?;
    Ok(HttpResponse::Ok().json(Page::new(items, next)?))
}

/// A technician has swapped a charged accumulator into a scooter: it is the scooter's now, and the
/// discharged one the technician's. 409 `charged_accumulator_elsewhere`,
/// `discharged_accumulator_elsewhere`, `scooter_occupied` (one that is not named is in it),
/// `accumulator_booked` (it is being returned).
#[utoipa::path(operation_id = "scooters_swap", tag = "scooter-accumulator",
    params(ScooterPath, IdempotencyHeader), request_body = NewSwap,
    responses((status = 200, body = Swap, description = "Where both are now"), CreateProblems))]
#[post("/internal/v1/scooters/{scooter_id}/swap")]
async fn swap(
    internal: Internal,
    service: Service,
    scooter: Path<ScooterId>,
    key: IdempotencyKey,
    body: Json<NewSwap>,
) -> Result<HttpResponse> {
    let call = key.guard(&internal.context, None, &body.bytes);
    let swap = service.0.swap(&internal.context, &scooter.0, &body.value, call).await?;
    Ok(HttpResponse::Ok().json(swap))
}
