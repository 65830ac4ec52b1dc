//! `driver-profiles`: which licence a park's driver has.

use serde::Deserialize;

use super::updates::{self, Page, UpdatesError};
use crate::platform::context::Context;
use crate::platform::error::Result;
use crate::platform::upstream::{Upstream, UpstreamMetrics, UpstreamSettings};

/// A profile as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Profile {
    /// The park.
    pub park_id: String,
    /// The driver's id within the park.
    pub driver_id: String,
    /// What `personal` calls his licence number.
    #[serde(default)]
    pub license_pd_id: Option<String>,
    /// Whether the profile is gone.
    #[serde(default)]
    pub is_deleted: bool,
}

#[derive(Deserialize)]
struct Changes {
    profiles: Vec<Profile>,
    cursor: String,
    has_more: bool,
}

impl From<Changes> for Page<Profile> {
    fn from(Changes { profiles: items, cursor, has_more }: Changes) -> Self {
        Self { items, cursor, has_more }
    }
}

/// The client of `driver-profiles`. Cheap to clone.
#[derive(Clone)]
pub struct DriverProfiles {
    upstream: Upstream,
}

impl DriverProfiles {
    /// # Errors
    /// When the token cannot be sent in a header.
    pub fn new(settings: &UpstreamSettings, metrics: &UpstreamMetrics) -> Result<Self> {
        Ok(Self { upstream: Upstream::new("driver_profiles", settings, metrics)? })
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
    ) -> Result<Page<Profile>, UpdatesError> {
        let route = ("profiles_updates", "/v1/profiles/updates");
        updates::page::<_, Changes>(&self.upstream, ctx, route, cursor, limit).await
    }
}
