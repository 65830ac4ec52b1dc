//! Routes: unpack, call the service, wrap.

use actix_web::{HttpResponse, post};

use super::Intake;
use super::model::{StatusEvents, StatusEventsOutcome};
use crate::platform::domain::Live;
use crate::platform::error::Result;
use crate::platform::http::body::Json;
use crate::platform::http::identity::Internal;
use crate::platform::http::problem::BodyProblems;
use crate::platform::http::routes::Routes;

/// Mounts the routes of the intake.
pub(super) fn mount(routes: &mut Routes<'_>) {
    routes.service(status_events);
}

/// Takes events of drivers' statuses from those without Kafka. One that cannot be read does not refuse
/// the rest. It takes no Idempotency-Key: sent again, an event changes nothing.
#[utoipa::path(operation_id = "status_events", tag = "deptrans-driver-status-integration",
    request_body = StatusEvents,
    responses((status = 200, body = StatusEventsOutcome, description = "What became of them"), BodyProblems))]
#[post("/internal/v1/status-events")]
async fn status_events(
    internal: Internal,
    intake: Live<Intake>,
    body: Json<StatusEvents>,
) -> Result<HttpResponse> {
    let outcome = intake.0.take(&internal.context, &body.value).await?;
    Ok(HttpResponse::Ok().json(outcome))
}
