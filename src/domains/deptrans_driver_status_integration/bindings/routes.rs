//! Routes: unpack, call the service, wrap.

use actix_web::{HttpResponse, delete, get, post};

use super::Bindings;
use super::model::{GivenId, IdPresence};
use crate::platform::domain::Live;
use crate::platform::error::Result;
use crate::platform::http::body::Json;
use crate::platform::http::identity::{Driver, DriverHeaders, Internal};
use crate::platform::http::params::Path;
use crate::platform::http::problem::{CreateProblems, ReadProblems};
use crate::platform::http::routes::Routes;
use crate::platform::ids::PersonalId;

/// Mounts the routes of bindings.
pub(super) fn mount(routes: &mut Routes<'_>) {
    routes.service(read).service(bind).service(remove);
}

type Service = Live<Bindings>;

/// Whether the driver has an id at the regulator. The id itself is a secret.
#[utoipa::path(operation_id = "deptrans_id_read", tag = "deptrans-driver-status-integration",
    params(DriverHeaders),
    responses((status = 200, body = IdPresence, description = "Whether there is one"), ReadProblems))]
#[get("/driver/v1/deptrans-status/v1/id")]
async fn read(driver: Driver, service: Service) -> Result<HttpResponse> {
    let (park, profile) = (&driver.park, &driver.driver_profile_id);
    Ok(HttpResponse::Ok().json(service.0.presence(&driver.context, park, profile).await?))
}

/// Binds the driver's id to his licence, once the regulator confirms that they belong together.
/// Sending it again does no harm; another id takes the place of the first. Refused are: an id that is
/// bound to another licence (409 `id_bound_to_another_license`), one that the regulator does not know as
/// this licence's (422 `id_does_not_match_license`), and a driver whose licence is not known (404
/// `driver_profile_not_found`, 409 `driver_license_unknown`). While the regulator cannot be asked
/// nothing is stored (503 `krt_unavailable`).
#[utoipa::path(operation_id = "deptrans_id_bind", tag = "deptrans-driver-status-integration",
    params(DriverHeaders), request_body = GivenId,
    responses((status = 200, body = IdPresence, description = "It is bound"), CreateProblems))]
#[post("/driver/v1/deptrans-status/v1/id")]
async fn bind(driver: Driver, service: Service, body: Json<GivenId>) -> Result<HttpResponse> {
    let (park, profile) = (&driver.park, &driver.driver_profile_id);
    let bound = service.0.bind(&driver.context, park, profile, &body.value.id).await?;
    Ok(HttpResponse::Ok().json(bound))
}

/// The path parameter of a licence.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "only its description is used")]
struct LicensePath {
    /// The licence, an id of `personal`.
    #[param(value_type = PersonalId)]
    driver_license_pd_id: PersonalId,
}

/// Removes the id that is bound to a licence, and the state of its shift: for support staff. Who follows
/// the updates is told of both, and the regulator that its driver is off line, if he was on line under it.
/// The id may be bound to another licence then. Also 204 when there was nothing to remove.
#[utoipa::path(operation_id = "deptrans_id_remove", tag = "deptrans-driver-status-integration",
    params(LicensePath),
    responses((status = 204, description = "It is not there any more"), ReadProblems))]
#[delete("/internal/v1/id/{driver_license_pd_id}")]
async fn remove(
    caller: Internal,
    service: Service,
    license: Path<PersonalId>,
) -> Result<HttpResponse> {
    service.0.remove(&caller.context, &license.0).await?;
    Ok(HttpResponse::NoContent().finish())
}
