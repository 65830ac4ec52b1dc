//! Service routes: liveness, readiness, metrics, version. They need no token.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, get, web};
use serde::Serialize;

use super::state::HttpState;
use crate::platform::readiness::Readiness;

/// The process answers; nothing else is said. A failing probe means: restart it.
#[utoipa::path(operation_id = "livez", tag = "service", security(()),
    responses((status = 200, description = "The process answers", body = String, content_type = "text/plain")))]
#[get("/livez")]
pub(super) async fn livez() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain").body("ok\n")
}

/// Whether to send requests here: 200 as long as at least one domain serves and the process does
/// not stop.
#[utoipa::path(operation_id = "readyz", tag = "service", security(()), responses(
    (status = 200, description = "Ready, perhaps degraded", body = Readiness),
    (status = 503, description = "Not ready, or stopping", body = Readiness)))]
#[get("/readyz")]
pub(super) async fn readyz(state: web::Data<HttpState>) -> HttpResponse {
    let mut readiness = state.readiness.readiness().await;
    if state.is_stopping() {
        readiness.status = "stopping";
    }
    let serving = matches!(readiness.status, "ready" | "degraded");
    let status = if serving { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    HttpResponse::build(status).json(readiness)
}

/// Metrics in Prometheus' text format.
#[utoipa::path(operation_id = "metrics", tag = "service", security(()),
    responses((status = 200, description = "Metrics", body = String, content_type = "text/plain")))]
#[get("/metrics")]
pub(super) async fn metrics(state: web::Data<HttpState>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/plain; version=0.0.4; charset=utf-8")
        .body(state.registry.render())
}

/// What runs here.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Version<'a> {
    name: &'static str,
    #[serde(rename = "version")]
    release: &'static str,
    /// The enabled domains.
    domains: &'a [&'static str],
}

/// Name, version and enabled domains.
#[utoipa::path(operation_id = "version", tag = "service", security(()),
    responses((status = 200, description = "What runs here", body = Version)))]
#[get("/version")]
pub(super) async fn version(state: web::Data<HttpState>) -> HttpResponse {
    HttpResponse::Ok().json(Version {
        name: env!("CARGO_PKG_NAME"),
        release: env!("CARGO_PKG_VERSION"),
        domains: &state.domains,
    })
}
