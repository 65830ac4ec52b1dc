//! `driver-categories-api`: in which categories (tariffs) a park's driver works.

use serde::Deserialize;

use super::updates::{Item, Page, Updates};

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

/// The client of `driver-categories-api`.
pub type DriverCategories = Updates<DriverCategory>;

impl Item for DriverCategory {
    const UPSTREAM: &'static str = "driver_categories";
    const ROUTE: (&'static str, &'static str) = ("categories_updates", "/v1/categories/updates");
    type Answer = Changes;
}

/// A page, as the service words it.
#[derive(Deserialize)]
pub struct Changes {
    items: Vec<DriverCategory>,
    cursor: String,
    has_more: bool,
}

impl From<Changes> for Page<DriverCategory> {
    fn from(Changes { items, cursor, has_more }: Changes) -> Self {
        Self { items, cursor, has_more }
    }
}
