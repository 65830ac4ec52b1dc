//! Puts the server together and runs it.

use std::net::TcpListener;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::middleware::from_fn;
use actix_web::{App, HttpServer, web};
use tracing_actix_web::TracingLogger;
use utoipa::OpenApi;
use utoipa::openapi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa_actix_web::AppExt;
use utoipa_actix_web::service_config::ServiceConfig;
use utoipa_swagger_ui::SwaggerUi;

use super::pipeline::pipeline;
use super::problem::Problem;
use super::span::RequestSpan;
use super::state::{HttpState, Mount};
use super::{docs, health};

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

fn mount_service_routes(routes: &mut ServiceConfig<'_>) {
    routes
        .service(health::livez)
        .service(health::readyz)
        .service(health::metrics)
        .service(health::version)
        .service(docs::openapi_json);
}

/// Starts the server on `listener`. It runs once the returned future is polled; its handle stops
/// it. Signals are the caller's affair.
///
/// # Errors
/// The listener cannot be used.
pub fn serve(
    listener: TcpListener,
    state: web::Data<HttpState>,
    mount: Mount,
) -> std::io::Result<Server> {
    let settings = state.settings.clone();
    let server = HttpServer::new(move || {
        let mount = Mount::clone(&mount);
        let docs =
            SwaggerUi::new("/docs/{_:.*}").config(utoipa_swagger_ui::Config::from("/openapi.json"));
        App::new()
            .into_utoipa_app()
            .configure(move |routes| {
                mount_service_routes(routes);
                mount(routes);
            })
            .into_app()
            .app_data(state.clone())
            .service(web::redirect("/docs", "/docs/"))
            .service(docs)
            .default_service(web::to(docs::unmatched))
            .wrap(from_fn(pipeline))
            .wrap(TracingLogger::<RequestSpan>::new())
    });
    let server = server
        .workers(settings.worker_threads())
        .keep_alive(Duration::from_millis(settings.keep_alive_ms))
        .client_request_timeout(Duration::from_millis(settings.head_timeout_ms))
        .shutdown_timeout(settings.grace_ms.div_ceil(1000))
        .disable_signals()
        .listen(listener)?;
    Ok(server.run())
}
