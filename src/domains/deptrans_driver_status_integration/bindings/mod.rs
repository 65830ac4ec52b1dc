//! A driver's id at the regulator: he gives it, the regulator confirms that it belongs to his licence,
//! and then it is bound to the licence.
//!
//! `routes` (thin) → `service` (rules) → `store` (SQL). The id is a secret: it comes in a request's body,
//! goes to the regulator and to the database, and is told to back-end services by the update feed alone.

mod metrics;
mod model;
mod routes;
mod service;
mod store;

use std::sync::Arc;

pub(super) use self::metrics::BindingsMetrics;
use super::directory::Directory;
use super::krt::Gateway;
use crate::platform::database::Database;
use crate::platform::http::routes::Routes;
use crate::upstreams::personal::Personal;

/// Bindings of licences to ids.
pub(super) struct Bindings {
    pub(super) database: Database,
    pub(super) directory: Directory,
    pub(super) personal: Personal,
    pub(super) krt: Arc<Gateway>,
    pub(super) metrics: BindingsMetrics,
}

/// Mounts the routes of bindings.
pub(super) fn mount(routes: &mut Routes<'_>) {
    routes::mount(routes);
}
