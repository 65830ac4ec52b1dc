//! The API documentation, and the answer to what no route matches.

use actix_web::{HttpRequest, HttpResponse, get, web};

use super::state::HttpState;
use crate::platform::error::{Error, Kind};

/// This document. Only enabled domains are in it.
#[utoipa::path(operation_id = "openapi", tag = "service", security(()),
    responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value)))]
#[get("/openapi.json")]
pub(super) async fn openapi_json(state: web::Data<HttpState>) -> Result<HttpResponse, Error> {
    let text = state.description.text(&state.mount)?;
    Ok(HttpResponse::Ok().content_type("application/json").body(text))
}

/// 405 with `Allow` where the path is known, else 404.
pub(super) async fn unmatched(
    request: HttpRequest,
    state: web::Data<HttpState>,
) -> Result<HttpResponse, Error> {
    match state.description.allow(&state.mount).allowed(request.path()) {
        Some(methods) => Err(Error::new(
            Kind::MethodNotAllowed,
            "method_not_allowed",
            format!("This route answers {methods}."),
        )
        .with_extension("allow", &methods)),
        None => Err(Error::not_found("route_not_found", "There is no such route.")),
    }
}
