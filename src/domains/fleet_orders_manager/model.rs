//! Bodies, as far as this server reads them. Members that it does not know are passed on.

use garde::Validate;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::platform::ids::OrderId;

/// Longest reason of a cancellation, in characters.
const MAX_REASON: usize = 1_000;

/// What is to be driven, for an estimate or a draft; further members are passed on.
#[derive(Debug, Deserialize, Validate, ToSchema)]
pub(super) struct OrderRequest {
    /// The passenger's number; passed on as its id only.
    #[serde(default)]
    #[garde(skip)]
    #[schema(max_length = 40)]
    pub phone: Option<String>,
    /// Where from and where to.
    #[garde(length(min = 1), dive)]
    #[schema(min_items = 1)]
    pub route: Vec<Point>,
    /// Tariff classes.
    #[garde(length(min = 1), inner(length(chars, min = 1, max = 64)))]
    #[schema(value_type = Vec<OrderClass>, min_items = 1)]
    pub classes: Vec<String>,
}

/// A tariff class, such as `econom`.
#[derive(ToSchema)]
#[schema(min_length = 1, max_length = 64)]
#[allow(dead_code, reason = "only its schema is used")]
pub(super) struct OrderClass(String);

/// A point of the route; further members are passed on.
#[derive(Debug, Deserialize, Validate, ToSchema)]
pub(super) struct Point {
    /// Degrees north.
    #[garde(range(min = -90.0, max = 90.0))]
    #[schema(minimum = -90, maximum = 90)]
    pub lat: f64,
    /// Degrees east.
    #[garde(range(min = -180.0, max = 180.0))]
    #[schema(minimum = -180, maximum = 180)]
    pub lon: f64,
    /// As people write it.
    #[serde(default)]
    #[garde(skip)]
    #[allow(dead_code, reason = "read only to hold its type")]
    pub address: Option<String>,
}

/// Which order; further members are passed on.
#[derive(Debug, Deserialize, Validate, ToSchema)]
pub(super) struct WhichOrder {
    /// The id that the draft gave.
    #[garde(skip)]
    pub order_id: OrderId,
}

/// A phone to look for; further members are passed on.
#[derive(Debug, Deserialize, Validate, ToSchema)]
pub(super) struct ActiveByPhone {
    /// The passenger's number; passed on as its id only.
    #[garde(skip)]
    #[schema(max_length = 40)]
    pub phone: String,
}

/// What is to be changed of an order; further members are passed on.
#[derive(Debug, Deserialize, Validate, ToSchema)]
pub(super) struct Edit {
    /// The order.
    #[garde(skip)]
    pub order_id: OrderId,
    /// The revision that the change is based on.
    #[garde(skip)]
    #[allow(dead_code, reason = "read only to hold its presence and type; passed on as written")]
    pub revision: u64,
    /// Another passenger's number; passed on as its id only.
    #[serde(default)]
    #[garde(skip)]
    #[schema(max_length = 40)]
    pub phone: Option<String>,
    /// Another way.
    #[serde(default)]
    #[garde(length(min = 1), dive)]
    #[schema(min_items = 1)]
    pub route: Option<Vec<Point>>,
}

/// Why an order is cancelled; further members are passed on.
#[derive(Debug, Deserialize, Validate, ToSchema)]
pub(super) struct Cancel {
    /// The order.
    #[garde(skip)]
    pub order_id: OrderId,
    /// Why.
    #[serde(default)]
    #[garde(inner(length(chars, max = MAX_REASON)))]
    #[schema(max_length = 1000)]
    #[allow(dead_code, reason = "read only to hold its type; passed on as written")]
    pub reason: Option<String>,
    /// The revision that was last seen; without it, whatever it is now.
    #[serde(default)]
    #[garde(skip)]
    pub revision: Option<u64>,
}

/// Prices and arrival times, as `int-api` gives them; it may add members.
#[derive(ToSchema)]
#[allow(dead_code, clippy::struct_field_names, reason = "only its schema is used")]
pub(super) struct Estimates {
    offer_id: String,
    /// ISO 4217.
    currency: String,
    estimates: Vec<Estimate>,
}

/// The estimate for one class.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only its schema is used")]
pub(super) struct Estimate {
    class: String,
    /// A decimal number as a text.
    price: String,
    eta_seconds: i64,
}

/// A draft, as `int-api` gives it; it may add members.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only its schema is used")]
pub(super) struct Draft {
    order_id: String,
}

/// An order's state after a commit; `int-api` may add members.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only its schema is used")]
pub(super) struct Committed {
    order_id: String,
    status: String,
}

/// An order as it is; `int-api` may add members.
#[derive(ToSchema)]
#[allow(dead_code, clippy::struct_field_names, reason = "only its schema is used")]
pub(super) struct Order {
    order_id: String,
    status: String,
    revision: i64,
}

/// The park's unfinished orders.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only its schema is used")]
pub(super) struct ActiveOrders {
    orders: Vec<ActiveOrder>,
}

/// An unfinished order; `int-api` may add members.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only its schema is used")]
pub(super) struct ActiveOrder {
    order_id: String,
    status: String,
    #[schema(format = DateTime)]
    created_at: String,
    route: Vec<Point>,
    class: String,
}
