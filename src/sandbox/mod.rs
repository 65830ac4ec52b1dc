//! Stand-ins for the private services outside, as a real HTTP server.
//!
//! `fleet sandbox` serves them for `make run`; tests start one in-process on a free port. A
//! stand-in is a file with routes, mounted below its own name, and speaks exactly its contract.
//! Faults can be set for each (`faults`), the calls it got are counted (`calls`), and the last
//! request of each operation can be seen (`last`).

pub mod cabinets;
mod calls;
#[cfg(feature = "kafka")]
mod city;
mod deptrans;
mod driver_categories;
mod driver_profiles;
mod driver_trackstory;
mod faults;
mod feeds;
mod fleet_parks;
mod int_api;
#[cfg(feature = "kafka")]
mod kafka;
mod krt;
mod last;
mod parks;
mod personal;
mod revisions;
mod seed;
mod world;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::{io, thread};

use actix_web::body::BoxBody;
use actix_web::dev::{HttpServiceFactory, Server, ServerHandle, ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use actix_web::middleware::{Next, from_fn};
use actix_web::rt::System;
use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

#[cfg(feature = "kafka")]
pub use self::city::{City, CityOptions, DriverEvent, fill_topic};
pub use self::feeds::Delivered;
pub use self::int_api::KeptOrder;
#[cfg(feature = "kafka")]
pub use self::kafka::EmbeddedBroker;
pub use self::krt::{KrtCounts, KrtReport};
pub use self::world::{SandboxDriver, SandboxLicense};

/// The stand-ins there are, by the name they are mounted below.
const STAND_INS: &[&str] = &[
    "driver-categories-api",
    "driver-profiles",
    "driver-trackstory",
    "feeds",
    "fleet-parks",
    "int-api",
    "krt",
    "parks",
    "personal",
];
/// The largest request that is taken, in bytes; a stand-in may want less.
const BODY_LIMIT: usize = 8 * 1024 * 1024;

/// How the sandbox runs.
#[derive(Debug, Clone, clap::Args)]
pub struct SandboxOptions {
    /// Address to listen on.
    #[arg(long, default_value_t = default_listen())]
    pub listen: SocketAddr,
    /// File that keeps what `personal` was given over restarts. Without it, memory only.
    #[arg(long)]
    pub state: Option<PathBuf>,
    /// Base URL of a fleet server that is given example customers once it is ready.
    #[arg(long, value_name = "URL")]
    pub seed_customers: Option<String>,
    /// Cabinets.
    #[command(flatten)]
    pub cabinets: cabinets::CabinetOptions,
    /// Where Kafka is, for drivers' events: `embedded` (a broker in this process, on a free port that
    /// `GET /__sandbox/kafka/brokers` tells), `none`, or the addresses of brokers.
    #[cfg(feature = "kafka")]
    #[arg(long, value_name = "BROKERS", default_value = "embedded")]
    pub kafka: String,
    /// The drivers whose events go there.
    #[cfg(feature = "kafka")]
    #[command(flatten)]
    pub city: city::CityOptions,
    /// Nothing changes by itself as time passes. Tests want it so: it is the default in the
    /// process.
    #[arg(long)]
    pub frozen: bool,
    /// Drivers that driver-profiles and driver-categories-api know: of `park-1`, `park-3`, `park-2`
    /// and then smaller ones.
    #[arg(long, default_value_t = 37_020)]
    pub drivers: u64,
}

/// So many drivers do for most tests.
const FEW_DRIVERS: u64 = 100;

impl Default for SandboxOptions {
    fn default() -> Self {
        Self {
            listen: default_listen(),
            state: None,
            seed_customers: None,
            cabinets: cabinets::CabinetOptions::default(),
            #[cfg(feature = "kafka")]
            kafka: "none".to_owned(),
            #[cfg(feature = "kafka")]
            city: city::CityOptions::default(),
            frozen: true,
            drivers: FEW_DRIVERS,
        }
    }
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8090))
}

/// What the stand-ins remember.
struct State {
    faults: faults::Board,
    cabinets: Arc<cabinets::Cabinets>,
    calls: calls::Counts,
    last: last::Last,
    driver_categories: driver_categories::Store,
    driver_profiles: driver_profiles::Store,
    driver_trackstory: driver_trackstory::Store,
    feeds: feeds::Store,
    fleet_parks: fleet_parks::Store,
    int_api: int_api::Store,
    #[cfg(feature = "kafka")]
    kafka: Option<kafka::Kafka>,
    krt: krt::Store,
    parks: parks::Store,
    personal: personal::Store,
}

impl State {
    fn open(options: &SandboxOptions) -> io::Result<Self> {
        Ok(Self {
            faults: faults::Board::default(),
            cabinets: Arc::new(cabinets::Cabinets::new(
                options.cabinets.pace_unless(options.frozen),
            )),
            calls: calls::Counts::default(),
            last: last::Last::default(),
            driver_categories: driver_categories::Store::new(options.drivers),
            driver_profiles: driver_profiles::Store::new(options.drivers),
            driver_trackstory: driver_trackstory::Store::new(options.frozen),
            feeds: feeds::Store::default(),
            fleet_parks: fleet_parks::Store::default(),
            int_api: int_api::Store::new(options.frozen),
            #[cfg(feature = "kafka")]
            kafka: kafka::Kafka::open(&options.kafka)?,
            krt: krt::Store::default(),
            parks: parks::Store::new(options.frozen),
            personal: personal::Store::open(options.state.as_deref())?,
        })
    }
}

/// A running sandbox; dropping it stops it.
pub struct Sandbox {
    addr: SocketAddr,
    handle: ServerHandle,
    state: web::Data<State>,
}

impl Sandbox {
    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The base URL of a stand-in, for an upstream's settings.
    #[must_use]
    pub fn base_url(&self, stand_in: &str) -> String {
        format!("http://{}/{stand_in}", self.addr)
    }

    /// Sets the fault of a stand-in, in the words of `PUT /__sandbox/faults/{stand_in}`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn set_fault(&self, stand_in: &str, fault: serde_json::Value) -> Result<(), String> {
        self.state.faults.set(stand_in, fault)
    }

    /// Lets a stand-in work as it should.
    pub fn clear_fault(&self, stand_in: &str) {
        self.state.faults.clear(stand_in);
    }

    /// How often `route` (`POST /v1/phones/find`) of a stand-in was called, faults included.
    #[must_use]
    pub fn calls(&self, stand_in: &str, route: &str) -> u64 {
        self.state.calls.get(stand_in, route)
    }

    /// Most calls of a stand-in that were in flight at once.
    #[must_use]
    pub fn most_in_flight(&self, stand_in: &str) -> usize {
        self.state.calls.most_in_flight(stand_in)
    }

    /// Headers and body of the last request of an operation (`draft`) that a stand-in got, also if
    /// it met a fault.
    #[must_use]
    pub fn last_request(&self, stand_in: &str, operation: &str) -> Option<(HeaderMap, web::Bytes)> {
        self.state.last.get(stand_in, operation)
    }

    /// Changes a park of fleet-parks, in the words of `PUT /__sandbox/fleet-parks/{park_id}`.
    ///
    /// # Errors
    /// What is wrong with the change.
    pub fn change_park(&self, park_id: &str, change: serde_json::Value) -> Result<(), String> {
        self.state.fleet_parks.change(park_id, change)
    }

    /// The orders that int-api has for a park, drafts and finished ones too, the oldest first.
    #[must_use]
    pub fn orders(&self, park_id: &str) -> Vec<KeptOrder> {
        self.state.int_api.of_park(park_id)
    }

    /// Moves an order of int-api on, to `driving`, `completed`, ...
    ///
    /// # Errors
    /// There is no such order or no such status.
    pub fn set_order_status(&self, order_id: &str, status: &str) -> Result<(), String> {
        self.state.int_api.set_status(order_id, status)
    }

    /// Sets up a park of parks, in the words of `PUT /__sandbox/parks/{park_id}`.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn set_park(&self, park_id: &str, settings: serde_json::Value) -> Result<(), String> {
        self.state.parks.set(park_id, settings)
    }

    /// Changes or adds a driver of parks, in the words of
    /// `PUT /__sandbox/parks/{park_id}/drivers/{id}`.
    ///
    /// # Errors
    /// What is wrong with the change.
    pub fn set_driver(
        &self,
        park_id: &str,
        id: &str,
        change: serde_json::Value,
    ) -> Result<(), String> {
        self.state.parks.set_driver(park_id, id, change)
    }

    /// The ids of all the drivers that parks has for a park, in the order it lists them.
    #[must_use]
    pub fn driver_ids(&self, park_id: &str) -> Vec<String> {
        self.state.parks.ids(park_id)
    }

    /// How often feeds delivered something to each channel of a park, also what was removed later.
    #[must_use]
    pub fn delivered(&self, park_id: &str) -> BTreeMap<String, u64> {
        self.state.feeds.by_channel(park_id)
    }

    /// What feeds counted for a park, or for all.
    #[must_use]
    pub fn delivered_counts(&self, park_id: Option<&str>) -> Delivered {
        self.state.feeds.count(park_id)
    }

    /// Lets feeds reject a channel (`contractor:PARK:ID`) with that code, or with none no more.
    /// Returns whether there was room for it.
    pub fn reject_channel(&self, channel: &str, code: Option<&str>) -> bool {
        self.state.feeds.reject(channel, code.map(String::from))
    }

    /// The cabinets, which speak with a broker of the caller's.
    #[must_use]
    pub fn cabinets(&self) -> &Arc<cabinets::Cabinets> {
        &self.state.cabinets
    }

    /// Where Kafka is, if the sandbox knows of one.
    #[cfg(feature = "kafka")]
    #[must_use]
    pub fn kafka_brokers(&self) -> Option<&str> {
        self.state.kafka.as_ref().map(kafka::Kafka::brokers)
    }

    /// Stops at once and closes every connection.
    pub async fn stop(&self) {
        self.state.cabinets.stop();
        // Connections that are open reach their workers for a moment more: from now on nothing is
        // answered on them.
        for stand_in in STAND_INS {
            if let Err(error) = self.set_fault(stand_in, serde_json::json!({ "kind": "close" })) {
                tracing::error!(error, "a stand-in could not be closed");
            }
        }
        self.handle.stop(false).await;
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.state.cabinets.stop();
        // The command is sent by the call; awaiting it would only tell when it is done.
        drop(self.handle.stop(false));
    }
}

/// Starts the stand-ins on `listener`, on a thread of their own; `options.listen` is not used.
///
/// # Errors
/// When the state file cannot be read or written, or the server cannot start.
pub fn start(listener: TcpListener, options: &SandboxOptions) -> io::Result<Sandbox> {
    let addr = listener.local_addr()?;
    let state = web::Data::new(State::open(options)?);
    let (started, wait) = mpsc::channel();
    let served = state.clone();
    thread::Builder::new().name("sandbox".into()).spawn(move || {
        System::new().block_on(async move {
            match server(listener, served) {
                Ok(running) => {
                    let _ = started.send(Ok(running.handle()));
                    if let Err(error) = running.await {
                        tracing::error!(%error, "the sandbox ended");
                    }
                }
                Err(error) => {
                    let _ = started.send(Err(error));
                }
            }
        });
    })?;
    let handle = wait.recv().map_err(io::Error::other)??;
    Ok(Sandbox { addr, handle, state })
}

/// The `fleet sandbox` command: serves until SIGINT or SIGTERM.
///
/// # Errors
/// When the address is taken or the state file cannot be used.
pub async fn run(options: SandboxOptions) -> anyhow::Result<()> {
    let listener = TcpListener::bind(options.listen).with_context(|| {
        format!("cannot listen on {}; `--listen` takes another address, or port 0", options.listen)
    })?;
    let sandbox = start(listener, &options).context("cannot start the stand-ins")?;
    tracing::info!(listen = %sandbox.addr(), stand_ins = ?STAND_INS, "the sandbox is ready");
    cabinets::add_examples(sandbox.cabinets(), &options.cabinets).map_err(anyhow::Error::msg)?;
    if let Some(url) = options.cabinets.seed_cabinets.clone() {
        seed::cabinets::spawn(url, Arc::clone(sandbox.cabinets()))?;
    }
    #[cfg(feature = "kafka")]
    let _life = begin_life(&sandbox, &options)?;
    if let Some(url) = options.seed_customers {
        seed::spawn(url)?;
    }
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result?,
        _ = terminate.recv() => {}
    }
    sandbox.stop().await;
    Ok(())
}

/// Lets the city's drivers do something, where there is a Kafka that hears of it.
#[cfg(feature = "kafka")]
fn begin_life(sandbox: &Sandbox, options: &SandboxOptions) -> anyhow::Result<Option<city::Life>> {
    let Some(brokers) = sandbox.kafka_brokers().filter(|_| options.city.is_alive()) else {
        return Ok(None);
    };
    let life = city::Life::begin(brokers, kafka::TOPIC, &options.city);
    life.context("the city's drivers cannot be heard").map(Some)
}

fn server(listener: TcpListener, state: web::Data<State>) -> io::Result<Server> {
    let app = move || {
        App::new()
            .app_data(state.clone())
            .app_data(web::PayloadConfig::new(BODY_LIMIT))
            .service(stand_in("driver-categories-api", driver_categories::routes))
            .service(stand_in("driver-profiles", driver_profiles::routes))
            .service(stand_in("driver-trackstory", driver_trackstory::routes))
            .service(stand_in("feeds", feeds::routes))
            .service(stand_in("fleet-parks", fleet_parks::routes))
            .service(stand_in("int-api", int_api::routes))
            .service(stand_in("krt", krt::routes))
            .service(stand_in("parks", parks::routes))
            .service(stand_in("personal", personal::routes))
            .service(
                web::scope("/__sandbox")
                    .route("/health", web::get().to(HttpResponse::Ok))
                    .configure(cabinets::control)
                    .configure(faults::routes)
                    .configure(calls::routes)
                    .configure(last::routes)
                    .configure(driver_categories::control)
                    .configure(driver_profiles::control)
                    .configure(driver_trackstory::control)
                    .configure(feeds::control)
                    .configure(fleet_parks::control)
                    .configure(int_api::control)
                    .configure(krt::control)
                    .configure(parks::control)
                    .configure(kafka_control),
            )
            .default_service(web::to(|| async {
                refuse(StatusCode::NOT_FOUND, "unknown_route", "there is no such route")
            }))
    };
    Ok(HttpServer::new(app)
        .on_connect(faults::Connection::remember)
        .workers(2)
        .disable_signals()
        .listen(listener)?
        .run())
}

/// Where Kafka is.
#[allow(unused_variables, reason = "without the feature there is none")]
fn kafka_control(routes: &mut web::ServiceConfig) {
    #[cfg(feature = "kafka")]
    kafka::control(routes);
}

/// A stand-in's routes below its name, with faults and counting around them.
fn stand_in(
    name: &'static str,
    routes: fn(&mut web::ServiceConfig),
) -> impl HttpServiceFactory + 'static {
    web::scope(&format!("/{name}"))
        .configure(routes)
        .wrap(from_fn(move |request, next| faults::around(name, request, next)))
}

/// Middleware for stand-ins that want any bearer token.
async fn bearer(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> actix_web::Result<ServiceResponse<BoxBody>> {
    let authorization = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = authorization.and_then(|value| value.strip_prefix("Bearer "));
    if token.is_none_or(|token| token.trim().is_empty()) {
        let answer = refuse(StatusCode::UNAUTHORIZED, "unauthorized", "a bearer token is required");
        return Ok(request.into_response(answer));
    }
    next.call(request).await
}

/// An error in the form that all outside services share.
fn refuse(status: StatusCode, code: &str, message: &str) -> HttpResponse {
    HttpResponse::build(status).json(serde_json::json!({ "code": code, "message": message }))
}
