//! Puts the server together and runs it.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::middleware::from_fn;
use actix_web::{App, HttpServer, web};
use tracing_actix_web::TracingLogger;
use utoipa_actix_web::AppExt;
use utoipa_actix_web::service_config::ServiceConfig;
use utoipa_swagger_ui::SwaggerUi;

use super::auth::Callers;
use super::docs::{self, AllowTable};
use super::health;
use super::pipeline::{HttpMetrics, pipeline};
use super::span::RequestSpan;
use crate::platform::config::auth::AuthSettings;
use crate::platform::config::http::HttpSettings;
use crate::platform::readiness::ReadinessSource;
use crate::platform::telemetry::metrics::Metrics;

/// Mounts the routes of the enabled domains; called once for each worker.
pub type Mount = Arc<dyn Fn(&mut ServiceConfig<'_>) + Send + Sync>;

/// What all workers share.
pub struct HttpState {
    pub(super) settings: HttpSettings,
    pub(super) callers: Callers,
    pub(super) metrics: HttpMetrics,
    pub(super) registry: Metrics,
    pub(super) domains: Vec<&'static str>,
    pub(super) readiness: Arc<dyn ReadinessSource>,
    pub(super) openapi: web::Bytes,
    pub(super) allow: AllowTable,
    pub(super) in_flight: AtomicUsize,
    stopping: AtomicBool,
}

impl HttpState {
    /// The state of a server that will mount `mount`.
    ///
    /// # Errors
    /// The API document cannot be written.
    pub fn new(
        settings: HttpSettings,
        auth: &AuthSettings,
        registry: Metrics,
        domains: Vec<&'static str>,
        readiness: Arc<dyn ReadinessSource>,
        mount: &Mount,
    ) -> serde_json::Result<Self> {
        let document = docs::document(mount);
        Ok(Self {
            callers: Callers::new(auth),
            metrics: HttpMetrics::register(&registry),
            openapi: document.to_json()?.into(),
            allow: AllowTable::new(&document),
            settings,
            registry,
            domains,
            readiness,
            in_flight: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
        })
    }

    /// From now on `/readyz` says that the process stops.
    pub fn begin_stopping(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// The domain label of a route template: its first segment, when that is an enabled domain.
    pub(super) fn domain_of(&self, route: &str) -> &'static str {
        let first = route.split('/').nth(1).unwrap_or_default();
        self.domains.iter().copied().find(|name| *name == first).unwrap_or("none")
    }

    /// Probes, scrapes and documentation: answered even when requests are shed.
    pub(super) fn is_service_route(&self, path: &str) -> bool {
        let first = path.split('/').nth(1).unwrap_or_default();
        !self.domains.contains(&first)
    }
}

pub(super) fn mount_service_routes(routes: &mut ServiceConfig<'_>) {
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
