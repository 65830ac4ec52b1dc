//! Routes: unpack, call the service, wrap.

use actix_web::{HttpResponse, post};

use super::Checks;
use super::model::{Check, Checked};
use crate::platform::domain::Live;
use crate::platform::error::Result;
use crate::platform::http::body::Json;
use crate::platform::http::identity::Internal;
use crate::platform::http::problem::BodyProblems;
use crate::platform::http::routes::Routes;

/// Mounts the route.
pub(super) fn mount(routes: &mut Routes<'_>) {
    routes.service(check);
}

/// Whether drivers may take orders now, as far as the regulator's rules go, and what stands against it.
/// A profile that is not known is one without an id. A driver's region is that of his position; while
/// driver-trackstory does not answer, that of the status of his that was looked at last. Where a region
/// is in its first stage, and outside of all regions, reasons warn and block nobody.
#[utoipa::path(operation_id = "deptrans_drivers_check", tag = "deptrans-driver-status-integration",
    request_body = Check,
    responses((status = 200, body = Checked, description = "One item for each driver, in their order"),
        BodyProblems))]
#[post("/internal/v1/drivers/check")]
async fn check(caller: Internal, service: Live<Checks>, body: Json<Check>) -> Result<HttpResponse> {
    let items = service.0.check(&caller.context, body.value.drivers).await?;
    Ok(HttpResponse::Ok().json(Checked { items }))
}
