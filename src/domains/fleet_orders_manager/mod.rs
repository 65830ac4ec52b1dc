//! A dispatcher creates orders for the park: estimates, drafts, commits, changes, cancels. Keeps no
//! state and no database: it adds what the park's dispatcher need not say and passes on to
//! `int-api`. (Seed: `fleet-orders-manager`.)
//!
//! `routes` (thin) → `service` (rules, no HTTP) → `int-api`, `personal` and `parks` (a cache before
//! `fleet-parks`). `members` passes unknown fields through; `recorder` tells the customer book, a
//! port, who ordered.

mod members;
mod metrics;
mod model;
mod parks;
mod ports;
mod recorder;
mod routes;
mod service;
mod settings;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use actix_web::web;

use self::metrics::OrderMetrics;
use self::parks::ParkCache;
pub use self::ports::{CustomerBook, CustomerOrder, LastOptions};
use self::recorder::Recorder;
use self::service::Orders;
use self::settings::{CustomersMode, OrdersSettings};
use crate::platform::config::{Config, Fault};
use crate::platform::domain::{Domain, Platform, Slot};
use crate::platform::error::Result;
use crate::platform::http::routes::Routes;
use crate::platform::readiness::ReadinessRow;
use crate::platform::telemetry::metrics::Metrics;
use crate::platform::upstream::UpstreamSettings;
use crate::upstreams::fleet_customers::FleetCustomers;
use crate::upstreams::fleet_parks::FleetParks;
use crate::upstreams::int_api::IntApi;
use crate::upstreams::personal::Personal;

/// Feature, route prefix and metric label.
pub const NAME: &str = "fleet-orders-manager";

const SECTION: &str = "fleet_orders_manager";

/// The domain.
pub struct FleetOrdersManager {
    metrics: OrderMetrics,
    neighbour: Option<Arc<dyn CustomerBook>>,
    service: Slot<Orders>,
}

impl FleetOrdersManager {
    /// Makes the domain; nothing is opened yet. `neighbour` is the customer book of this process,
    /// if it has one.
    #[must_use]
    pub fn new(metrics: &Metrics, neighbour: Option<Arc<dyn CustomerBook>>) -> Self {
        Self { metrics: OrderMetrics::register(metrics), neighbour, service: Slot::default() }
    }

    /// Where customers are recorded, with this configuration.
    fn customers(&self, mode: CustomersMode, config: &Config) -> Customers {
        match (mode, &self.neighbour) {
            (CustomersMode::Off, _) => Customers::Off,
            (CustomersMode::Auto, Some(neighbour)) => Customers::Direct(Arc::clone(neighbour)),
            (CustomersMode::Auto, None) if !config.says("upstreams.fleet_customers.base_url") => {
                Customers::Off
            }
            (CustomersMode::Auto | CustomersMode::Http, _) => Customers::Http,
        }
    }
}

/// Where customers are recorded.
enum Customers {
    Direct(Arc<dyn CustomerBook>),
    Http,
    Off,
}

impl Domain for FleetOrdersManager {
    fn name(&self) -> &'static str {
        NAME
    }

    fn mount(&self, routes: &mut Routes<'_>) {
        routes.app_data(web::Data::new(self.service.clone()));
        routes::mount(routes);
    }

    fn upstreams(&self, config: &Config) -> Vec<&'static str> {
        let mut names = vec!["int_api", "fleet_parks", "personal"];
        let mode = config.section(SECTION).map(|settings: OrdersSettings| settings.customers);
        if let Ok(Customers::Http) = mode.map(|mode| self.customers(mode, config)) {
            names.push("fleet_customers");
        }
        names
    }

    fn check(&self, config: &Config) -> Vec<Fault> {
        config.section::<OrdersSettings>(SECTION).err().unwrap_or_default()
    }

    fn start<'a>(
        &'a self,
        platform: &'a Platform,
    ) -> Pin<Box<dyn Future<Output = Result<()>> + 'a>> {
        Box::pin(async move {
            let settings: OrdersSettings = platform.section(SECTION)?;
            let upstream = |name: &str| -> Result<UpstreamSettings> {
                platform.section(&format!("upstreams.{name}"))
            };
            let metrics = platform.upstream_metrics();
            let int_api = IntApi::new(&upstream("int_api")?, metrics)?;
            let fleet_parks = FleetParks::new(&upstream("fleet_parks")?, metrics)?;
            let personal = Personal::new(&upstream("personal")?, metrics)?;
            let mut fleet_customers = None;
            let book = match self.customers(settings.customers, &platform.config) {
                Customers::Direct(book) => Some(book),
                Customers::Http => {
                    let client = FleetCustomers::new(&upstream("fleet_customers")?, metrics)?;
                    fleet_customers = Some(client.clone());
                    Some(Arc::new(client) as Arc<dyn CustomerBook>)
                }
                Customers::Off => {
                    tracing::warn!("customers are not recorded: there is no fleet-customers");
                    None
                }
            };
            platform.runtime.spawn_blocking(crate::platform::phone::warm_up);
            let recorder = book.map(|book| {
                let recording = (&settings, int_api.clone(), book, self.metrics.clone());
                Recorder::start(platform.background(), recording)
            });
            let parks = ParkCache::new(fleet_parks, &settings, self.metrics.clone());
            let metrics = self.metrics.clone();
            self.service.fill(Orders {
                int_api,
                personal,
                parks,
                fleet_customers,
                recorder,
                settings,
                metrics,
            });
            Ok(())
        })
    }

    fn dependencies(&self) -> Vec<ReadinessRow> {
        self.service.get().map(|service| service.dependencies()).unwrap_or_default()
    }
}
