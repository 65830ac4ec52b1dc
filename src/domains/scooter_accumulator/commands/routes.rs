//! Routes: unpack, call the service, wrap.

use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, get, post};
use uuid::Uuid;

use super::model::{CommandOrder, CommandView};
use super::service::Commands;
use crate::domains::scooter_accumulator::cabinets::CabinetPath;
use crate::domains::scooter_accumulator::ids::CabinetId;
use crate::platform::domain::Live;
use crate::platform::error::Result;
use crate::platform::http::body::Json;
use crate::platform::http::idempotency::{IdempotencyHeader, IdempotencyKey};
use crate::platform::http::identity::Internal;
use crate::platform::http::params::Path;
use crate::platform::http::problem::{CreateProblems, ReadProblems};
use crate::platform::http::routes::Routes;

/// Mounts the routes of commands.
pub fn mount(routes: &mut Routes<'_>) {
    routes.service(give).service(command);
}

type Service = Live<Commands>;

const CABINETS: &str = "/scooter-accumulator/internal/v1/cabinets";

/// The path parameters of a command.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "only its description is used")]
struct CommandPath {
    /// The cabinet.
    #[param(value_type = CabinetId)]
    cabinet_id: CabinetId,
    /// The command.
    command_id: Uuid,
}

/// Gives a cabinet a command. The answer says that it is written down; what comes of it is shown at
/// `Location`. An unlock goes before whatever waits for the cabinet. 409 `cabinet_offline`,
/// `cell_booked` (an unlock of a cell that is kept for a booking), `too_many_commands`; 503
/// `broker_unavailable`.
#[utoipa::path(operation_id = "cabinet_commands_give", tag = "scooter-accumulator",
    params(CabinetPath, IdempotencyHeader), request_body = CommandOrder,
    responses((status = 202, body = CommandView, description = "It is written down; `Location` shows its state",
        headers(("Location" = String, description = "The command"))), CreateProblems))]
#[post("/internal/v1/cabinets/{cabinet_id}/commands")]
async fn give(
    internal: Internal,
    service: Service,
    id: Path<CabinetId>,
    key: IdempotencyKey,
    body: Json<CommandOrder>,
) -> Result<HttpResponse> {
    let call = key.guard(&internal.context, None, &body.bytes);
    let location = format!("{CABINETS}/{}/commands", id.0);
    let view = service.0.give(&internal.context, id.0, &body.value, call).await?;
    let location = format!("{location}/{}", view.id);
    Ok(HttpResponse::Accepted().insert_header((LOCATION, location)).json(view))
}

/// A command, its state, and what came of it.
#[utoipa::path(operation_id = "cabinet_commands_get", tag = "scooter-accumulator",
    params(CommandPath),
    responses((status = 200, body = CommandView, description = "The command"), ReadProblems))]
#[get("/internal/v1/cabinets/{cabinet_id}/commands/{command_id}")]
async fn command(
    internal: Internal,
    service: Service,
    path: Path<(CabinetId, Uuid)>,
) -> Result<HttpResponse> {
    let (cabinet, id) = path.0;
    Ok(HttpResponse::Ok().json(service.0.find(&internal.context, &cabinet, id).await?))
}
