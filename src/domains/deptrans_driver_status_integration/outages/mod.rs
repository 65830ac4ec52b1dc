//! When the regulator could not be told: a row for each outage, the company's evidence.
//!
//! `watch` opens and closes them by what calls to KRT tell, `routes` shows them. One is open at most,
//! whichever instance noticed it; an instance that alone cannot reach KRT opens none.

mod routes;
mod store;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use self::store::{Outage, Position};
use super::krt::Gateway;
use crate::platform::context::Context;
use crate::platform::database::Database;
use crate::platform::error::Result;
use crate::platform::http::routes::Routes;
use crate::platform::shutdown::Shutdown;

/// The outages.
pub(super) struct Outages {
    database: Database,
}

impl Outages {
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// Opens and closes outages until the process stops. What fails for shorter than `after` is none.
    pub async fn watch(database: Database, krt: Arc<Gateway>, after: Duration, stop: Shutdown) {
        watch::run(database, krt, after, stop).await;
    }

    /// A page, the newest first, and where the next begins.
    async fn list(
        &self,
        ctx: &Context,
        before: Option<Position>,
        limit: u32,
    ) -> Result<(Vec<Outage>, Option<Position>)> {
        self.database
            .statement(ctx, async |connection| store::list(connection, before, limit).await)
            .await
    }
}

/// Mounts the routes.
pub(super) fn mount(routes: &mut Routes<'_>) {
    routes::mount(routes);
}
