//! Routes: unpack, call the service, wrap.

use actix_web::{HttpResponse, post};
use uuid::Uuid;

use super::model::ExecuteOrder;
use super::service::Execution;
use crate::domains::scooter_accumulator::bookings::{Booking, BookingPath};
use crate::platform::domain::Live;
use crate::platform::error::Result;
use crate::platform::http::body::Json;
use crate::platform::http::identity::Internal;
use crate::platform::http::params::Path;
use crate::platform::http::problem::ChangeProblems;
use crate::platform::http::routes::Routes;

/// Mounts the route.
pub fn mount(routes: &mut Routes<'_>) {
    routes.service(execute);
}

/// The route, as the server knows it: the domain's one whose answer a cabinet gives.
pub const ROUTE: &str = "/scooter-accumulator/internal/v1/bookings/{booking_id}/execute";

/// Has the booking's cells opened, and answers when the cabinet says which are. A pick-up's
/// accumulators are the technician's from then on; a return's become the cabinet's when it reports
/// them. Called again while it runs, it waits for the same command; after it is done, it answers the
/// same. 504 `cabinet_no_answer`: it is not known whether doors were opened, and the booking shows it
/// later; called again, the cabinet is first asked for its state. 409 `cabinet_offline`,
/// `booking_not_active`, `cabinet_busy`, `cabinet_jammed`, `cabinet_unknown_cell`, `cabinet_refused`
/// (nothing was opened; the booking is active again), `accumulator_not_with_contractor`; 503
/// `broker_unavailable`.
///
/// The cabinet may open doors for as long as the caller waits, and no longer. Without
/// `X-Request-Timeout-Ms` that is as long as the cabinet may take to answer, and what is needed around it
/// (`commands.answer_ms`, `commands.pace_ms` and a second; 12 s by default), not
/// `http.default_timeout_ms`.
#[utoipa::path(operation_id = "bookings_execute", tag = "scooter-accumulator",
    params(BookingPath), request_body = ExecuteOrder,
    responses((status = 200, body = Booking, description = "The cells that are open, or what became of them"),
        ChangeProblems))]
#[post("/internal/v1/bookings/{booking_id}/execute")]
async fn execute(
    internal: Internal,
    service: Live<Execution>,
    id: Path<Uuid>,
    body: Json<ExecuteOrder>,
) -> Result<HttpResponse> {
    let named = body.value.accumulator_ids;
    Ok(HttpResponse::Ok().json(service.0.execute(&internal.context, id.0, named).await?))
}
