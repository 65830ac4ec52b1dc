//! A customer as the database has it.

use std::collections::BTreeMap;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Bool, Integer, Jsonb, Nullable, Timestamptz};
use jiff_diesel::Timestamp as SqlTimestamp;
use serde::{Deserialize, Serialize};

use super::super::model::{CustomerView, Item, Location, OrderOptions, Route};
use super::Key;
use super::list::ListPosition;
use crate::platform::database::{Json, Moment, PackedId};
use crate::platform::error::{Error, Result};
use crate::platform::ids::{ParkId, PersonalId};

/// Order options as they are stored: what is empty is left out, and so is the version of the
/// structure as long as it is the first, since rows are many and these are a good part of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredOptions {
    #[serde(rename = "v", default = "first_version", skip_serializing_if = "is_first_version")]
    version: u8,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    classes: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    requirements: BTreeMap<String, serde_json::Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payment_type: Option<String>,
}

fn first_version() -> u8 {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn is_first_version(version: &u8) -> bool {
    *version == first_version()
}

impl From<OrderOptions> for StoredOptions {
    fn from(options: OrderOptions) -> Self {
        let OrderOptions { classes, requirements, comment, payment_type } = options;
        Self { version: first_version(), classes, requirements, comment, payment_type }
    }
}

impl From<StoredOptions> for OrderOptions {
    fn from(stored: StoredOptions) -> Self {
        let StoredOptions { classes, requirements, comment, payment_type, .. } = stored;
        Self { classes, requirements, comment, payment_type }
    }
}

/// A customer as the database has it.
#[derive(Debug, Clone, Queryable)]
pub struct CustomerRow {
    /// Which of the statement's inputs this answers, from 1.
    pub(super) ordinal: i64,
    park_id: PackedId,
    personal_phone_id: PackedId,
    pub personal_name_id: Option<PackedId>,
    sms_enabled: Option<bool>,
    order_options: Option<Json<StoredOptions>>,
    orders_count: i32,
    first_order_at: SqlTimestamp,
    last_order_at: SqlTimestamp,
    created_at: SqlTimestamp,
    updated_at: SqlTimestamp,
    pub version: i32,
    favourite_locations: Option<Json<Vec<Item<Location>>>>,
    recurring_routes: Option<Json<Vec<Item<Route>>>>,
}

pub(super) type CustomerColumns = (
    BigInt,
    Binary,
    Binary,
    Nullable<Binary>,
    Nullable<Bool>,
    Nullable<Jsonb>,
    Integer,
    Timestamptz,
    Timestamptz,
    Timestamptz,
    Timestamptz,
    Integer,
    Nullable<Jsonb>,
    Nullable<Jsonb>,
);

impl CustomerRow {
    pub(super) fn packed_key(&self) -> Key {
        (self.park_id.clone(), self.personal_phone_id.clone())
    }

    pub fn park(&self) -> Result<ParkId> {
        ParkId::try_from(self.park_id.text().into_owned()).map_err(Error::internal)
    }

    pub fn phone_id(&self) -> Result<PersonalId> {
        PersonalId::try_from(self.personal_phone_id.text().into_owned()).map_err(Error::internal)
    }

    pub fn name_id(&self) -> Option<String> {
        self.personal_name_id.as_ref().map(|id| id.text().into_owned())
    }

    pub fn options(&self) -> Option<OrderOptions> {
        self.order_options.clone().map(|stored| stored.0.into())
    }

    pub fn sms_enabled(&self) -> bool {
        self.sms_enabled.unwrap_or(false)
    }

    /// About how many bytes it takes in an answer.
    pub(super) fn weight(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let locations = self.favourite_locations.iter().flat_map(|items| &items.0).map(|item| {
            let place = &item.body;
            200 + place.label.len()
                + place.address.len()
                + text(&place.entrance)
                + text(&place.comment)
        });
        let routes = self.recurring_routes.iter().flat_map(|items| &items.0).map(|item| {
            let points = item.body.points.iter().map(|point| 100 + point.address.len());
            200 + item.body.label.len() + points.sum::<usize>()
        });
        1000 + locations.sum::<usize>() + routes.sum::<usize>()
    }

    pub fn position(&self) -> ListPosition {
        (Moment(self.last_order_at.to_jiff()), self.personal_phone_id.text().into_owned())
    }

    /// The customer without anything personal and without its park.
    pub fn view(self) -> Result<CustomerView> {
        Ok(CustomerView {
            park_id: None,
            personal_phone_id: self.phone_id()?,
            phone: None,
            name: None,
            sms_enabled: self.sms_enabled(),
            order_options: self.order_options.map(|stored| stored.0.into()),
            orders_count: self.orders_count,
            first_order_at: self.first_order_at.to_jiff(),
            last_order_at: self.last_order_at.to_jiff(),
            created_at: self.created_at.to_jiff(),
            updated_at: self.updated_at.to_jiff(),
            favourite_locations: self.favourite_locations.map(|items| items.0).unwrap_or_default(),
            recurring_routes: self.recurring_routes.map(|items| items.0).unwrap_or_default(),
            degraded: Vec::new(),
        })
    }
}

/// The columns of [`CustomerRow`] behind its ordinal, of a customer `c`; `$park` gives the park's id.
macro_rules! columns {
    ($park:literal) => {
        concat!(
            $park,
            ", c.personal_phone_id, c.personal_name_id, c.sms_enabled, c.order_options, \
             c.orders_count, c.first_order_at, c.last_order_at, c.created_at, c.updated_at, \
             c.version, \
             (SELECT jsonb_agg(i.body || jsonb_build_object('id', i.id) ORDER BY i.id) \
              FROM fleet_customers.favourite_locations i \
              WHERE i.personal_phone_id = c.personal_phone_id AND i.park_no = c.park_no), \
             (SELECT jsonb_agg(i.body || jsonb_build_object('id', i.id) ORDER BY i.id) \
              FROM fleet_customers.recurring_routes i \
              WHERE i.personal_phone_id = c.personal_phone_id AND i.park_no = c.park_no)"
        )
    };
}

pub(super) use columns;
