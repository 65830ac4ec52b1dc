//! Passengers of a park's dispatcher: what fills in an order from a phone number, and each
//! passenger's settings. Known by park + personal phone id; a number in one park tells nothing of
//! what another park stored. (Seed: `fleet-customers`.)
//!
//! `routes` (thin) → `service` (rules, no HTTP) → `store` (SQL), `items` (a customer's locations
//! and routes) and the `personal` client. `takeout` erases persons across parks.

mod items;
mod metrics;
mod model;
mod routes;
mod schema;
mod service;
mod settings;
mod store;
mod takeout;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use actix_web::web;
use diesel_migrations::{EmbeddedMigrations, embed_migrations};

use self::metrics::CustomerMetrics;
pub use self::model::{OrderOptions, Upsert};
use self::service::Customers;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use self::service::fuzz_patch;
use self::settings::CustomersSettings;
pub use self::takeout::coverage;
use self::takeout::{EraseCustomers, Erasing, Takeout};
use crate::platform::conditions::IdempotentCall;
use crate::platform::config::{Config, Fault};
use crate::platform::context::Context;
use crate::platform::database::migrations::Migrations;
use crate::platform::domain::{Domain, Platform, Slot};
use crate::platform::error::{Error, Result};
use crate::platform::http::routes::Routes;
use crate::platform::readiness::ReadinessRow;
use crate::platform::telemetry::metrics::Metrics;
use crate::platform::upstream::UpstreamSettings;
use crate::platform::validation::validate;
use crate::upstreams::personal::Personal;

/// Feature, route prefix and metric label.
pub const NAME: &str = "fleet-customers";

static EMBEDDED: EmbeddedMigrations = embed_migrations!("migrations/fleet_customers");

/// The domain.
pub struct FleetCustomers {
    metrics: CustomerMetrics,
    service: Slot<Customers>,
    takeout: Slot<Takeout>,
}

impl FleetCustomers {
    /// Makes the domain; nothing is opened yet.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            metrics: CustomerMetrics::register(metrics),
            service: Slot::default(),
            takeout: Slot::default(),
        }
    }

    /// Takes requests for erasure, and does what they ask for.
    fn start_takeout(
        &self,
        platform: &Platform,
        personal: &Personal,
        settings: &CustomersSettings,
    ) -> Result<()> {
        let (database, tasks) = (platform.database()?, platform.tasks()?);
        let erasing = Arc::new(Erasing {
            database: database.clone(),
            personal: personal.clone(),
            metrics: self.metrics.clone(),
        });
        tasks.handle::<EraseCustomers, _>(move |task| {
            let erasing = Arc::clone(&erasing);
            async move { erasing.erase(task).await }
        });
        platform.clean(vec![takeout::tombstones::cleaning(settings.tombstone_days)])?;
        let (gauge, shutdown) = (self.metrics.oldest_erasure.clone(), platform.shutdown.clone());
        platform.runtime.spawn(takeout::watch(database.clone(), gauge, shutdown));
        self.takeout.fill(Takeout::new(database, tasks, self.metrics.clone()));
        Ok(())
    }

    /// What a neighbour in the same process may ask of it.
    #[must_use]
    pub fn upserts(&self) -> CustomerUpserts {
        CustomerUpserts(self.service.clone())
    }
}

/// The route `internal/v1/customers/upsert`, as a call.
#[derive(Clone)]
pub struct CustomerUpserts(Slot<Customers>);

impl CustomerUpserts {
    /// Records what an order tells of a customer, once for each `call`.
    ///
    /// # Errors
    /// `domain_unavailable` before the domain has started, and those of the route.
    pub async fn upsert(
        &self,
        context: &Context,
        upsert: Upsert,
        call: IdempotentCall,
    ) -> Result<()> {
        validate(&upsert)?;
        let customers = self.0.get().ok_or_else(|| {
            Error::unavailable("domain_unavailable", "fleet-customers has not started.")
        })?;
        customers.upsert(context, upsert, Some(call)).await.map(drop)
    }
}

impl Domain for FleetCustomers {
    fn name(&self) -> &'static str {
        NAME
    }

    fn mount(&self, routes: &mut Routes<'_>) {
        routes.app_data(web::Data::new(self.service.clone()));
        routes.app_data(web::Data::new(self.takeout.clone()));
        routes::mount(routes);
    }

    fn migrations(&self) -> Option<Migrations> {
        Some(Migrations { schema: "fleet_customers", embedded: &EMBEDDED })
    }

    fn uses_tasks(&self) -> bool {
        true
    }

    fn upstreams(&self, _: &Config) -> Vec<&'static str> {
        vec!["personal"]
    }

    fn check(&self, config: &Config) -> Vec<Fault> {
        config.section::<CustomersSettings>("fleet_customers").err().unwrap_or_default()
    }

    fn start<'a>(
        &'a self,
        platform: &'a Platform,
    ) -> Pin<Box<dyn Future<Output = Result<()>> + 'a>> {
        Box::pin(async move {
            let settings: CustomersSettings = platform.section("fleet_customers")?;
            let personal: UpstreamSettings = platform.section("upstreams.personal")?;
            let personal = Personal::new(&personal, platform.upstream_metrics())?;
            platform.runtime.spawn_blocking(crate::platform::phone::warm_up);
            let database = platform.database()?;
            self.start_takeout(platform, &personal, &settings)?;
            self.service.fill(Customers::new(database, personal, settings, self.metrics.clone()));
            Ok(())
        })
    }

    fn dependencies(&self) -> Vec<ReadinessRow> {
        let row = |service: &Arc<Customers>| service.personal_readiness();
        self.service.get().map(row).into_iter().collect()
    }
}
