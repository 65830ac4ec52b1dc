//! Whether drivers may take orders now, for dispatching services.
//!
//! `routes` (thin) → `service` (rules) → `store` (one statement for all). `positions` knows in which region
//! drivers are.

mod metrics;
mod model;
mod positions;
mod routes;
mod service;
mod settings;
mod store;

use std::sync::Arc;
use std::time::Duration;

pub(super) use self::metrics::CheckMetrics;
use self::positions::Positions;
pub(super) use self::settings::CheckSettings;
use super::directory::Directory;
use super::regions::Regions;
use crate::platform::database::Database;
use crate::platform::http::routes::Routes;
use crate::upstreams::driver_trackstory::DriverTrackstory;

/// Checks of drivers.
pub(super) struct Checks {
    database: Database,
    directory: Directory,
    positions: Positions,
    regions: Arc<Regions>,
    warning: Duration,
    metrics: CheckMetrics,
}

impl Checks {
    /// Ready to check.
    pub(super) fn new(
        settings: &CheckSettings,
        database: Database,
        directory: Directory,
        trackstory: DriverTrackstory,
        regions: Arc<Regions>,
        metrics: CheckMetrics,
    ) -> Self {
        let positions = Positions::new(
            trackstory,
            Arc::clone(&regions),
            settings.position(),
            settings.position_wait(),
        );
        Self { database, directory, positions, regions, warning: settings.warning(), metrics }
    }
}

/// Mounts the route of checks.
pub(super) fn mount(routes: &mut Routes<'_>) {
    routes::mount(routes);
}
