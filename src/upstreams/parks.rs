//! `parks`: the drivers of a park.

use serde::{Deserialize, Serialize};

use crate::platform::context::Context;
use crate::platform::error::Result;
use crate::platform::ids::ParkId;
use crate::platform::upstream::{
    Answer, Call, Upstream, UpstreamError, UpstreamMetrics, UpstreamSettings,
};

/// Most drivers in one page, and most ids in one filter.
pub const PAGE: usize = 1_000;

/// Which drivers are meant; what is empty or absent leaves nobody out.
#[derive(Debug, Clone, Default, Serialize)]
pub struct DriverFilter<'a> {
    /// Work rules.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub work_rule_ids: &'a [&'a str],
    /// `working`, …
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub work_statuses: &'a [&'a str],
    /// `online`, `busy`, …
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub current_statuses: &'a [&'a str],
    /// These drivers; at most [`PAGE`].
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub ids: &'a [String],
}

/// A driver. The name is personal: it is passed on and never kept.
#[derive(Debug, Clone, Deserialize)]
pub struct Driver {
    /// The contractor's id within the park.
    pub id: String,
    /// What he is called.
    #[serde(default)]
    pub first_name: Option<String>,
    /// The terms he works on.
    #[serde(default)]
    pub work_rule_id: Option<String>,
    /// Whether he works for the park.
    #[serde(default)]
    pub work_status: Option<String>,
    /// What he does now.
    #[serde(default)]
    pub current_status: Option<String>,
}

/// A page of drivers.
#[derive(Debug, Deserialize)]
pub struct DriverPage {
    /// The drivers.
    pub driver_profiles: Vec<Driver>,
    /// Where the next page begins; absent or empty at the end.
    #[serde(default)]
    cursor: Option<String>,
}

impl DriverPage {
    /// Where the next page begins, if there is one.
    #[must_use]
    pub fn next(&self) -> Option<&str> {
        self.cursor.as_deref().filter(|cursor| !cursor.is_empty())
    }
}

/// The client of `parks`. Cheap to clone.
#[derive(Clone)]
pub struct Parks {
    upstream: Upstream,
}

#[derive(Serialize)]
struct List<'a> {
    park_id: &'a ParkId,
    #[serde(flatten)]
    filter: &'a DriverFilter<'a>,
    limit: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<&'a str>,
}

impl Parks {
    /// # Errors
    /// When the token cannot be sent in a header.
    pub fn new(settings: &UpstreamSettings, metrics: &UpstreamMetrics) -> Result<Self> {
        Ok(Self { upstream: Upstream::new("parks", settings, metrics)? })
    }

    /// What is wrong with it as far as calls have shown.
    #[must_use]
    pub fn trouble(&self) -> Option<&'static str> {
        self.upstream.trouble()
    }

    /// A page of the park's drivers that `filter` means, from `cursor` on; [`PAGE`] at most.
    ///
    /// # Errors
    /// When there is no usable answer.
    pub async fn drivers(
        &self,
        ctx: &Context,
        park_id: &ParkId,
        filter: &DriverFilter<'_>,
        cursor: Option<&str>,
    ) -> Result<DriverPage, UpstreamError> {
        let list = List { park_id, filter, limit: PAGE, cursor };
        let call = Call::post("driver_profiles_list", "/v1/driver-profiles/list", &list)?;
        match self.upstream.call_json::<DriverPage>(ctx, call.idempotent()).await? {
            Answer::Ok(page) if page.driver_profiles.len() > PAGE => {
                Err(UpstreamError::Protocol("more drivers than were asked for"))
            }
            Answer::Ok(page) => Ok(page),
            Answer::Refused(reply) => Err(reply.unexpected()),
        }
    }
}
