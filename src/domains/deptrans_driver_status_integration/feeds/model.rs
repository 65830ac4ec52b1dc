//! Bodies of the update feeds as their callers see them.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::store::{BindingRow, Followed, StatusRow};
use crate::platform::error::{Error, Kind, Result};

/// Page size when the caller names none, and the largest.
const DEFAULT_LIMIT: u32 = 1_000;
const MAX_LIMIT: u32 = 10_000;

/// The query of a poll.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Poll {
    /// Most items in the page; it may end earlier.
    #[param(minimum = 1, maximum = 10000, default = 1000)]
    limit: Option<u32>,
    /// `cursor` of the page before. Left out: everything is read, from the beginning.
    #[param(min_length = 1, max_length = 1024)]
    pub cursor: Option<String>,
}

impl Poll {
    /// # Errors
    /// `invalid_limit` unless it is between 1 and 10 000.
    pub fn limit(&self) -> Result<usize> {
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        if (1..=MAX_LIMIT).contains(&limit) {
            return Ok(limit as usize);
        }
        let detail = format!("limit must be between 1 and {MAX_LIMIT}.");
        Err(Error::new(Kind::InvalidInput, "invalid_limit", detail))
    }
}

/// A page of changes, in their order.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only its description is used: pages are written piece by piece")]
pub struct Updates<T> {
    /// What changed. An item that changes again comes again.
    items: Vec<T>,
    /// Where the next page begins.
    cursor: String,
    /// Whether more has changed already: ask again at once.
    has_more: bool,
    /// At most so many milliseconds of changes are missing behind this page. While there is more: the
    /// age of the page's last change. At the end: how long ago that was last known to be the end.
    #[schema(minimum = 0)]
    lag_ms: i64,
}

/// A driver's profile in a park.
#[derive(Debug, Serialize, ToSchema)]
pub struct Profile<'a> {
    /// The park.
    #[schema(value_type = String)]
    pub park_id: Cow<'a, str>,
    /// The driver's id within the park.
    #[schema(value_type = String)]
    pub driver_id: Cow<'a, str>,
}

/// The profiles of a licence's driver.
pub type Profiles<'a> = Vec<Profile<'a>>;

/// A licence and its driver's id at the regulator.
#[derive(Serialize, ToSchema)]
pub struct Binding<'a> {
    /// The licence, an id of `personal`.
    #[schema(value_type = String)]
    driver_license_pd_id: Cow<'a, str>,
    /// The driver's id at the regulator, a secret. Null when the binding was removed.
    #[schema(value_type = Option<String>, required)]
    deptrans_id: Option<Cow<'a, str>>,
    /// Whether the binding was removed.
    is_deleted: bool,
    /// When this, or the licence's profiles, changed.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    /// Of this licence's driver.
    profiles: Profiles<'a>,
}

/// The state of a driver's shift.
#[derive(Serialize, ToSchema)]
pub struct ShiftState<'a> {
    /// The licence, an id of `personal`.
    #[schema(value_type = String)]
    driver_license_pd_id: Cow<'a, str>,
    /// What the regulator last said: `active`, `resting`, `expired`, `not_started`. Null when that is
    /// not kept any more.
    #[schema(value_type = Option<String>, required)]
    session_status: Option<&'a str>,
    /// When that ends, or ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    ended_at: Option<Timestamp>,
    /// Whether the state is not kept any more.
    is_deleted: bool,
    /// When this, or the licence's profiles, changed.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    /// Of this licence's driver.
    profiles: Profiles<'a>,
}

/// A row that can be shown.
pub trait Shown: Followed {
    /// What is shown.
    type Item<'a>: Serialize;

    /// The licence it is about.
    fn license(&self) -> Cow<'_, str>;

    /// The item, with the licence's profiles.
    fn show<'a>(&'a self, license: Cow<'a, str>, profiles: Profiles<'a>) -> Self::Item<'a>;
}

impl Shown for BindingRow {
    type Item<'a> = Binding<'a>;

    fn license(&self) -> Cow<'_, str> {
        self.license.text()
    }

    fn show<'a>(&'a self, license: Cow<'a, str>, profiles: Profiles<'a>) -> Binding<'a> {
        Binding {
            driver_license_pd_id: license,
            deptrans_id: self.deptrans_id.as_ref().map(|id| id.text()),
            is_deleted: self.deptrans_id.is_none(),
            updated_at: self.updated_at(),
            profiles,
        }
    }
}

impl Shown for StatusRow {
    type Item<'a> = ShiftState<'a>;

    fn license(&self) -> Cow<'_, str> {
        self.license.text()
    }

    fn show<'a>(&'a self, license: Cow<'a, str>, profiles: Profiles<'a>) -> ShiftState<'a> {
        ShiftState {
            driver_license_pd_id: license,
            session_status: self.session_status.as_deref(),
            ended_at: self.ended_at(),
            is_deleted: self.session_status.is_none(),
            updated_at: self.updated_at(),
            profiles,
        }
    }
}
