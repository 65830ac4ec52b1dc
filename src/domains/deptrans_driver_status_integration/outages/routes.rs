//! Routes: unpack, call the service, wrap.

use actix_web::{HttpResponse, get};

use super::Outages;
use super::store::Outage;
use crate::platform::domain::Live;
use crate::platform::error::Result;
use crate::platform::http::identity::Internal;
use crate::platform::http::pagination::{Page, Paging};
use crate::platform::http::params::Query;
use crate::platform::http::problem::ReadProblems;
use crate::platform::http::routes::Routes;

pub(super) fn mount(routes: &mut Routes<'_>) {
    routes.service(list);
}

/// When the regulator's system could not be told of drivers, the newest first.
#[utoipa::path(operation_id = "krt_outages", tag = "deptrans-driver-status-integration",
    params(Paging),
    responses((status = 200, body = Page<Outage>, description = "A page"), ReadProblems))]
#[get("/internal/v1/krt/outages")]
async fn list(
    caller: Internal,
    service: Live<Outages>,
    paging: Query<Paging>,
) -> Result<HttpResponse> {
    let (limit, before) = (paging.0.limit()?, paging.0.position()?);
    let (items, next) = service.0.list(&caller.context, before, limit).await?;
    Ok(HttpResponse::Ok().json(Page::new(items, next)?))
}
