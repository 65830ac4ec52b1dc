//! Puts the server together and runs it.

use std::net::TcpListener;
use std::time::Duration;

use actix_http::HttpService;
use actix_service::{IntoServiceFactory, ServiceFactoryExt as _, fn_service, map_config};
use actix_web::body::MessageBody;
use actix_web::dev::{AppConfig, Server, ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::middleware::from_fn;
use actix_web::rt::net::TcpStream;
use actix_web::{App, web};
use socket2::SockRef;
use tracing_actix_web::TracingLogger;
use utoipa_swagger_ui::SwaggerUi;

use super::answer_stream::{AnswerStream, WriteDeadline};
use super::pipeline::pipeline;
use super::routes::Routes;
use super::span::RequestSpan;
use super::state::{HttpState, Mount};
use super::{docs, health};

/// How long a connection that is closed waits for its client to close it, too.
const DISCONNECT: Duration = Duration::from_secs(1);

pub(super) fn mount_all(routes: &mut Routes<'_>, mount: &Mount) {
    routes
        .service(health::livez)
        .service(health::readyz)
        .service(health::metrics)
        .service(health::version)
        .service(docs::openapi_json);
    mount(routes);
}

/// Whatever answers requests, made once for each worker.
fn app(
    state: web::Data<HttpState>,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody>,
        Error = actix_web::Error,
        InitError = (),
    >,
> {
    let docs =
        SwaggerUi::new("/docs/{_:.*}").config(utoipa_swagger_ui::Config::from("/openapi.json"));
    App::new()
        .configure(|config| mount_all(&mut Routes::new(config), &state.mount))
        .app_data(state)
        .service(web::redirect("/docs", "/docs/"))
        .service(docs)
        .default_service(web::to(docs::unmatched))
        .wrap(from_fn(pipeline))
        .wrap(TracingLogger::<RequestSpan>::new())
}

/// Starts the server on `listener`. It runs once the returned future is polled; its handle stops
/// it. Signals are the caller's affair.
///
/// It is put together as actix-web's `HttpServer` does it, which takes no streams of ours.
///
/// # Errors
/// The listener cannot be used.
pub fn serve(listener: TcpListener, state: web::Data<HttpState>) -> std::io::Result<Server> {
    let settings = state.settings.clone();
    let addr = listener.local_addr()?;
    // Connections inherit it: the kernel gives one up whose client takes, or acknowledges, nothing.
    SockRef::from(&listener).set_tcp_user_timeout(Some(settings.write_timeout()))?;
    let server = Server::build()
        .workers(settings.worker_threads())
        .shutdown_timeout(settings.grace_ms.div_ceil(1000))
        .disable_signals();
    let stopping = server.graceful_shutdown_signal();
    let deadline = WriteDeadline {
        timeout: settings.write_timeout(),
        missed: state.metrics.write_timeouts.clone(),
    };
    let server = server.listen("http", listener, move || {
        let app = app(state.clone())
            .into_factory()
            .map_err(|error: actix_web::Error| error.error_response());
        let stopping = stopping.clone();
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .keep_alive(Duration::from_millis(settings.keep_alive_ms))
            .client_request_timeout(Duration::from_millis(settings.head_timeout_ms))
            .client_disconnect_timeout(DISCONNECT)
            .local_addr(addr)
            .h1(map_config(app, |()| AppConfig::default()));
        let deadline = deadline.clone();
        fn_service(move |client: TcpStream| {
            let deadline = deadline.clone();
            async move {
                let peer = client.peer_addr().ok();
                Ok((AnswerStream::new(client, deadline), peer))
            }
        })
        .and_then(http)
    })?;
    Ok(server.run())
}
