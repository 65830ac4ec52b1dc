//! Who is meant by a filter, as `parks` says now, page by page.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::model::{DriverStatus, Filter, LeftOut, Preview, SampleDriver};
use crate::platform::context::Context;
use crate::platform::error::{Error, Result};
use crate::platform::ids::{OpaqueId, ParkId};
use crate::platform::upstream::UpstreamError;
use crate::upstreams::parks::{Driver, DriverFilter, PAGE, Parks};

/// Drivers that a preview shows.
const SAMPLE: usize = 20;
/// More pages than any park has: an upstream whose pages never end is not followed for ever.
pub(super) const MOST_PAGES: usize = 10_000;

/// Where a page of the audience begins. Drivers who are named one by one are asked for in slices.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    slice: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

/// A filter, ready to be asked.
pub(super) struct Audience<'a> {
    filter: &'a Filter,
    /// Each once: those who stand in two slices would be counted twice.
    named: Vec<String>,
    excluded: HashSet<&'a str>,
}

impl<'a> Audience<'a> {
    pub fn new(filter: &'a Filter) -> Self {
        let excluded = filter.excl_contractor_ids.iter().flatten().map(String::as_str).collect();
        let mut seen = HashSet::new();
        let named = filter.incl_contractor_ids.iter().flatten();
        let named = named.filter(|id| seen.insert(id.as_str())).cloned().collect();
        Self { filter, named, excluded }
    }

    /// A page of the drivers who are meant, and where the next begins, if there is one.
    pub async fn page(
        &self,
        parks: &Parks,
        context: &Context,
        park: &ParkId,
        at: &Position,
    ) -> Result<(Vec<Driver>, Option<Position>), UpstreamError> {
        let work_rules: Vec<&str> = self.filter.work_rule.as_deref().into_iter().collect();
        let mut wanted = DriverFilter { work_rule_ids: &work_rules, ..DriverFilter::default() };
        match self.filter.status {
            Some(DriverStatus::Working) => wanted.work_statuses = &["working"],
            Some(DriverStatus::Online) => wanted.current_statuses = &["online"],
            None => {}
        }
        let (mut drivers, next) = self.ask(parks, context, park, wanted, at).await?;
        // What is no id can be nobody's channel, and must not stop the others' message.
        drivers.retain(|driver| {
            OpaqueId::parse(&driver.id).is_ok() && !self.excluded.contains(driver.id.as_str())
        });
        Ok((drivers, next))
    }

    /// Counts who is meant now, and whom each part leaves out.
    pub async fn preview(
        &self,
        parks: &Parks,
        context: &Context,
        park: &ParkId,
    ) -> Result<Preview> {
        let mut preview = Preview::default();
        let mut at = Some(Position::default());
        for _ in 0..MOST_PAGES {
            let Some(position) = at.take() else { return Ok(preview) };
            let everybody = DriverFilter::default();
            let (drivers, next) = self
                .ask(parks, context, park, everybody, &position)
                .await
                .map_err(|error| error.into_error("parks_unavailable"))?;
            for driver in drivers {
                self.count(driver, &mut preview);
            }
            at = next;
        }
        Err(Error::unavailable("parks_unavailable", "The list of drivers does not end."))
    }

    fn count(&self, driver: Driver, preview: &mut Preview) {
        let LeftOut { work_rule, status, excluded } = &mut preview.left_out;
        let is_of_rule =
            self.filter.work_rule.is_none() || self.filter.work_rule == driver.work_rule_id;
        let has_status = match self.filter.status {
            Some(DriverStatus::Working) => driver.work_status.as_deref() == Some("working"),
            Some(DriverStatus::Online) => driver.current_status.as_deref() == Some("online"),
            None => true,
        };
        if !is_of_rule {
            *work_rule += 1;
        } else if !has_status {
            *status += 1;
        } else if self.excluded.contains(driver.id.as_str()) {
            *excluded += 1;
        } else {
            preview.total += 1;
            if preview.sample.len() < SAMPLE {
                preview.sample.push(SampleDriver {
                    contractor_id: driver.id,
                    first_name: driver.first_name,
                    work_rule: driver.work_rule_id,
                    current_status: driver.current_status,
                });
            }
        }
    }

    async fn ask(
        &self,
        parks: &Parks,
        context: &Context,
        park: &ParkId,
        mut wanted: DriverFilter<'_>,
        at: &Position,
    ) -> Result<(Vec<Driver>, Option<Position>), UpstreamError> {
        let slice = self.named.chunks(PAGE).nth(at.slice);
        wanted.ids = slice.unwrap_or_default();
        if !self.named.is_empty() && slice.is_none() {
            return Ok((Vec::new(), None));
        }
        let page = parks.drivers(context, park, &wanted, at.cursor.as_deref()).await?;
        let next = match page.next() {
            Some(cursor) => Some(Position { slice: at.slice, cursor: Some(cursor.to_owned()) }),
            None if (at.slice + 1) * PAGE < self.named.len() => {
                Some(Position { slice: at.slice + 1, cursor: None })
            }
            None => None,
        };
        Ok((page.driver_profiles, next))
    }
}
