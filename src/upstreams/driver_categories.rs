//! `driver-categories-api`: in which categories (tariffs) a park's driver works.

use serde::Deserialize;

use super::updates::{self, Page, UpdatesError};
use crate::platform::context::Context;
use crate::platform::error::Result;
use crate::platform::upstream::{Upstream, UpstreamMetrics, UpstreamSettings};

/// A driver's categories as they are now.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DriverCategory {
    /// The park.
    pub park_id: String,
    /// The driver's id within the park.
    pub driver_id: String,
    /// Names such as `econom`.
    #[serde(default)]
    pub categories: Vec<String>,
    /// Whether nothing is known of the driver any more.
    #[serde(default)]
    pub is_deleted: bool,
}

#[derive(Deserialize)]
struct Changes {
    items: Vec<DriverCategory>,
    cursor: String,
    has_more: bool,
}

impl From<Changes> for Page<DriverCategory> {
    fn from(Changes { items, cursor, has_more }: Changes) -> Self {
        Self { items, cursor, has_more }
    }
}

/// The client of `driver-categories-api`. Cheap to clone.
#[derive(Clone)]
pub struct DriverCategories {
    upstream: Upstream,
}

impl DriverCategories {
    /// # Errors
    /// When the token cannot be sent in a header.
    pub fn new(settings: &UpstreamSettings, metrics: &UpstreamMetrics) -> Result<Self> {
        Ok(Self { upstream: Upstream::new("driver_categories", settings, metrics)? })
    }

    /// What is wrong with it as far as calls have shown.
    #[must_use]
    pub fn trouble(&self) -> Option<&'static str> {
        self.upstream.trouble()
    }

    /// What changed since `cursor`, or everything without one; `limit` at a time.
    ///
    /// # Errors
    /// See [`UpdatesError`].
    pub async fn updates(
        &self,
        ctx: &Context,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<DriverCategory>, UpdatesError> {
        let route = ("categories_updates", "/v1/categories/updates");
        updates::page::<_, Changes>(&self.upstream, ctx, route, cursor, limit).await
    }
}
