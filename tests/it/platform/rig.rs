//! The platform's HTTP side with routes of a test's own, which no domain has: they panic, fail in
//! the ways of libraries, or wait.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::rt::System;
use actix_web::{HttpResponse, get, post, web};
use fleet::platform::config::{ConfigSource, CoreSettings};
use fleet::platform::http::{HttpState, Mount, serve};
use fleet::platform::readiness::{Readiness, ReadinessRow, ReadinessSource};
use fleet::platform::telemetry::metrics::Metrics;

use crate::support::client::Caller;

/// Bytes in the answer of `/trial/large`.
pub const LARGE: usize = 32 << 20;

/// A server of the platform with routes below `/trial`.
pub struct Rig {
    pub addr: SocketAddr,
    handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

struct AlwaysReady;

impl ReadinessSource for AlwaysReady {
    fn readiness(&self) -> std::pin::Pin<Box<dyn Future<Output = Readiness> + '_>> {
        Box::pin(async { Readiness::of(vec![ReadinessRow::ok("trial")], Vec::new()) })
    }
}

#[utoipa::path(operation_id = "panics", responses((status = 200, description = "never")))]
#[get("/panics")]
async fn panics() -> HttpResponse {
    panic!("+79990000001 must not be told to anybody")
}

#[utoipa::path(operation_id = "panics_later", responses((status = 200, description = "never")))]
#[get("/panics-later")]
async fn panics_later() -> HttpResponse {
    tokio::time::sleep(Duration::from_millis(10)).await;
    panic!("after the first await")
}

/// Fails as actix's own extractor does: with a text.
#[utoipa::path(operation_id = "library", responses((status = 200, description = "never")))]
#[post("/library")]
async fn library(_: web::Json<u32>) -> HttpResponse {
    HttpResponse::Ok().finish()
}

/// Fails with an answer that is no problem.
#[utoipa::path(operation_id = "teapot", responses((status = 200, description = "never")))]
#[get("/teapot")]
async fn teapot() -> HttpResponse {
    HttpResponse::ImATeapot().content_type("text/html").body("<b>SELECT 1</b>")
}

/// More than any buffer on the way holds.
#[utoipa::path(operation_id = "large", responses((status = 200, description = "Much")))]
#[get("/large")]
async fn large() -> HttpResponse {
    HttpResponse::Ok().body(vec![b'x'; LARGE])
}

impl Rig {
    pub fn start() -> Self {
        Self::with("")
    }

    /// A server that differs in these keys of `[http]`.
    pub fn with(keys: &str) -> Self {
        let source = ConfigSource::texts(vec![format!("[http]\nworkers = 1\n{keys}")]);
        let core = CoreSettings::read(&source.load().unwrap(), &fleet::app::KNOWN).unwrap();
        let mount: Mount = Arc::new(|routes| {
            routes.scope("/trial", |routes| {
                routes.service(panics).service(panics_later).service(library);
                routes.service(teapot).service(large);
            });
        });
        let (metrics, readiness) = (Metrics::default(), Arc::new(AlwaysReady));
        let state = HttpState::new(core.http, &core.auth, metrics, vec!["trial"], readiness, mount);
        let state = web::Data::new(state);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let addr = listener.local_addr().unwrap();
        let (started, wait) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            System::new().block_on(async {
                let server = serve(listener, state).unwrap();
                started.send(server.handle()).unwrap();
                server.await.unwrap();
            });
        });
        Self { addr, handle: wait.recv().unwrap(), thread: Some(thread) }
    }

    pub fn caller(&self) -> Caller {
        Caller::anonymous(format!("http://{}", self.addr))
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // The command is sent by the call.
        drop(self.handle.stop(false));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
