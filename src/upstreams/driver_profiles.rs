//! `driver-profiles`: which licence a park's driver has.

use serde::Deserialize;

use super::updates::{Item, Page, Updates};

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

/// The client of `driver-profiles`.
pub type DriverProfiles = Updates<Profile>;

impl Item for Profile {
    const UPSTREAM: &'static str = "driver_profiles";
    const ROUTE: (&'static str, &'static str) = ("profiles_updates", "/v1/profiles/updates");
    type Answer = Changes;
}

/// A page, as the service words it.
#[derive(Deserialize)]
pub struct Changes {
    profiles: Vec<Profile>,
    cursor: String,
    has_more: bool,
}

impl From<Changes> for Page<Profile> {
    fn from(Changes { profiles: items, cursor, has_more }: Changes) -> Self {
        Self { items, cursor, has_more }
    }
}
