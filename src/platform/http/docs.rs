//! The API documentation, and the answer to what no route matches.

use actix_web::dev::ResourceDef;
use actix_web::http::Method;
use actix_web::{App, HttpRequest, HttpResponse, get, web};
use utoipa::OpenApi;
use utoipa::openapi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa_actix_web::AppExt;

use super::problem::Problem;
use super::server::{HttpState, Mount, mount_service_routes};
use crate::platform::error::{Error, Kind};

#[derive(OpenApi)]
#[openapi(components(schemas(Problem)))]
struct Components;

/// The OpenAPI 3.1 document of the service routes and of whatever `mount` mounts.
pub fn document(mount: &Mount) -> openapi::OpenApi {
    let mut base = Components::openapi();
    base.info = openapi::InfoBuilder::new()
        .title("fleet")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(env!("CARGO_PKG_DESCRIPTION")))
        .build();
    base.servers = Some(vec![openapi::Server::new("/")]);
    base.security = Some(vec![SecurityRequirement::new("bearer", Vec::<String>::new())]);
    if let Some(components) = base.components.as_mut() {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        components.add_security_scheme("bearer", scheme);
    }
    let mount = Mount::clone(mount);
    let (_, document) = App::new()
        .into_utoipa_app()
        .openapi(base)
        .configure(move |routes| {
            mount_service_routes(routes);
            mount(routes);
        })
        .split_for_parts();
    document
}

/// This document. Only enabled domains are in it.
#[utoipa::path(operation_id = "openapi", tag = "service", security(()),
    responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value)))]
#[get("/openapi.json")]
pub(super) async fn openapi_json(state: web::Data<HttpState>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(state.openapi.clone())
}

/// Which methods each path template answers, read from the OpenAPI document.
pub(super) struct AllowTable(Vec<(ResourceDef, String)>);

impl AllowTable {
    pub fn new(document: &openapi::OpenApi) -> Self {
        let row = |(path, item): (&String, &openapi::PathItem)| {
            let methods = [
                (Method::GET, item.get.is_some()),
                (Method::POST, item.post.is_some()),
                (Method::PUT, item.put.is_some()),
                (Method::PATCH, item.patch.is_some()),
                (Method::DELETE, item.delete.is_some()),
            ];
            let allowed: Vec<String> = methods
                .iter()
                .filter(|(_, has)| *has)
                .map(|(method, _)| method.to_string())
                .collect();
            (ResourceDef::new(path.as_str()), allowed.join(", "))
        };
        Self(document.paths.paths.iter().map(row).collect())
    }

    fn allowed(&self, path: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(pattern, _)| pattern.is_match(path))
            .map(|(_, methods)| methods.as_str())
    }
}

/// 405 with `Allow` where the path is known, else 404.
pub(super) async fn unmatched(
    request: HttpRequest,
    state: web::Data<HttpState>,
) -> Result<HttpResponse, Error> {
    match state.allow.allowed(request.path()) {
        Some(methods) => Err(Error::new(
            Kind::MethodNotAllowed,
            "method_not_allowed",
            format!("This route answers {methods}."),
        )
        .with_extension("allow", methods.into())),
        None => Err(Error::not_found("route_not_found", "There is no such route.")),
    }
}
